"""Whoever is refused is told what to do next: no error code is without it, but for a few that say why."""

from __future__ import annotations

import json

import pytest

from keyturn.cli import mends, next_steps
from keyturn.cli.output import show_error
from keyturn.errors import Conflict, Malformed, Refused, Tampered, Unavailable
from tools import error_codes

KINDS = {kind.__name__ for kind in next_steps.AFTER_KIND}


def test_every_error_code_has_a_next_step_or_says_why_not() -> None:
    without = {
        code
        for code, entry in error_codes.codes().items()
        if not entry.hinted and code not in next_steps.AFTER and not entry.kinds <= KINDS
    }
    assert without - next_steps.SILENT.keys() == set(), "say a hint where it is raised, or in cli/next_steps.py"
    assert next_steps.SILENT.keys() - without == set(), "these have one by now"
    assert len(next_steps.SILENT) < 5


def test_a_next_step_is_of_a_code_that_lacks_one() -> None:
    known = error_codes.codes()
    assert {code for code in next_steps.AFTER if code not in known or known[code].hinted} == set()
    listed = [code for _, codes in next_steps._STEPS for code in codes.split()]
    assert sorted(listed) == sorted(set(listed)), "each code once"


def test_every_failure_of_a_chain_or_pack_has_what_mends_it() -> None:
    found = error_codes.failures()
    assert len(found) > 50
    assert {code for code in found if not mends.mend_of(code)} == set(), "say in cli/mends.py what mends it"
    assert mends.MENDS.keys() - found.keys() - error_codes.codes().keys() == set(), "these are of nothing"
    listed = [code for _, codes in mends._MENDS for code in codes.split()]
    assert sorted(listed) == sorted(set(listed)), "each code once"


def test_of_many_reasons_each_says_what_mends_it_and_people_read_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = (("link-missing", "one"), ("criteria-late", "two"), ("link-missing", "three"), ("what-is-new", "four"))
    err = Refused("pack-refused", "no", reasons=reasons, hint="keep it")
    show_error(err, json=False)
    said = capsys.readouterr().err
    assert said.count(f"      try: {mends.mend_of('link-missing')}\n") == 1
    assert said.count("      try: ") == 2
    assert said.endswith("  try: keep it\n")
    show_error(err, json=True)
    shown = json.loads(capsys.readouterr().err)["error"]["reasons"]
    assert [one["hint"] for one in shown] == [mends.mend_of(code) for code, _ in reasons]


@pytest.mark.parametrize(
    ("err", "said"),
    [
        pytest.param(Refused("suspended", "no"), "keyturn trust suspended", id="of the code"),
        pytest.param(Refused("suspended", "no", hint="its own"), "its own", id="its own comes first"),
        pytest.param(Malformed("anything", "no"), "get it again", id="of its kind: Malformed"),
        pytest.param(Tampered("anything", "no"), "keep it as evidence", id="of its kind: Tampered"),
        pytest.param(Conflict("anything", "no"), "retry", id="of its kind: Conflict"),
    ],
)
def test_it_is_shown_to_people_and_to_scripts(err: Refused, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_error(err, json=False)
    assert f"\n  try: {next_steps.next_step(err)}\n" in capsys.readouterr().err
    show_error(err, json=True)
    assert said in json.loads(capsys.readouterr().err)["error"]["hint"]


def test_where_nobody_knows_nothing_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(Unavailable("what-a-server-said", "no"), json=False)
    assert "try:" not in capsys.readouterr().err
