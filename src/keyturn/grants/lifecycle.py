"""The life of a request as one table, `(state, event) -> state`, which code, docs and tests all read.

    asked --approve--> asked ... --quorum--> agreed --open--> open --close--> over

A denial or revocation ends it from any state that is not over. What is over stays over: renewal is a new request.

This is for people (`keyturn grant list`). Gates do not ask for a state: they run `verify_grant`, each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from keyturn.errors import Refused

__all__ = ["END_STATES", "START", "TABLE", "Event", "State", "diagram", "run", "step"]

State = Literal["asked", "agreed", "open", "used", "denied", "revoked", "lapsed", "over"]
Event = Literal["approve", "quorum", "open", "use", "deny", "revoke", "lapse", "close"]

START: State = "asked"

TABLE: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        ("asked", "approve"): "asked",
        ("asked", "quorum"): "agreed",
        ("asked", "deny"): "denied",
        ("asked", "revoke"): "revoked",
        ("asked", "lapse"): "lapsed",
        ("agreed", "approve"): "agreed",
        ("agreed", "open"): "open",
        ("agreed", "deny"): "denied",
        ("agreed", "revoke"): "revoked",
        ("agreed", "lapse"): "lapsed",
        ("open", "approve"): "open",
        ("open", "use"): "used",
        ("open", "deny"): "denied",
        ("open", "revoke"): "revoked",
        ("open", "close"): "over",
        ("used", "approve"): "used",
        ("used", "use"): "used",
        ("used", "deny"): "denied",
        ("used", "revoke"): "revoked",
        ("used", "close"): "over",
    }
)
"""Every move there is; whatever is not here is refused."""

END_STATES: frozenset[State] = frozenset({"denied", "revoked", "lapsed", "over"})


def step(state: State, event: Event) -> State:
    """The state after `event`, or `Refused` `lifecycle-no-such-move`."""
    found = TABLE.get((state, event))
    if found is None:
        raise Refused("lifecycle-no-such-move", f"a request that is `{state}` cannot `{event}`")
    return found


def run(events: Iterable[Event]) -> State:
    """The state after all of `events`, from the start."""
    state = START
    for event in events:
        state = step(state, event)
    return state


def diagram() -> str:
    """The table as a Mermaid state diagram, as docs/formats/grant-bundle.md shows it."""
    lines = ["stateDiagram-v2", f"    [*] --> {START}"]
    lines += [f"    {state} --> {after}: {event}" for (state, event), after in TABLE.items()]
    lines += [f"    {state} --> [*]" for state in sorted(END_STATES)]
    return "\n".join(lines) + "\n"
