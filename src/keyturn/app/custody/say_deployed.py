"""Log that a released model runs on a host, or does not any more; and take a release back, as one human.

Neither asks anybody. A deployment statement says what somebody did, and lets nobody do it. A withdrawal is a revocation of the
release's request: it opens nothing, and whoever asks before he serves (`app.custody.check_release`) is told no from when it is
witnessed on, for good.
"""

from __future__ import annotations

from typing import Any

from keyturn.app.access.take_away import Hand
from keyturn.app.custody.deployments import Deployed, Released
from keyturn.app.records.sign_record import Logged, about, sign_and_log
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.negatives import Revocation
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.grants import negatives
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, LogWriter
from keyturn.trust.roster import TrustState

__all__ = ["GateHand", "say_deployed", "say_ended", "withdraw"]

_GATES_REMEMBER_S = 30 * 86400
"""How long gates hold a withdrawal in memory. Whoever checks a release reads it in the log, however old it is."""


class GateHand:
    """As `take_away.Hand`, of a gate: what signs, and which log it goes to."""

    def __init__(self, gate: Uri, *, key: SoftwareKey, log: LogWriter, clock: Clock, entropy: Entropy) -> None:
        self._gate = gate
        self._key = key
        self._log = log
        self.clock = clock
        self._entropy = entropy

    def opening(self, *, now: int) -> dict[str, Any]:
        """The fields that every record by a gate has."""
        return {
            "lab": self._gate.lab,
            "nonce": self._entropy.nonce(),
            "gate": str(self._gate),
            "key": self._key.public.keyid,
            "signed_at": now,
        }

    def logs(self, made: Deployment, subjects: tuple[Subject, ...]) -> Logged:
        """Sign `made` and hand it to the log."""
        return sign_and_log(made, subjects, key=self._key, log=self._log)


def say_deployed(
    hand: Hand | GateHand, trust: TrustState, *, host: Uri, model: ArtifactDigest, resource: str, request: str
) -> Logged:
    """Log that `model`, released as `resource` by `request`, runs on `host` from now on."""
    made = Deployment(**_opening(hand, trust), host=str(host), resource=resource, request=request)
    return hand.logs(made, _subject(model, resource))


def say_ended(hand: Hand | GateHand, trust: TrustState, deployed: Deployed, *, reason: str) -> Logged:
    """Log that `deployed` does not run any more; refused for one that ended."""
    if not deployed.runs:
        raise Refused(
            "deployment-ended",
            f"{deployed.id} on `{deployed.host}` ended already, as {deployed.ended_by} said",
            hint="keyturn release where DIGEST",
        )
    made = Deployment(
        **_opening(hand, trust),
        host=deployed.host,
        resource=deployed.resource,
        request=deployed.request,
        ends=deployed.digest,
        reason=reason,
    )
    return hand.logs(made, _subject(deployed.model, deployed.resource))


def withdraw(released: Released, hand: Hand, trust: TrustState, view: GateView, *, reason: str) -> Logged:
    """Take the release back, for good."""
    now = hand.clock.now()
    hand.require_unsuspended(view, now=now)
    made = Revocation(
        **hand.opening(trust, now=now), request=released.request, reason=reason, until=now + _GATES_REMEMBER_S
    )
    negatives.require_may_revoke(made, trust, frozenset({released.requester}))
    return hand.logs(made, about(released.request, name=released.id))


def _opening(hand: Hand | GateHand, trust: TrustState) -> dict[str, Any]:
    now = hand.clock.now()
    return hand.opening(now=now) if isinstance(hand, GateHand) else hand.opening(trust, now=now)


def _subject(model: ArtifactDigest, resource: str) -> tuple[Subject, ...]:
    return (Subject(digest=DigestSet.of(model), name=Uri.parse(resource).name),)
