"""Hold one finding: a door that opens without a grant, for whom, and the command that closes it.

A finding is what was seen, and nothing about what became of it: that is the ledger's (`standing.ledger`). Its id is made of the
place, the code, where it is and of `mark`, a digest of what exactly opens. So another key on the same line, or another program
under the same setuid bit, is another finding, whatever somebody accepted before.

What could not be looked at is a finding too, of severity `unknown`, and never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import canonical_json
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.plain_text import plain

__all__ = ["CLOSE_MAX", "FINDINGS_MAX", "TEXT_MAX", "Finding", "Scan", "Severity", "found", "gathered", "unseen"]

TEXT_MAX = 600
CLOSE_MAX = 6000
FINDINGS_MAX = 20_000
"""Of one place: beyond that its state is clear, and what is left out is said."""

Severity = Literal["high", "medium", "low", "unknown"]
"""`high` opens all of the place, `medium` an account or a part of it, `low` little by itself; `unknown` was not looked at."""

_Text = Annotated[str, Meta(max_length=TEXT_MAX)]
_Code = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{2,47}\Z")]


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One door. `area` is the part of the place that it was found in; `close` is typed into a POSIX shell with bash's quotes."""

    code: _Code
    area: _Code
    where: _Text
    opens: _Text
    to: _Text
    severity: Severity
    close: Annotated[str, Meta(max_length=CLOSE_MAX)]
    mark: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    line: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0

    @property
    def at(self) -> str:
        """Where it is, with the line: that moves, and is no part of the id."""
        return f"{self.where}:{self.line}" if self.line else self.where

    def digest(self, place: str) -> Sha256:
        """What an acceptance names: the same door at the same place has the same digest in each scan."""
        return sha256(canonical_json.encode([place, self.code, self.where, self.mark]))

    def id(self, place: str) -> str:
        """`fnd-` and the first 32 hex digits of `digest`: what people type."""
        return f"fnd-{self.digest(place)[:32]}"


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What one scan of a place gave. Of the areas in `unseen` it says nothing: what stood open there stands still."""

    findings: tuple[Finding, ...]
    unseen: frozenset[str]


def found(
    code: str,
    area: str,
    where: str,
    *,
    opens: str,
    to: str,
    severity: Severity,
    close: str,
    mark: Iterable[str | bytes] = (),
    line: int = 0,
) -> Finding:
    """Make a finding of texts that others wrote: they are shortened and spelled out, and `mark` takes them as they are."""
    raw = b"\0".join(
        part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in (where, *mark)
    )
    return Finding(
        code=code,
        area=area,
        where=_shown(where),
        opens=_shown(opens),
        to=_shown(to),
        severity=severity,
        close=close if len(close) <= CLOSE_MAX else "",
        mark=sha256(raw),
        line=line,
    )


def unseen(area: str, where: str, why: str, *, close: str = "", line: int = 0) -> Finding:
    """Say that something could not be looked at: `close` is what to do so that it can be."""
    return found(
        "could-not-look",
        area,
        where,
        opens=f"not known: {why}",
        to="not known",
        severity="unknown",
        close=close,
        mark=(why,),
        line=line,
    )


def gathered(findings: Iterable[Finding]) -> Scan:
    """Make a scan of `findings`, each once, the worst first; of more than `FINDINGS_MAX` it says so."""
    known: dict[tuple[str, str, str], Finding] = {}
    areas: set[str] = set()
    left_out = 0
    for one in findings:
        if one.severity == "unknown":
            areas.add(one.area)
        if len(known) < FINDINGS_MAX:
            known[(one.code, one.where, one.mark)] = one
        else:
            left_out += 1
            areas.add(one.area)
    if left_out:
        more = unseen("everything", "here", f"{left_out} findings more than the {FINDINGS_MAX} that are shown")
        known[(more.code, more.where, more.mark)] = more
    order: tuple[Severity, ...] = ("high", "medium", "unknown", "low")
    return Scan(
        findings=tuple(
            sorted(known.values(), key=lambda one: (order.index(one.severity), one.code, one.where, one.mark))
        ),
        unseen=frozenset(areas),
    )


def _shown(text: str) -> str:
    said = plain(text[: 2 * TEXT_MAX]).replace("\n", "\\n")
    return said if len(said) <= TEXT_MAX else said[: TEXT_MAX - 3] + "..."
