"""`keyturn trust suspend | lift | suspended`: stop a member, a key or a gate at once, and let it go on again.

Mounted under `trust` by its module. Each says NOT IN FORCE until it is witnessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import in_force, output
from keyturn.cli.completion import offer_names
from keyturn.cli.names import Suspension, a_duration, a_gate, seconds
from keyturn.cli.options import Json, Key, Lab, Reason, Yes

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.grants.known import Suspended
    from keyturn.wiring.access.grants import Viewed

__all__ = ["lift", "suspend", "suspended"]


def suspend(
    reason: Reason,
    member: Annotated[str | None, typer.Option(help="A member's id.", autocompletion=offer_names("members"))] = None,
    key_id: Annotated[
        str | None, typer.Option(help="The id of a key, 64 hex digits: `keyturn trust members` shows it.")
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            help="A gate to close, as `release`, or its whole URI.",
            callback=a_gate,
            autocompletion=offer_names("gates"),
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="How long, as `2h`. Default: as long as the lab allows.", callback=a_duration)
    ] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Suspend a member, a key or a gate, alone and at once: yourself always; others, when you are of `security`."""
    from keyturn.app.access.take_away import Target, require_known, require_short
    from keyturn.app.access.take_away import suspend as suspend_target
    from keyturn.formats.posix_time import duration as in_words
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    duration_s = None if duration is None else seconds(duration)
    kind, name = _named(member, key_id, gate)

    def named(seen: Viewed) -> Target:
        short = kind == "gate" and not name.startswith("keyturn://")
        return Target(kind, f"keyturn://{seen.trust.lab}/gate/{name}" if short else name)

    def check(seen: Viewed) -> None:
        require_known(named(seen), seen.trust)
        require_short(duration_s, seen.trust)

    with desk(lab, key=key, check=check) as here:
        seen, hand = here.seen, here.hand
        target = named(seen)
        output.warn(
            f"  suspend {target.kind} {target.name} for {in_words(duration_s or seen.trust.limits.suspension_max_s)}: {reason}",
            json=json,
        )
        output.confirm("Sign this suspension?", yes=yes)
        with in_force.told_anyway(here, json=json):
            logged = suspend_target(target, hand, seen.trust, seen.view, reason=reason, duration_s=duration_s)
            witnessed = wait_until_in_force(seen, logged)
        told = here.gates.told()
    output.emit(
        {
            "id": logged.id,
            "index": logged.index,
            "witnessed_at": witnessed.cosigned_at,
            "gates": in_force.as_json(told),
        },
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {target.kind} {target.name} is suspended, in force"),
    )
    in_force.show_at_gates(told, json=json)
    in_force.require_at_gates(told)


def lift(
    which: Suspension,
    reason: Reason,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Lift a suspension, as one of the two humans that it takes; never your own."""
    from dataclasses import replace

    from keyturn.app.access.take_away import find_suspended
    from keyturn.app.access.take_away import lift as sign_lift
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        found = find_suspended(seen.view, which, now=seen.now)
        output.warn(f"  lift the suspension of {found.target} by {found.by}: {found.reason}", json=json)
        output.confirm("Sign this lift?", yes=yes)
        logged = sign_lift(found, hand, seen.trust, seen.view, reason=reason)
        witnessed = wait_until_in_force(seen, logged)
        ended = replace(found, lifted_by=found.lifted_by | {hand.member}).lifted
    output.emit(
        {"id": logged.id, "index": logged.index, "witnessed_at": witnessed.cosigned_at, "lifted": ended},
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {'lifted' if ended else 'one more human must lift it too'}"),
    )


def suspended(lab: Lab = None, json: Json = False) -> None:
    """List the suspensions that stand."""
    from keyturn.formats.records import record_id
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        found = tuple(s for s in seen.view.known.suspensions.values() if s.stands(seen.trust, at=seen.now))
    value = [
        {
            "id": record_id("sus", one.digest),
            "digest": one.digest,
            "target": one.target,
            "by": one.by,
            "own": one.own,
            "reason": one.reason,
            "signed_at": one.signed_at,
            "until": one.until,
            "lifted_by": sorted(one.lifted_by),
        }
        for one in found
    ]
    output.emit(value, json=json, human=lambda screen: _listed(screen, found))


def _named(member: str | None, key_id: str | None, gate: str | None) -> tuple[Literal["member", "key", "gate"], str]:
    from keyturn.errors import Usage

    options: tuple[tuple[Literal["member", "key", "gate"], str | None], ...] = (
        ("member", member),
        ("key", key_id),
        ("gate", gate),
    )
    named = [(kind, name) for kind, name in options if name is not None]
    if len(named) != 1:
        raise Usage(
            "suspend-target",
            f"expected exactly one of --member, --key-id and --gate, got {len(named)}",
            hint="keyturn trust suspend --member ID --reason WHY",
        )
    return named[0]


def _listed(screen: Console, found: tuple[Suspended, ...]) -> None:
    from keyturn.formats.posix_time import rfc3339

    if not found:
        screen.print("nothing is suspended")
    for one in found:
        lifters = f"; lifted by {', '.join(sorted(one.lifted_by))}" if one.lifted_by else ""
        screen.print(
            output.plain(
                f"sus-{one.digest[:32]}: {one.target} until {rfc3339(one.until)} by {one.by}: {one.reason}{lifters}"
            )
        )
