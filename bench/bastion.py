"""Measure what recording costs: a bulk transfer through the bastion's own server with its tapes, against the same without them.

The server, the relay, the sealing and the disk are the real ones, and so are sshd behind it and ssh before it; only the gate is
not asked. A transfer is a file of random bytes, which is no text and does not get smaller. Transfers take turns, and who goes
first changes. Of processor time only the bastion's is counted, which this process is: a machine that is busy with other
things makes a transfer longer, and this hardly.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bench.measure import Row, median_and_spread, row
from keyturn.adapters.bastion import ssh_server
from keyturn.adapters.bastion.hop_keys import HopKeysFile, make_secret
from keyturn.adapters.bastion.ssh_server import BastionServer, HostPlace
from keyturn.adapters.clock import SystemClock
from keyturn.adapters.recordings.shelf import OpenTape, Shelf
from keyturn.crypto import sshsig
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError
from keyturn.formats.digest import Sha256
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.sshsig import render_public_line
from keyturn.ports import Hop, Kept, Watching
from support.labs import keyholders
from support.processes import running, wait_for, wait_for_file

SIZE_BYTES = 192 << 20
ROUNDS = 5
GATE = "keyturn://acme.example/gate/gpu1"


class LetsIn:
    """`ports.BastionRules` for whoever comes: the gate is not what is measured."""

    def __init__(self, keys: HopKeysFile) -> None:
        self._keys = keys

    def let_in(self, account: str, key: PublicKey, *, peer: str) -> Hop:
        hop = self._keys.public(key.text).text
        terms = SessionTerms(account=account)
        return Hop(Sha256("ab" * 32), GATE, account, "ada", ("bob",), key.text, hop, terms, 2**31, GATE)

    def over(self, hop: Hop) -> KeyturnError | None:
        return None

    def watcher(self, key: PublicKey) -> Watching | None:
        return None

    def watches(self, watching: Watching) -> KeyturnError | None:
        return None

    def watched(self, watching: Watching, why: KeyturnError | None) -> None:
        return

    def keep(self, made: Kept) -> None:
        return


class NoTape:
    """What records nothing."""

    broken = False

    def write(self, code: str, data: bytes) -> bool:
        return True


class NoShelf(Shelf):
    """The bastion without its recordings."""

    def begin(self, hop: Hop, what: Any, **more: Any) -> OpenTape:
        return OpenTape(NoTape(), hop.request, what, 0)  # type: ignore[arg-type]  # it is asked to write alone

    def end(self, one: OpenTape, keep: Callable[[Kept], None]) -> None:
        return


def run() -> list[Row]:
    """Give how much more time, and processor time of the bastion, a recorded transfer takes, in percent of the same without."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        plain, taped = transfers(Path(place))
    rate = SIZE_BYTES / 1e6 / median_and_spread([one.taken_s for one in plain])[0]
    own_s = median_and_spread([one.processor_s for one in plain])[0]
    pairs = list(zip(taped, plain, strict=True))
    more, spread = median_and_spread([(ours.taken_s / theirs.taken_s - 1) * 100 for ours, theirs in pairs])
    dearer, dearer_spread = median_and_spread(
        [(ours.processor_s / theirs.processor_s - 1) * 100 for ours, theirs in pairs]
    )
    return [
        row(
            "bastion: more than a bulk transfer takes without recording",
            more,
            "%",
            at_most=10,
            peer=f"the same bastion without tapes, {rate:.0f} MB/s",
            spread=spread,
        ),
        row(
            "bastion: more of its processor time than without recording",
            dearer,
            "%",
            peer=f"the same bastion without tapes, {own_s * 1e3 / (SIZE_BYTES / 1e6):.1f} ms/MB",
            spread=dearer_spread,
        ),
    ]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one took: by the clock, and of the bastion's processor time."""

    taken_s: float
    processor_s: float


def transfers(place: Path) -> tuple[list[Transfer], list[Transfer]]:
    """Each transfer without and with recording, in turns."""
    (place / "bulk").write_bytes(os.urandom(SIZE_BYTES))
    make_secret(place / "secret")
    keys = HopKeysFile(place / "secret")
    for name in ("host_key", "own_key", "session"):
        private = ed25519.Ed25519PrivateKey.generate()
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        (place / name).write_bytes(text)
        (place / name).chmod(0o600)
    session = _public(place / "session")
    (place / "authorized").write_text(f"{_line(keys.public(session.text))}\n")
    (place / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {(port := _free_port())}\nHostKey {place}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {place}/authorized\nStrictModes no\nPermitRootLogin prohibit-password\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    to = keyholders("carol", "dan")
    shelves = [
        kind(place / kind.__name__, lab="acme.example", gate=GATE, sealed_to=lambda: (1, to), clock=SystemClock())
        for kind in (NoShelf, Shelf)
    ]
    log = place / "sshd.log"
    with running(["/usr/sbin/sshd", "-D", "-E", str(log), "-f", str(place / "sshd_config")]) as sshd:
        wait_for("sshd", lambda: "listening" in wait_for_file(log).decode() or None, sshd)
        behind = {GATE: HostPlace("127.0.0.1", port, _line(_public(place / "host_key")))}
        ports = [
            _served(
                BastionServer(LetsIn(keys), hosts=behind, keys=keys, shelf=one, say=_say, watcher_absent_s=60), place
            )
            for one in shelves
        ]
        times: tuple[list[Transfer], list[Transfer]] = ([], [])
        for round_ in range(ROUNDS + 1):
            both = list(zip(ports, times, strict=True))
            for port, into in both if round_ % 2 else reversed(both):
                taken = _transfer(place, port)
                if round_:  # the first warms up
                    into.append(taken)
    return times


def _transfer(place: Path, port: int) -> Transfer:
    words = [
        *("ssh", "-F", "none", "-i", str(place / "session"), "-p", str(port), "-o", "IdentitiesOnly=yes"),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
        *("-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-c", "aes256-gcm@openssh.com"),
        *(f"{getpass.getuser()}@127.0.0.1", f"cat {place}/bulk"),
    ]
    counted = ["sh", "-c", '"$@" | wc -c', "sh", *words]  # what comes is not this process's work
    begin, own = time.perf_counter(), time.process_time()
    done = subprocess.run(counted, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=120)
    taken_s = time.perf_counter() - begin
    assert int(done.stdout) == SIZE_BYTES
    # What the tape has still to do counts for this transfer, and not for the one that comes next.
    wait_for("the recording", lambda: not list(place.glob("*/open/*.part")) or None)
    return Transfer(taken_s, time.process_time() - own)


def _served(server: BastionServer, place: Path) -> int:
    found: list[int] = []
    ready = threading.Event()

    def listening(port: int) -> None:
        found.append(port)
        ready.set()

    def serve() -> None:
        asyncio.run(ssh_server.serve(server, address="127.0.0.1", port=0, host_key=place / "own_key", ready=listening))

    threading.Thread(target=serve, daemon=True).start()
    assert ready.wait(30)
    return found[0]


def _say(event: str, message: str, err: Exception | None) -> None:
    print(event, message, err)


def _public(path: Path) -> PublicKey:
    private = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    return PublicKey.from_spki(
        private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _line(key: PublicKey) -> str:
    return render_public_line(sshsig.ssh_key(key, application=None))


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
