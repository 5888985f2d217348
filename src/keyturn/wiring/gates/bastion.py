"""Set up and open a bastion in its directory: `gate.toml`, `root.json`, `key`, `secret`, `host_key`, `recordings/`, `state/`.

Three threads beside the port: one follows the log, one serves SSH and judges what is connected, one logs what was recorded. When
one of them ends, the process does, and every session with it.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from keyturn.adapters import process_log
from keyturn.adapters.bastion import ssh_server
from keyturn.adapters.bastion.hop_keys import HopKeysFile, make_secret
from keyturn.adapters.bastion.ssh_server import BastionServer, HostPlace
from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.files import durable_files
from keyturn.adapters.files.config_files import read_kept, replace_file, write_new
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.key_files import read_key, write_key
from keyturn.adapters.files.use_journal import UseJournalFiles
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.adapters.recordings.shelf import Shelf
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.config import bastion_gate as bastion_config
from keyturn.config.bastion_gate import BastionGateConfig, BehindBastion
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Unavailable, Usage
from keyturn.formats import base64_text
from keyturn.formats.digest import parse_sha256
from keyturn.formats.uri import Uri
from keyturn.gates.bastion.door import BastionDoor
from keyturn.gates.bastion.gate import BastionGate, BastionGateParts
from keyturn.gates.bastion.recorded import RecordedHops
from keyturn.grants.view import GateView
from keyturn.ports import Hop, Kept, Watching
from keyturn.trust.history import TrustHistory
from keyturn.wiring.gates.process import always, following, start_all
from keyturn.wiring.log.pinned_log import first_root
from keyturn.wiring.typed import uri

__all__ = ["LOOK_WITHIN_S", "OpenedBastion", "install", "new_keyholder_key", "open_bastion", "read_config"]

LOOK_WITHIN_S = 2.0
_LOOK_AT_LOGIN_WITHIN_S = 5.0
_LOG_EVERY_S = 1.0


def install(
    directory: Path,
    name: str,
    *,
    service: str,
    pin: str,
    listen: str,
    port: int,
    hosts: tuple[str, ...],
) -> tuple[BastionGateConfig, SoftwareKey, str]:
    """Make what a bastion needs in `directory`, and give its gate's key and the line of its SSH host key; nothing is overwritten.

    `hosts` are typed as `gpu1=gpu1.internal:22=ssh-ed25519 AAAA...`.
    """
    if not (directory / "gate.toml").exists():
        root = first_root(LogOverHttp(service))
        history: TrustHistory = TrustHistory.start(root, pinned_sha256=parse_sha256(pin, what="--root"))
        config = BastionGateConfig(
            name=name,
            resource=Uri(history.lab, "gate", name),
            service=service,
            pinned_root=history.root_sha256,
            listen=listen,
            port=port,
            hosts={host.gate: host for host in (_host(text, lab=history.lab) for text in hosts)},
        )
        text = bastion_config.render(config)
        bastion_config.parse(text, where="options")
        durable_files.make_directories(directory, mode=0o700)
        if not (directory / "key").exists():
            write_key(directory / "key", SoftwareKey.generate(), passphrase=None)
        make_secret(directory / "secret")
        if not (directory / "host_key").exists():
            durable_files.create(directory / "host_key", _new_host_key(), mode=0o600)
        replace_file(directory / "root.json", history.root.raw)
        write_new(directory / "gate.toml", text)
    config = read_config(directory)
    return config, read_key(directory / "key", passphrase=None), _host_key_line(directory)


def read_config(directory: Path) -> BastionGateConfig:
    """Read the bastion's configuration, or raise `Usage` saying how to make one."""
    path = directory / "gate.toml"
    if not path.exists():
        raise Usage("gate-none", f"expected a bastion in `{directory}`", hint="keyturn gate bastion install")
    return bastion_config.parse(read_kept(path), where=str(path))


@dataclass(frozen=True, slots=True)
class _Looking:
    """The gate, which looks at the log twice more before it refuses: what was approved a moment ago is not witnessed at once."""

    gate: BastionGate
    followed: FollowedAlways

    def let_in(self, account: str, key: PublicKey, *, peer: str) -> Hop:
        for _ in range(2):
            try:
                return self.gate.let_in(account, key, peer=peer)
            except KeyturnError:
                self.followed.look(_LOOK_AT_LOGIN_WITHIN_S)
        try:
            return self.gate.let_in(account, key, peer=peer)
        except KeyturnError as err:
            process_log.say("info", "login-refused", err=err, about={"account": account[:60]})
            raise

    def over(self, hop: Hop) -> KeyturnError | None:
        return self.gate.over(hop)

    def watch(self, signed: bytes) -> Watching:
        try:
            return self.gate.watch(signed)
        except KeyturnError:
            self.followed.look(_LOOK_AT_LOGIN_WITHIN_S)
        return self.gate.watch(signed)

    def watcher(self, key: PublicKey) -> Watching | None:
        return self.gate.watcher(key)

    def watches(self, watching: Watching) -> KeyturnError | None:
        return self.gate.watches(watching)

    def watched(self, watching: Watching, why: KeyturnError | None) -> None:
        self.gate.watched(watching, why)

    def keep(self, made: Kept) -> None:
        self.gate.keep(made)


@dataclass(frozen=True, slots=True)
class OpenedBastion:
    """A bastion and what keeps it going."""

    config: BastionGateConfig
    gate: BastionGate
    followed: FollowedAlways
    server: BastionServer
    shelf: Shelf
    host_key: Path
    watch: Callable[[bytes], Watching]
    """Expects somebody who may watch by the statement that he signed, or raises."""

    @property
    def host_key_line(self) -> str:
        """The SSH server's public key, as ssh writes it."""
        return _host_key_line(self.host_key.parent)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Follow, serve SSH and log for as long as the block runs; gives the port of SSH."""
        stop, ready = threading.Event(), threading.Event()
        ports: list[int] = []

        def listening(port: int) -> None:
            ports.append(port)
            ready.set()

        if self.shelf.left_open(self.gate.keep):
            process_log.say("warning", "recordings-cut", "recordings that a process before left open are kept as cut")
        works = {
            "follow": lambda: self.followed.run(stop),
            "ssh": lambda: self._serve(listening),
            "log": lambda: self._log(stop),
        }
        start_all(works, stop)
        if not ready.wait(30):
            raise Unavailable("bastion-port", f"the bastion does not listen at {self.config.listen}")
        try:
            yield ports[0]
        finally:
            stop.set()

    def _serve(self, listening: Callable[[int], None]) -> None:
        asyncio.run(
            ssh_server.serve(
                self.server,
                address=self.config.listen,
                port=self.config.port,
                host_key=self.host_key,
                ready=listening,
            )
        )

    def _log(self, stop: threading.Event) -> None:
        while not stop.wait(_LOG_EVERY_S):
            with suppress(KeyturnError):  # the log cannot be reached, which whoever follows it says
                self.gate.log_what_waits()


def open_bastion(directory: Path) -> OpenedBastion:
    """Make the bastion in `directory`: reads its keys once, and pins its root."""
    config = read_config(directory)
    it = following(config, directory, service=lambda: config.service)

    def view() -> GateView:
        # What is known of takings-away is newer than what was believed with a nonce: a witness that is slow keeps nobody in.
        return it.pushed.over(it.followed.believed.knowing(it.followed.seen.known))

    clock, state, keys = SystemClock(), directory / "state", HopKeysFile(directory / "secret")
    door = BastionDoor(
        gate=config.resource,
        hosts=config.hosts.keys(),
        keys=keys,
        view=view,
        strict=it.followed.require_strict,
        clock=clock,
    )
    gate = BastionGate(
        BastionGateParts(
            gate=config.resource,
            key=it.key,
            keys=keys,
            door=door,
            journal=UseJournalFiles(state),
            recorded=RecordedHops(DecisionFiles(state / "decisions"), gate=config.resource, clock=clock),
            writer=it.log,
            clock=clock,
            entropy=SystemEntropy(),
            view=view,
            obey=lambda negative: it.pushed.take(negative, it.followed.seen),
            seen=lambda: it.followed.seen,
            say=lambda event, message, err: process_log.say("warning", event, message, err=err),
        )
    )
    shelf = Shelf(
        directory / "recordings",
        lab=config.resource.lab,
        gate=str(config.resource),
        sealed_to=gate.sealed_to,
        clock=clock,
    )
    followed = always(it.followed.refresh)
    looking = _Looking(gate, followed)
    server = BastionServer(
        looking,
        hosts={one.gate: HostPlace(one.address, one.port, one.host_key) for one in config.hosts.values()},
        keys=keys,
        shelf=shelf,
        watcher_absent_s=config.watcher_absent_s,
        say=_say,
    )
    return OpenedBastion(config, gate, followed, server, shelf, directory / "host_key", looking.watch)


def new_keyholder_key(path: Path, *, passphrase: bytes) -> str:
    """Make the key of a keyholder in the file `path`, under `passphrase`, and give its public part as targets have it."""
    private = x25519.X25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    try:
        durable_files.create(path, text, mode=0o600)
    except FileExistsError as err:
        raise Usage("key-exists", f"`{path}` exists, and a key is not overwritten", hint="name another file") from err
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64_text.encode(public)


def _host(text: str, *, lab: str) -> BehindBastion:
    name, _, rest = text.partition("=")
    place, _, host_key = rest.partition("=")
    address, _, port = place.rpartition(":")
    if not (name and address and port.isdecimal() and re.fullmatch(bastion_config.HOST_KEY, host_key)):
        raise Usage(
            "bastion-hosts",
            f"--behind: expected a host's gate, its address, port and key, got `{text[:120]}`",
            hint="--behind 'gpu1=10.1.0.7:22=ssh-ed25519 AAAA...', with what `ssh-keyscan -t ed25519 10.1.0.7` says, compared",
        )
    return BehindBastion(
        gate=str(uri("--behind", f"gate/{name}", lab=lab)),
        address=address.strip("[]"),
        port=int(port),
        host_key=host_key,
    )


def _new_host_key() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _host_key_line(directory: Path) -> str:
    private = serialization.load_ssh_private_key((directory / "host_key").read_bytes(), password=None)
    return (
        private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    )


def _say(event: str, message: str, err: Exception | None) -> None:
    known = err if isinstance(err, KeyturnError) or err is None else Unavailable("bastion-host", str(err)[:300])
    process_log.say("warning", event, message, err=known)
