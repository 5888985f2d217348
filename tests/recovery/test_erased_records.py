"""Two people erase what somebody wrote, from the log of running processes: it stays whole, and a live denial stays a denial."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.members import People

pytestmark = [pytest.mark.xdist_group("recovery"), pytest.mark.timeout(300)]

ERASE = ("--ground", "objection", "--case", "2026-017", "--yes")


def test_a_live_denial_is_erased_and_nobody_gets_in_by_that(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.by("ada", "trust", "invite", "carol", "--group", "security")
    people.by("carol", "trust", "accept", "carol.invitation.json")
    people.publish(members=("bob", "carol"))
    with people.served():
        request = people.ask()
        denial = people.by("bob", "deny", request, "--reason", "Erin is ill, and told me", "--yes")["id"]

        assert people.refused("bob", "tombstone", "sign", denial, *ERASE) == "tombstone-own"
        assert people.refused("carol", "tombstone", "sign", request, *ERASE) == "tombstone-live"
        first = people.by("carol", "tombstone", "sign", denial, *ERASE)["id"]
        assert people.refused("ada", "tombstone", "sign", first, *ERASE) == "tombstone-kind"
        for _ in range(2):  # one person, however often
            people.by("carol", "tombstone", "sign", denial, *ERASE)
        assert people.by("ada", "log", "erase", "--yes")["erased"] == 0
        assert people.refused("carol", "approve", request, "--yes") == "request-ended"

        last = people.by("ada", "tombstone", "sign", denial, *ERASE)["index"]
        done = people.by("ada", "log", "erase", "--yes")
        assert (done["erased"], [one["state"] for one in done["tombstones"]]) == (1, ["erased"])
        assert people.by("ada", "log", "erase", "--yes")["erased"] == 0
        (fault,) = people.by("bob", "log", "verify")["faults"]
        assert (fault["what"], fault["id"], fault["tombstone"]) == ("erased", denial, last)
        assert people.by("bob", "trust", "void")["entries"] == []
        # Whoever reads the log from its beginning cannot find out whether the request was denied: so it is not granted.
        assert people.refused("carol", "approve", request, "--yes", status=3) == "negative-unread"
        again = people.ask()
        people.by("carol", "approve", again, "--yes")

    everything = b"".join(path.read_bytes() for path in (people.lab / "log").rglob("*") if path.is_file())
    assert b"Erin" not in everything
    people.by("ada", "log", "reindex")
    with people.served():
        assert [fault["what"] for fault in people.by("ada", "log", "verify")["faults"]] == ["erased"]
        people.by("bob", "deny", again, "--reason", "enough", "--yes")
