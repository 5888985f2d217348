"""A team to invite: one member on a line, and what is wrong is said with its line."""

from __future__ import annotations

import pytest

from keyturn.config import team
from keyturn.config.team import Joining
from keyturn.errors import Usage


def test_columns_are_in_any_order_and_what_is_not_said_is_left_open() -> None:
    assert team.parse(b"kind,member,groups\n,bob,research security\nagent,bob+coder,\n\n", where="t.csv") == (
        Joining("bob", "human", ("research", "security"), (), None, None),
        Joining("bob+coder", "agent", (), (), None, None),
    )
    whole = "\ufeffmember,kind,groups,responsible,signs_trust,attested\r\ncara,human,,ada bob,no,YES\r\n"
    assert team.parse(whole.encode(), where="t.csv") == (Joining("cara", "human", (), ("ada", "bob"), False, True),)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        pytest.param(b"", 1, id="nothing"),
        pytest.param(b"bob,human\n", 1, id="no names of columns"),
        pytest.param(b"member,role\nbob,admin\n", 1, id="an unknown column"),
        pytest.param(b"member,member\nbob,bob\n", 1, id="a column twice"),
        pytest.param(b"member\n", 2, id="nobody"),
        pytest.param(b"member,kind\nbob\n", 2, id="a cell is missing"),
        pytest.param(b"member,kind\nbob,human,x\n", 2, id="a cell too many"),
        pytest.param(b"member,kind\nada,human\nbob,robot\n", 3, id="another kind"),
        pytest.param(b"member,signs_trust\nbob,maybe\n", 2, id="neither yes nor no"),
        pytest.param(b"member\n\xff\n", 1, id="no UTF-8"),
        pytest.param(b'member\n"bob\n', 1, id="a quote that never ends"),
        pytest.param(b"member\n" + b"bob\n" * 1001, 1000, id="too many"),
    ],
)
def test_a_line_that_is_wrong_is_named(raw: bytes, line: int) -> None:
    with pytest.raises(Usage, match=f"line {line}: expected"):
        team.parse(raw, where="t.csv")
