"""`keyturn approve | deny`: agree to a request, or end it, as one human, after all of it was shown: what is asked, what others
said, and for a release the chain with what its evaluations measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from keyturn.cli import in_force, output
from keyturn.cli.access import asked
from keyturn.cli.names import Requests
from keyturn.cli.options import Json, Key, Lab, Reason, Yes

if TYPE_CHECKING:
    from keyturn.app.access.authorize import Pending
    from keyturn.app.gates.tell_gates import AtGate
    from keyturn.wiring.access.grants import Viewed

__all__ = ["approve", "deny"]


def approve(
    which: Requests, reason: Reason = "", lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False
) -> None:
    """Approve requests, each after it was shown whole. Only humans can, and nobody for himself."""
    _authorize("approve", which, reason, lab, key=key, yes=yes, json=json)


def deny(
    which: Requests, reason: Reason, lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False
) -> None:
    """Deny requests: one human's denial ends a request, as soon as it is witnessed."""
    _authorize("deny", which, reason, lab, key=key, yes=yes, json=json)


def _authorize(
    decision: Literal["approve", "deny"],
    which: list[str],
    reason: str,
    lab: str | None,
    *,
    key: str | None,
    yes: bool,
    json: bool,
) -> None:
    from keyturn.app.access.authorize import authorize, find_pending, require_can_authorize
    from keyturn.errors import Usage
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    verb = "approved" if decision == "approve" else "denied"
    done = []
    at_gates: list[AtGate] = []
    with desk(lab, approving=decision == "approve", key=key) as here:
        seen, hand = here.seen, here.hand
        found = [find_pending(seen.view, one) for one in which]
        if len({pending.digest for pending in found}) != len(found):
            raise Usage("request-twice", "expected each request once")
        for pending in found:  # all of them before any: a slip in the last leaves the first unsigned too
            require_can_authorize(
                pending,
                seen.trust,
                seen.view,
                member=hand.member,
                keyid=hand.key.public.keyid,
                now=seen.now,
                approve=decision == "approve",
            )
        try:
            for pending in found:
                _show(seen, pending, decision, json=json)
                output.confirm(f"{decision.title()} this?", yes=yes)
                with in_force.told_anyway(here, json=json):
                    logged = authorize(
                        pending,
                        decision,
                        member=hand.member,
                        reason=reason,
                        key=hand.key,
                        log=hand.log,
                        clock=hand.clock,
                        entropy=hand.entropy,
                    )
                    witnessed = wait_until_in_force(seen, logged)
                told = here.gates.told()
                at_gates += told
                more = {} if decision == "approve" else {"gates": in_force.as_json(told)}
                done.append({**asked.logged_as(logged, in_force=witnessed.cosigned_at), **more})
                if not json:
                    profile = f" (profile: {seen.trust.profile})"
                    output.console().print(f"{logged.id}: {verb} {pending.id}, in force{profile}")
                in_force.show_at_gates(told, json=json)
        finally:
            if json and done:  # what is in force is said also when a later one was not signed
                output.emit(done if len(found) > 1 else done[0], json=True, human=lambda _: None)
    in_force.require_at_gates(tuple(at_gates))


def _show(seen: Viewed, pending: Pending, decision: Literal["approve", "deny"], *, json: bool) -> None:
    """Show all that is known of a request: its fields, what others said, what it still needs, the chain behind a release.

    What cannot be found out ends an approval, and no denial: whoever asks for nonsense, or hides records, is denied all the same.
    """
    from keyturn.app.access.show_grants import explain_grant
    from keyturn.cli.custody.chains import release_lines
    from keyturn.errors import KeyturnError

    def said_so_far() -> str:
        return asked.table(asked.so_far(explain_grant(seen.view, seen.trust, pending.digest, now=seen.now)))

    def chain() -> str:
        release = asked.chain_behind(seen, pending)
        return "" if release is None else "\n".join(release_lines(release))

    asked.show_whole(pending, json=json)
    for look in (said_so_far, chain):
        try:
            found = look()
        except KeyturnError as err:
            if decision == "approve":
                raise
            found = f"  not found out: {err.message} [{err.code}]"
        if found:
            output.warn(found, json=json)
