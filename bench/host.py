"""Measure the host gate: the resident verifier's answer, key in to line out, and `keyturn ssh` by a held grant against plain ssh.

The answer goes through the real socket, kernel and journal, with 100 grants alive; each question is of a new connection, so
each is written down. Only the processes of sshd are made up: there are none behind these questions. The logins are real ones.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.measure import Row, median_and_spread, percentile, row
from keyturn.adapters.clock import SystemEntropy
from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.hosts.host_journal import HostJournalFiles
from keyturn.adapters.hosts.host_socket import HostSocket
from keyturn.config import person as person_config
from keyturn.config.person import PersonConfig
from keyturn.crypto import sshsig
from keyturn.formats.host_session import HostSession, SshdConnection, SshdState
from keyturn.formats.sshsig import parse_public_line, render_public_line
from keyturn.formats.uri import Uri
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.gates.host.door import HostDoor
from keyturn.gates.host.gate import HostGate, HostGateParts
from keyturn.gates.host.recorded import RecordedLogins
from keyturn.gates.session_grants import Brought, SessionGrants
from keyturn.grants.pushed import Pushed
from keyturn.grants.view import GateView
from support.hosts import hosts_lab
from support.labs import make_key
from support.processes import running
from support.world import World, make_world

GRANTS = 100
QUESTIONS = 400
LOGINS = 9
BOOT = "00000000-0000-0000-0000-000000000000"
POLICY = """
@id("shell") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"host:shell", resource == Host::"gpu1");
"""


@dataclass
class Connections:
    """`gates.host.needs.HostProcesses` of a machine on which every question is of a new connection."""

    made: count[int] = field(default_factory=lambda: count(2))

    def asking(self, pid: int) -> SshdConnection:
        return SshdConnection(BOOT, next(self.made), pid)

    def confine(self, connection: SshdConnection) -> tuple[str, ...]:
        return ()

    def confined(self) -> tuple[()]:
        return ()

    def came_in(self) -> tuple[()]:
        return ()

    def look(self, session: HostSession) -> SshdState:
        return SshdState(True, False, ())

    def tell(self, session: HostSession, message: str) -> None:
        raise AssertionError(message)

    def end(self, session: HostSession) -> None:
        raise AssertionError(session)


@dataclass(frozen=True)
class At:
    """The time of a world."""

    world: World

    def now(self) -> int:
        return self.world.now


@dataclass(frozen=True)
class Seen:
    """A view that nobody refreshes."""

    believed: GateView

    def refresh(self) -> GateView:
        return self.believed

    def await_witnessed(self, index: int, raw: bytes) -> None:
        raise AssertionError(index)


def run() -> list[Row]:
    """Give the answer's median time, the rate on one thread, and what `keyturn ssh` adds."""
    times = answers()
    plain, ours = logins()
    added = [(mine - theirs) * 1000 for mine, theirs in zip(ours, plain, strict=True)]
    return [
        row(
            "host gate: a key in, the line out, p50",
            percentile(times, 50),
            "ms",
            at_most=5,
            spread=median_and_spread(times)[1],
        ),
        row(
            "host gate: answers on one core",
            len(times) / (sum(times) / 1000),
            "/s",
            at_least=200,
            spread=0.0,
        ),
        row(
            "keyturn ssh by a held grant: more than plain ssh takes",
            median_and_spread(added)[0],
            "ms",
            at_most=400,
            peer=f"ssh with the same key, {median_and_spread(plain)[0] * 1000:.0f} ms",
            spread=median_and_spread(added)[1],
        ),
    ]


def answers() -> list[float]:
    """Milliseconds of each answer through the socket, one after the other."""
    world = make_world(resources={"host/gpu1": ()}, gates=(("gpu1", "host"),), policy={"main": POLICY})
    gate, host = world.lab.gate_uri("gpu1"), Uri(world.lab.name, "host", "gpu1")
    keys = [make_key(f"session {number}") for number in range(GRANTS)]
    for key in keys:
        asked = world.ask(
            world.request(
                action="host:shell", resource=str(host), permit="shell", gate=str(gate), session_key=key.public.text
            )
        )
        world.approve(asked, "bob")
    view = world.view(gate="gpu1")
    with tempfile.TemporaryDirectory() as place:
        state = Path(place)
        opened = _gate(world, view, gate, host, state)
        lines = [render_public_line(sshsig.ssh_key(key.public, application=None)) for key in keys]

        def answer(account: str, line: str, pid: int) -> str:
            return opened.answer(account, sshsig.public_key(parse_public_line(line)), pid=pid)

        with HostSocket(state / "ask", group=os.getgid(), users=frozenset({os.getuid()})) as answering:
            threading.Thread(target=answering.serve, args=(answer,), daemon=True).start()
            times = []
            for number in range(QUESTIONS):
                begin = time.perf_counter()
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                    asking.connect(str(state / "ask"))
                    asking.sendall(f"ada\n{lines[number % GRANTS]}\n".encode())
                    asking.shutdown(socket.SHUT_WR)
                    got = asking.recv(1 << 16)
                times.append((time.perf_counter() - begin) * 1000)
                assert got.startswith(b"restrict,"), got
    return times


def _gate(world: World, view: GateView, gate: Uri, host: Uri, state: Path) -> HostGate:
    clock, key = At(world), world.lab.gate_keys["gpu1"]

    def nothing_is_pushed(raw: bytes) -> Pushed:
        raise AssertionError(raw)

    glass = BreakGlassDoor(
        gate=gate,
        key=key,
        followed=Seen(view),
        writer=world.log,
        journal=BreakGlassJournalFiles(state),
        clock=clock,
        entropy=SystemEntropy(),
    )
    standing = SessionGrants(
        gate=gate,
        view=lambda: view,
        seen=lambda: view,
        strict=lambda _: None,
        brought=Brought,
        glass=glass,
        clock=clock,
        observes=False,
    )
    door = HostDoor(standing, host=host, accounts=(), bastions={}, user_id=lambda _: 1000)
    return HostGate(
        HostGateParts(
            gate=gate,
            key=key,
            door=door,
            journal=HostJournalFiles(state),
            processes=Connections(),
            recorded=RecordedLogins(
                DecisionFiles(state / "decisions"), gate=gate, host=host, clock=clock, observes=False
            ),
            writer=world.log,
            clock=clock,
            entropy=SystemEntropy(),
            obey=nothing_is_pushed,
            seen=lambda: view,
            program="/usr/local/libexec/keyturn-host",
            observes=False,
            say=lambda event, message, err: None,
        )
    )


def logins() -> tuple[list[float], list[float]]:
    """Seconds of each login by plain ssh with a grant's key in a file, and by `keyturn ssh` with a held one, in turns."""
    with tempfile.TemporaryDirectory() as place, hosts_lab(Path(place) / "lab") as lab:
        host = lab.host("gpu1")
        home = Path(place) / "home"
        for member in ("ktada", "bob"):
            write_key(home / member / "keys" / "member.pem", lab.lab.member_keys[member], passphrase=None)
            config = PersonConfig(member, lab.url, {lab.lab.name: lab.lab.root_sha256})
            (home / member / "config.toml").write_bytes(person_config.render(config))
        (home / "run").mkdir(mode=0o700)
        environment = {"XDG_RUNTIME_DIR": str(home / "run"), "KEYTURN_HOME": str(home / "ktada")}
        keyturn = (sys.executable, "-m", "keyturn")
        options = ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={home}/known", "-o", "LogLevel=ERROR")
        ssh = (*keyturn, "ssh", "--address", host.address, "-p", str(host.port), *options)
        with running((*ssh, "--reason", "bench", "--yes", "--hold", "gpu1"), environment=environment) as holding:
            request = holding.wait_for_line(": asked").split("req-")[1][:32]
            approve = (*keyturn, "approve", f"req-{request}", "--reason", "fine", "--yes")
            subprocess.run(
                approve, env={**os.environ, "KEYTURN_HOME": str(home / "bob")}, check=True, capture_output=True
            )
            holding.wait_for_line("held until")
            granted = lab.granted()
            both: tuple[list[float], list[float]] = ([], [])
            for _ in range(LOGINS):
                for words, into in ((host.ssh(granted, "ktada", "true"), both[0]), ([*ssh, "gpu1", "true"], both[1])):
                    begin = time.perf_counter()
                    subprocess.run(
                        words, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60
                    )
                    into.append(time.perf_counter() - begin)
    return both
