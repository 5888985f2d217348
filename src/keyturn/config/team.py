"""Read a team to invite from a CSV file (RFC 4180), one member on a line.

    member,kind,groups,responsible,signs_trust,attested
    bob,human,research security,,yes,yes
    bob+coder,agent,,bob,,

The first line names the columns, in any order; `member` must be there. An empty cell is what `keyturn trust invite` takes
when its option is not given. Groups and responsible humans are separated by spaces.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from keyturn.errors import Usage
from keyturn.formats.enrolment import InviteeKind

__all__ = ["COLUMNS", "Joining", "parse"]

COLUMNS = ("member", "kind", "groups", "responsible", "signs_trust", "attested")
_ROWS_MAX = 1000
_BOOL: Mapping[str, bool | None] = {"": None, "yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class Joining:
    """One line: what was said of one member; `None` and empty for what was not."""

    member: str
    kind: InviteeKind
    groups: tuple[str, ...]
    responsible: tuple[str, ...]
    signs_trust: bool | None
    attested: bool | None


def parse(raw: bytes, *, where: str = "team.csv") -> tuple[Joining, ...]:
    """Parse `raw`, or raise `Usage` with the line that is wrong."""
    try:
        lines = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeError, csv.Error) as err:
        raise _wrong(where, 1, f"CSV in UTF-8 ({err})") from err
    if (
        not lines
        or "member" not in lines[0]
        or not set(lines[0]) <= set(COLUMNS)
        or len(set(lines[0])) != len(lines[0])
    ):
        raise _wrong(where, 1, f"columns of {', '.join(COLUMNS)}, each once, `member` among them")
    if len(lines) > _ROWS_MAX:
        raise _wrong(where, _ROWS_MAX, f"at most {_ROWS_MAX} lines")
    found = tuple(_joining(lines[0], line, where, number) for number, line in enumerate(lines[1:], 2) if any(line))
    if not found:
        raise _wrong(where, 2, "at least one member")
    return found


def _joining(header: list[str], line: list[str], where: str, number: int) -> Joining:
    if len(line) != len(header):
        raise _wrong(where, number, f"{len(header)} cells, as the first line names them")
    cell = {name: text.strip() for name, text in zip(header, line, strict=True)}
    kind = next((known for known in _kinds() if known == (cell.get("kind") or "human")), None)
    if kind is None:
        raise _wrong(where, number, f"a kind of {', '.join(_kinds())}")
    return Joining(
        member=cell["member"],
        kind=kind,
        groups=tuple(cell.get("groups", "").split()),
        responsible=tuple(cell.get("responsible", "").split()),
        signs_trust=_bool(cell.get("signs_trust", ""), where, number),
        attested=_bool(cell.get("attested", ""), where, number),
    )


def _kinds() -> Iterator[InviteeKind]:
    yield from get_args(InviteeKind)


def _bool(text: str, where: str, number: int) -> bool | None:
    if text.lower() not in _BOOL:
        raise _wrong(where, number, f"`yes`, `no` or nothing, got `{text[:20]}`")
    return _BOOL[text.lower()]


def _wrong(where: str, number: int, expected: str) -> Usage:
    return Usage("team-invalid", f"`{where}`, line {number}: expected {expected}", hint="keyturn trust invite --help")
