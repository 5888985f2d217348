"""What a host gate keeps of a connection: one text, one name, and nothing that it does not know."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.errors import Malformed
from keyturn.formats import host_session
from keyturn.formats.host_session import HostSession, SshdConnection, SshdState

BOOT = "0a1b2c3d-0000-4000-8000-000000000000"
SESSION = HostSession(
    version=1,
    boot=BOOT,
    pid=77,
    started=1234,
    how="grant",
    digest="ab" * 32,
    account="ada",
    key="AAAA",
    approvals=("cd" * 32,),
    asked_at=100,
    ends_at=200,
)


def test_a_connection_reads_back_as_it_was_under_its_own_name() -> None:
    seen = msgspec.structs.replace(SESSION, came_in=True, cgroups=("/keyturn-host/77-1234",))
    for one in (SESSION, seen):
        assert host_session.parse(host_session.render(one)) == one
        assert one.name == f"{BOOT}-77-1234"
    assert SshdConnection(BOOT, 77, 1234) != SshdConnection(BOOT, 77, 1235)
    assert SshdState(True, False, ()).alive


@pytest.mark.parametrize(
    "changed",
    [{"pid": 1}, {"boot": "x"}, {"how": "password"}, {"account": "../x"}, {"cgroups": ["relative"]}, {"extra": 1}],
    ids=["init", "no boot", "another way in", "an account that climbs", "a group that is no path", "an unknown field"],
)
def test_what_is_no_connection_is_refused(changed: dict[str, object]) -> None:
    raw = msgspec.json.encode(msgspec.to_builtins(SESSION) | changed, order="sorted")
    with pytest.raises(Malformed):
        host_session.parse(raw)
