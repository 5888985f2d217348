"""Many logins with revocations in between: no session outlives its grant by more than five seconds, and no other ends."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

import pytest

from support.hosts import Host, HostsLab
from support.processes import Process, running, wait_for

WITHIN_S = 5.0


ROUNDS = int(os.environ.get("KEYTURN_LOGIN_ROUNDS", "1"))
"""Twenty logins and one revocation in each: 50 make a thousand logins."""


@pytest.mark.timeout(180 * ROUNDS)
def test_of_many_logins_none_outlives_its_grant(lab: HostsLab, host: Host) -> None:
    grants_of_one, logins_of_one = 4, 5
    done = 0
    for _ in range(ROUNDS):
        grants = [lab.granted() for _ in range(grants_of_one)]
        with ExitStack() as stack:
            sessions: list[tuple[int, Process]] = []
            for number, asked in enumerate(grants):
                for _ in range(logins_of_one):
                    words = host.ssh(asked, "ktada", "echo in; exec sleep 3000")
                    sessions.append((number, stack.enter_context(running(words))))
            for _, session in sessions:
                session.wait_for_line("in")
            done += len(sessions)
            lab.log.append(lab.revocation(grants[0]))
            begin = time.monotonic()
            for number, session in sessions:
                if number == 0:
                    wait_for("the end", lambda one=session: None if one.alive else True, deadline_s=30)  # type: ignore[misc]  # bound here
            assert time.monotonic() - begin < WITHIN_S
            assert all(session.alive for number, session in sessions if number != 0)
            assert host.gate is not None
            assert host.gate.output, "read, so that its pipe is never full"
        for asked in grants[1:]:
            lab.log.append(lab.revocation(asked))
    assert done == 20 * ROUNDS
