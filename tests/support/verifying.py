"""Verify what a made world agreed to, as its gate would."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.uri import Uri
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_grant import ReadyToUse, VerifiedGrant, ready_to_use, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS, Facts
from keyturn.trust.roster import Roster
from support.world import World

__all__ = ["agreed", "dsse_digest", "one_shot", "ready", "refusal", "verify", "with_roster"]


def verify(
    world: World,
    bundle: Bundle,
    view: GateView | None = None,
    *,
    now: int | None = None,
    gate: Uri | None = None,
    session: PublicKey | str | None = "the one",
    facts: Facts = NO_FACTS,
) -> VerifiedGrant:
    return verify_grant(
        bundle,
        view or world.view(),
        now=world.now if now is None else now,
        gate=gate or world.gate,
        session_key=world.session.public if isinstance(session, str) else session,
        facts=facts,
    )


def agreed(world: World, **changed: object) -> tuple[Envelope, Bundle]:
    """A request that bob (security) and eve (weights-owners) approved, logged, and its bundle."""
    asked = world.ask(world.request(**changed))  # type: ignore[arg-type]  # fields of a request
    return asked, world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))


def refusal(code: str) -> Callable[[KeyturnError], bool]:
    return lambda err: err.code == code or code in [reason for reason, _ in getattr(err, "reasons", ())]


def with_roster(world: World, roster: Roster) -> None:
    world.lab = world.lab.publish(roster=roster)
    world.sync_trust()


def one_shot(world: World) -> tuple[Envelope, list[Envelope], Bundle]:
    asked = world.ask(world.release())
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    return asked, given, world.bundle(asked, *given)


def ready(world: World, bundle: Bundle, view: GateView | None = None) -> ReadyToUse:
    return ready_to_use(bundle, view or world.view(), now=world.now, gate=world.gate, session_key=None, facts=NO_FACTS)


def dsse_digest(envelope: Envelope) -> str:
    return sha256(dsse.render(envelope))
