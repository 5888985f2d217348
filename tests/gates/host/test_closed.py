"""What a host cannot find out or write down, it does not let in; and a host in an attacker's hands opens no other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.app.records.sign_record import about, signed
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.access import HumanAuthorization
from support.hosts import Asked, Host, HostsLab, hosts_lab, networked
from support.processes import Process, running, wait_for


def said(host: Host) -> str:
    assert host.gate is not None
    return host.gate.output


@contextmanager
def live(host: Host, asked: Asked) -> Iterator[Process]:
    with running(host.ssh(asked, "ktada", "echo in; exec sleep 600", more=("-tt",))) as session:
        session.wait_for_line("in")
        yield session


def test_when_its_disk_is_full_nobody_is_let_in(lab: HostsLab) -> None:
    host = lab.install("gpu2")
    state = host.directory / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(state)], check=True)
    try:
        lab.start_gate(host)
        lab.start_sshd(host)
        first, second = lab.granted("gpu2"), lab.granted("gpu2")
        assert host.opens(first, "ktada")
        wait_for("its connection to be forgotten", lambda: not list((state / "sessions").iterdir()) or None)
        with (state / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 512):
                    pass
            except OSError:
                pass
        assert not host.opens(second, "ktada")
        assert "unwritable" in said(host)
        (state / "filler").unlink()
        assert host.opens(second, "ktada")
        host.gate.kill()  # type: ignore[union-attr]  # it was started above
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def test_when_the_log_cannot_be_reached_the_host_closes_and_its_sessions_end(tmp_path: Path) -> None:
    with hosts_lab(tmp_path) as lab:
        host = lab.install("gpu1")
        lab.stricter(host, "log_age_max_s = 10")
        lab.start_gate(host)
        lab.start_sshd(host)
        asked = lab.granted()
        with live(host, asked) as session:
            lab.service.kill()
            begin = time.monotonic()
            assert host.opens(asked, "ktada"), "what the gate knows is fresh yet"
            session.wait(deadline_s=30)
            assert time.monotonic() - begin < 10 + 5
        assert not host.opens(asked, "ktada")
        codes = [one.code for one in DecisionFiles(host.directory / "state" / "decisions").read(start=0)]
        assert codes[-1] == "view-stale"
        told = host.run(asked, "ktada", "true", more=("-o", "LogLevel=INFO")).stderr
        assert "keyturn: this host lets nobody in now: the newest witnessed checkpoint is" in told


@pytest.mark.parametrize("off", ["-1h", "+1h"], ids=["an hour behind", "an hour ahead"])
def test_a_host_whose_clock_is_wrong_lets_nobody_in_and_says_so(tmp_path: Path, off: str) -> None:
    with hosts_lab(tmp_path) as lab:
        host = lab.install("gpu1")
        # Without the option faketime shifts monotonic deadlines as well, and a wait of 5 s takes an hour: sshd's helper gave up.
        lab.start_gate(host, "faketime", "--exclude-monotonic", "-f", off)
        lab.start_sshd(host)
        asked = lab.granted()
        assert not host.opens(asked, "ktada")
        told = host.run(asked, "ktada", "true", more=("-o", "LogLevel=INFO")).stderr
        assert "keyturn: this host lets nobody in now" in told
        wait_for("the reason in its log", lambda: "clock" in said(host) or "stale" in said(host) or None, host.gate)


def test_a_host_in_the_attackers_hands_opens_no_other(tmp_path: Path) -> None:
    with hosts_lab(tmp_path) as lab, networked(lab):
        taken = lab.host("gpu1", namespace="kt-taken", address="10.231.7.11")
        other = lab.host("gpu2", namespace="kt-other", address="10.231.7.12")
        for host in (taken, other):
            host.seen_from = "kt-taken"  # whatever is tried is tried from there
        here, there = lab.granted("gpu1"), lab.granted("gpu2")
        assert taken.opens(here, "ktada")
        # He has the host: its gate's key, its host key, its journal, and let him have the session's key as well.
        assert not other.opens(here, "ktada")
        assert not other.opens(taken.place / "host_key", "ktada")
        key, identity = lab.identity()
        asked = lab.ask("gpu2", session_key=key.public.text)
        gate_key = lab.lab.gate_keys["gpu1"]
        for approver, keyid in (("bob", gate_key.public.keyid), ("bob", lab.lab.member_keys["bob"].public.keyid)):
            forged = HumanAuthorization(
                lab=lab.lab.name,
                nonce=lab.nonce(),
                approver=approver,
                key=keyid,
                request=asked.digest,
                trust_version=asked.made.trust_version,
                decision="approve",
                reason="forged",
                signed_at=lab.now,
                expires_at=asked.made.not_after,
            )
            envelope = signed(forged, about(asked.digest), key=gate_key)
            try:
                lab.log.append(dsse.render(envelope))
            except KeyturnError:
                continue  # the log does not take it; and the gate would not believe it
        assert not other.opens(identity, "ktada")
        # With all of the taken gate's directory in its place, a verifier of his own says whatever he likes: on his own host.
        assert wait_for("the honest way", lambda: other.opens(there, "ktada") or None)
