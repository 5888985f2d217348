"""A session ends with its grant, whatever it left running, and no other does: real sshd, real processes."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.adapters.files.run_files import find
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.formats.session_terms import SessionTerms
from support.hosts import Asked, Host, HostsLab
from support.processes import Process, running, wait_for

WITHIN_S = 5.0


@contextmanager
def live(
    host: Host, asked: Asked, account: str = "ktada", *words: str, more: tuple[str, ...] = ()
) -> Iterator[Process]:
    """A session that says `in`, and stays until it is ended."""
    said = words or ("echo in; exec sleep 600",)
    with running(host.ssh(asked, account, *said, more=("-tt", *more))) as session:
        session.wait_for_line("in")
        yield session


def ended(session: Process) -> float:
    """How long it takes from now until `session` has ended."""
    begin = time.monotonic()
    session.wait(deadline_s=30)
    return time.monotonic() - begin


def is_running(mark: str) -> bool:
    return bool(subprocess.run(["pgrep", "-f", f"sleep {mark}$"], capture_output=True).stdout)


def revoke(lab: HostsLab, asked: Asked) -> None:
    lab.log.append(lab.revocation(asked))


def suspend(lab: HostsLab, _: Asked) -> None:
    lab.log.append(lab.suspension("bob", target_member="dan"))


def deny(lab: HostsLab, asked: Asked) -> None:
    lab.say(asked, "cat", decision="deny")


@pytest.mark.parametrize(
    ("end", "requester"),
    [
        pytest.param(revoke, "ktada", id="a revocation"),
        pytest.param(deny, "ktada", id="a denial"),
        pytest.param(suspend, "dan", id="a suspension of who came in"),
    ],
)
def test_what_takes_away_ends_the_session_with_what_it_left_in_the_background(
    lab: HostsLab, host: Host, end: Callable[[HostsLab, Asked], None], requester: str
) -> None:
    asked = lab.granted(requester=requester, session=SessionTerms(account="ktada"))
    mark = str(7_000_000 + lab.made)
    script = f"setsid -f sleep {mark} >/dev/null 2>&1 </dev/null; nohup sleep {mark} >/dev/null 2>&1 & echo in; exec sleep 600"
    with live(host, asked, "ktada", script) as session:
        assert is_running(mark)
        end(lab, asked)
        assert ended(session) < WITHIN_S, host.gate.output
        assert "keyturn: this session ends" in session.output
        wait_for("the background to end", lambda: not is_running(mark) or None, deadline_s=WITHIN_S)


def test_what_a_closed_session_left_running_ends_with_the_grant(lab: HostsLab, host: Host) -> None:
    asked = lab.granted()
    mark = str(7_100_000 + lab.made)
    assert host.run(asked, "ktada", f"setsid -f sleep {mark} >/dev/null 2>&1 </dev/null; sleep 2").returncode == 0
    assert is_running(mark)
    revoke(lab, asked)
    wait_for("the background to end", lambda: not is_running(mark) or None, deadline_s=WITHIN_S)


def test_a_session_ends_when_its_window_does(lab: HostsLab, host: Host) -> None:
    asked = lab.granted(duration_s=6)
    with live(host, asked) as session:
        left_s = asked.made.not_before + 5 + 6 - time.time()
        took_s = ended(session)
    assert left_s - 1.5 < took_s < left_s + WITHIN_S


def test_of_two_grants_that_overlap_the_end_of_one_ends_no_session_of_the_other(lab: HostsLab, host: Host) -> None:
    first, second = lab.granted(), lab.granted()
    with live(host, first) as one, live(host, second) as other:
        revoke(lab, first)
        assert ended(one) < WITHIN_S
        assert other.alive
        assert host.opens(second, "ktada")
        assert not host.opens(first, "ktada")
        # Who offers both keys lives by the one that let him in.
        both = ("-i", str(first.identity))
        with live(host, second, more=both) as third:
            revoke(lab, second)
            assert max(ended(other), ended(third)) < WITHIN_S


def test_a_shared_connection_ends_with_all_that_goes_through_it(lab: HostsLab, host: Host, tmp_path: Path) -> None:
    asked = lab.granted()
    socket = f"ControlPath={host.place}/mux-{lab.made}"
    with live(host, asked, more=("-M", "-o", socket)) as master:
        assert host.run(asked, "ktada", "id -un", more=("-o", socket)).stdout == "ktada\n"
        with live(host, asked, more=("-o", socket)) as second:
            revoke(lab, asked)
            assert max(ended(master), ended(second)) < WITHIN_S
    assert host.run(asked, "ktada", "id -un", more=("-o", socket)).returncode == 255


def test_a_connection_that_only_forwards_ends_too(lab: HostsLab, host: Host) -> None:
    asked = lab.granted(session=SessionTerms(forwards=(f"127.0.0.1:{host.port}",)))
    forwarded = host.place / f"forwarded-{lab.made}"
    more = ("-N", "-L", f"{forwarded}:127.0.0.1:{host.port}")
    with running(host.ssh(asked, "ktada", more=more)) as session:
        wait_for("the forwarded port", lambda: forwarded.exists() or None, session)
        revoke(lab, asked)
        assert ended(session) < WITHIN_S


def test_what_is_pushed_to_the_gate_ends_the_session_before_the_log_has_it(lab: HostsLab, host: Host) -> None:
    asked = lab.granted()
    with live(host, asked) as session:
        url = find(host.directory / "run", "gate-gpu1")
        assert url is not None
        HttpClient(url).post("/negative", lab.revocation(asked))
        assert ended(session) < WITHIN_S


def test_a_gate_that_was_killed_ends_what_is_over_when_it_is_back_and_lets_nobody_in_meanwhile(lab: HostsLab) -> None:
    host = lab.host("gpu2")
    asked = lab.granted("gpu2")
    with live(host, asked) as session:
        kept = host.directory / "state" / "sessions"
        wait_for("the gate to see it", lambda: any(b"came_in" in one.read_bytes() for one in kept.iterdir()) or None)
        assert host.gate is not None
        host.gate.kill()
        assert not host.opens(asked, "ktada"), "the verifier is dead"
        revoke(lab, asked)
        other = lab.granted("gpu2")
        assert session.alive
        lab.start_gate(host)
        wait_for("the gate to have a view", lambda: host.opens(other, "ktada") or None)
        assert ended(session) < WITHIN_S
        assert not host.opens(asked, "ktada")
    # An old copy of its journal is put back, which knows nothing of who came in since.
    with live(host, other) as session:
        wait_for("the gate to see it", lambda: any(b"came_in" in one.read_bytes() for one in kept.iterdir()) or None)
        host.gate.kill()
        shutil.rmtree(kept)
        lab.start_gate(host)
        assert ended(session) < WITHIN_S, "nobody knows by which grant"
        assert host.opens(other, "ktada")


def test_closing_the_gate_ends_every_session(lab: HostsLab, host: Host) -> None:
    asked, other = lab.granted(), lab.granted()
    with live(host, asked) as one, live(host, other) as two:
        lab.log.append(lab.suspension("bob", target_gate=str(lab.lab.gate_uri("gpu1"))))
        assert max(ended(one), ended(two)) < WITHIN_S
    assert not host.opens(asked, "ktada")
