"""Every file of a lab's directory, spoiled in every way, for every program that reads it: it says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.spoiled_lab import FILES, PROGRAMS, STATES, attempts, spoilable

pytestmark = [pytest.mark.xdist_group("spoiled"), pytest.mark.timeout(180)]

NOTES = ("log/signed", "log/checkpoint")
NEVER_ABSENT = (
    "a directory",
    "a link to nowhere",
    "a link to /dev/zero",
    "a pipe that nobody writes to",
    "empty",
    "garbage",
)
"""What is no file of ours, and must not be taken for a file that is not there yet."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch, spoilable() as place:
        patch.setenv("KEYTURN_HOME", str(place / "nobody"))
        yield place


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_file_that_is_none_ends_nothing_with_a_defect_a_hang_or_no_hint(lab: Path, program: str, state: str) -> None:
    found = attempts(lab, program, state)
    assert [one.name for one in found] == list(FILES[PROGRAMS[program][1]])
    assert [one for one in found if one.defect] == []
    assert [one for one in found if one.code and not one.hint] == []


@pytest.mark.parametrize("state", NEVER_ABSENT)
def test_a_damaged_note_is_named_with_the_command_that_makes_it_again(lab: Path, state: str) -> None:
    found = {one.name: one for one in attempts(lab, "the log's writer", state)}
    assert {(found[name].code, "keyturn log recover" in found[name].hint) for name in NOTES} == {
        ("log-note-damaged", True)
    }


@pytest.mark.parametrize("state", ["absent", "empty", "a link to nowhere"])
def test_an_index_that_is_gone_is_not_taken_for_envelopes_that_nobody_has(lab: Path, state: str) -> None:
    for program in ("a reader of the log", "log verify"):
        found = {one.name: one for one in attempts(lab, program, state)}["index.sqlite"]
        assert (found.code, found.hint) == ("index-behind", "keyturn log reindex")


@pytest.mark.parametrize("state", NEVER_ABSENT)
def test_a_witness_does_not_take_damage_for_having_seen_nothing(lab: Path, state: str) -> None:
    found = {one.name: one for one in attempts(lab, "the witness", state)}
    assert next(one.code for name, one in found.items() if "/state/" in name) == "witness-state-damaged"
