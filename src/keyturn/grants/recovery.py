"""Verify a recovery grant: the people who could publish another root let one member in, when log and targets are of no use.

1. parse; it is of this lab;
2. it names the version of root that the gate has, and that root has not expired;
3. as many different humans as root's threshold, each by his root key, signed it;
4. its window is open, which its format keeps to 4 h within 24 h of signing, and it is not signed later than now;
5. this very gate, this session key, one resource that the action is for, and no one-shot.

It needs no log, no targets and no permit, and is stopped by no denial, revocation or suspension: whoever signs it could sign a
root without those who suspend. A new root ends every recovery grant of before, at each gate that has it.

This is NOT `grants.verify_grant`: nothing else opens by this, and this by nothing else.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.crypto.dsse_signing import verify_all
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import statement
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.recovery import RECOVERY_GRANT, RecoveryGrant
from keyturn.formats.uri import Uri
from keyturn.policy.schema import ACTIONS
from keyturn.trust.metadata import RootMetadata

__all__ = ["CLOCK_SKEW_MAX_S", "VerifiedRecovery", "require_root_threshold", "verify_recovery"]

CLOCK_SKEW_MAX_S = 60
"""As targets allow at the most; there may be no targets here."""

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class VerifiedRecovery:
    """A recovery grant that `verify_recovery` verified for one gate at one time, and the humans who signed it."""

    made: RecoveryGrant
    digest: Sha256
    signers: frozenset[str]
    gate: Uri
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedRecovery is made by verify_recovery only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedRecovery is not pickled: keep the envelope, and verify it again")


def verify_recovery(
    envelope: Envelope, root: RootMetadata, *, now: int, gate: Uri, session_key: PublicKey
) -> VerifiedRecovery:
    """Verify `envelope` for `gate` at `now` (POSIX seconds), under the newest root that the gate has verified."""
    # (1)
    made = statement.parse(envelope.payload, RecoveryGrant, RECOVERY_GRANT).predicate
    if made.lab != root.lab:
        raise Refused("lab-other", f"expected a recovery grant of lab `{root.lab}`, got `{made.lab}`")
    # (2) (3)
    signers = require_root_threshold(envelope, made, root)
    if root.expires_at <= now:
        raise Refused(
            "trust-expired",
            f"root expired at {root.expires_at}: expired metadata proves the past, and never opens a gate",
            hint="keyturn trust propose, sign and publish the next version",
        )
    # (4)
    if made.signed_at > now + CLOCK_SKEW_MAX_S:
        raise Refused("recovery-time", f"it says that it was signed at {made.signed_at}, it is {now}")
    if not made.not_before <= now < made.not_after:
        raise Refused(
            "recovery-closed",
            f"it is open from {rfc3339(made.not_before)} to {rfc3339(made.not_after)}, it is {rfc3339(now)}",
        )
    # (5)
    if made.gate != str(gate):
        raise Refused("gate-other", f"the recovery grant is for `{made.gate}`, this is `{gate}`")
    if made.session_key != session_key.text:
        raise Refused("session-key-other", "the session proved another key than the recovery grant names")
    require_one(made)
    return VerifiedRecovery(made, envelope.record_digest, signers, gate, _VERIFIER)


def require_one(made: RecoveryGrant) -> None:
    """Refuse an action that is none, is a one-shot, or is not for the one resource that `made` names."""
    act = ACTIONS.get(made.action)
    resource = Uri.parse(made.resource)
    if act is None or act.one_shot:
        raise Refused("recovery-action", f"`{made.action}` is no action that a session does")
    if resource.type not in act.resources or resource.type == "hosts":
        raise Refused("recovery-resource", f"`{made.resource}` is no single resource for `{made.action}`")
    for uri in (resource, Uri.parse(made.gate)):
        if uri.lab != made.lab:
            raise Refused("lab-other", f"`{uri}` is not of lab `{made.lab}`")


def require_root_threshold(envelope: Envelope, made: RecoveryGrant, root: RootMetadata) -> frozenset[str]:
    """The humans who signed `envelope` by their root keys, if they are as many as root needs, and none else signed it."""
    if made.root_version != root.version:
        raise Refused(
            "recovery-root",
            f"it was signed under root version {made.root_version}, and version {root.version} is in force",
        )
    holders = {holder.key.keyid: holder for holder in root.holders if holder.root}
    found = []
    for signature in envelope.signatures:
        holder = holders.get(signature.keyid)
        if holder is None:
            raise Refused(
                "recovery-signer", f"key `{signature.keyid[:16]}` is no root key of root version {root.version}"
            )
        found.append(holder)
    verify_all(envelope, tuple(holder.key for holder in found))  # and each key once
    humans = frozenset(holder.human for holder in found)
    if len(humans) < root.threshold:
        raise Refused(
            "recovery-threshold",
            f"expected signatures of {root.threshold} holders of root keys, got {', '.join(sorted(humans))}",
            hint="keyturn recovery sign, by another holder of a root key",
        )
    return humans
