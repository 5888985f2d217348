"""Show where what takes access away is in force: in the log, and gate by gate; and end with status 3 where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from keyturn.cli import output

if TYPE_CHECKING:
    from keyturn.app.gates.tell_gates import AtGate
    from keyturn.wiring.access.grants import Desk

__all__ = ["as_json", "require_at_gates", "show_at_gates", "told_anyway"]


@contextmanager
def told_anyway(here: Desk, *, json: bool) -> Iterator[None]:
    """While a record is logged and awaited: when that fails, say all the same which gates obey it already."""
    from keyturn.errors import KeyturnError

    try:
        yield
    except KeyturnError:
        lines = ["  ".join(cells) for cells in _cells(here.gates.told())]
        if lines:
            output.warn("\n".join(lines), json=json)
        raise


def as_json(found: tuple[AtGate, ...]) -> list[dict[str, Any]]:
    """How a record stands at each gate, for scripts."""
    return [
        {
            "gate": one.gate,
            "in_force": one.in_force,
            "size": one.size,
            "acted": one.acted,
            "code": one.code,
            "why": one.why,
            "closes_by_s": one.closes_by_s,
        }
        for one in found
    ]


def show_at_gates(found: tuple[AtGate, ...], *, json: bool) -> None:
    """Print a table of the gates that a record concerns; nothing as JSON, where it is part of the result."""
    if found and not json:
        output.rows(output.console(), ("gate", "state", ""), _cells(found))


def require_at_gates(found: tuple[AtGate, ...]) -> None:
    """Raise `Unavailable` `gate-not-in-force` unless every gate that the record concerns obeys it."""
    from keyturn.errors import Unavailable
    from keyturn.formats.posix_time import duration

    missing = [one for one in found if not one.in_force]
    if missing:
        latest_s = max(one.closes_by_s or 0 for one in missing)
        raise Unavailable(
            "gate-not-in-force",
            f"NOT IN FORCE at {', '.join(f'`{one.gate}`' for one in missing)}, as far as could be found out: it is witnessed, "
            f"and a gate that reads the log obeys it; one that does not closes within {duration(latest_s)}",
            hint="find out why the gate does not answer; until then, whoever operates it can stop it. A host's listens there "
            "alone: its `journalctl -u keyturn-host` says `session-ended`; one to which the log is carried needs an answer",
        )


def _cells(found: tuple[AtGate, ...]) -> list[tuple[str, str, str]]:
    cells = []
    for one in found:
        if one.in_force:
            said = f"log read up to entry {one.size}" + ("; IT HAD ACTED ON IT BEFORE" if one.acted else "")
            cells.append((one.gate, "IN FORCE", said))
        else:
            cells.append((one.gate, "NOT IN FORCE", f"as far as is known here: {one.why} [{one.code}]"))
    return cells
