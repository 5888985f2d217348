"""Verify a grant: the security kernel. Every gate opens by this, and nothing else makes a `VerifiedGrant`.

1. parse;
2. the view is fresh;
3. the requester is in the roster, not suspended, and signed;
4. each approval: a human, not suspended, a user-verified key, a good signature, this request, its trust_version, not expired;
5. persons: distinct humans, without requester, beneficiary, and every human responsible for an agent concerned;
6. no denial by a human, revocation or suspension in the view; no authorization that the view knows and the bundle lacks;
7. `decide`, under the targets that trust_version names and under the view's newest: both allow, by the same permit;
8. the window;
9. each record's leaf is in the view (proofs are for outsiders);
10. this gate, this session key; a one-shot (release, export) acts only after the gate's own `access-use` for it is witnessed
    and is the first.

3 to 8 are `grants.agreed`, for every kind of grant; 3 to 6 are invariants that no policy can loosen. The service is not asked:
the bundle may come from anybody.

This is NOT for break-glass, which has a verifier and a type of its own (`grants.break_glass`), so that no gate opens by it
unaware; nor for judging the past (`grants.verify_past`).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.uri import Uri
from keyturn.grants import bastion, checks, one_shot
from keyturn.grants.agreed import require_agreed
from keyturn.grants.bundle import Bundle
from keyturn.grants.checks import Asked
from keyturn.grants.freshness import require_fresh
from keyturn.grants.view import GateView
from keyturn.grants.window import Window
from keyturn.policy.facts import Facts
from keyturn.policy.load import Permit
from keyturn.trust.roster import Profile

__all__ = ["Granted", "ReadyToUse", "VerifiedGrant", "ready_to_use", "verify_grant"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class Granted:
    """What was granted, by whom, until when. A plain value: it opens nothing; `profile` is said with every verdict."""

    digest: Sha256
    request: AccessRequest
    subjects: tuple[ArtifactDigest, ...]
    permit: Permit
    approvers: tuple[str, ...]
    approvals: tuple[Sha256, ...]
    window: Window
    profile: Profile
    trust_version: int
    log_size: int


@dataclass(frozen=True, slots=True)
class VerifiedGrant:
    """A grant that `verify_grant` verified for one gate at one time: what gates act on. Only `verify_grant` makes one.

    `use` is the digest of the gate's own access-use, for one-shots: the gate acts once for each.
    """

    granted: Granted
    gate: Uri
    use: Sha256 | None
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedGrant is made by verify_grant only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedGrant is not pickled: keep the bundle, and verify it again")


@dataclass(frozen=True, slots=True)
class ReadyToUse:
    """A one-shot that would be granted and that nobody has used: its gate may log its access-use, and nothing else."""

    granted: Granted
    gate: Uri
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a ReadyToUse is made by ready_to_use only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ReadyToUse is not pickled: keep the bundle, and verify it again")


def verify_grant(
    bundle: Bundle, view: GateView, *, now: int, gate: Uri, session_key: PublicKey | None, facts: Facts
) -> VerifiedGrant:
    """Verify `bundle` for `gate` at `now` (POSIX seconds), with the `facts` that the gate computed itself.

    Raises `Malformed`, `Refused` with a code for each way to fail, and `Unavailable` when something about the request, its people
    or the gate is in the log and could not be read.
    """
    asked, granted = _verify(bundle, view, now=now, gate=gate, session_key=session_key, facts=facts)
    if not granted.permit.one_shot:
        return VerifiedGrant(granted, gate, None, _VERIFIER)
    # (10), one-shots
    use = one_shot.require_first_use(view.known, asked.digest, gate=gate, approvals=frozenset(granted.approvals))
    return VerifiedGrant(granted, gate, use.digest, _VERIFIER)


def ready_to_use(
    bundle: Bundle, view: GateView, *, now: int, gate: Uri, session_key: PublicKey | None, facts: Facts
) -> ReadyToUse:
    """Verify a one-shot all but its use, which the log must not have yet; then the gate logs it (`grants.one_shot`)."""
    asked, granted = _verify(bundle, view, now=now, gate=gate, session_key=session_key, facts=facts)
    if not granted.permit.one_shot:
        raise Refused("not-a-one-shot", f"`{granted.request.action}` is a session: verify_grant opens it")
    one_shot.require_unused(view.known, asked.digest)
    return ReadyToUse(granted, gate, _VERIFIER)


def _verify(
    bundle: Bundle, view: GateView, *, now: int, gate: Uri, session_key: PublicKey | None, facts: Facts
) -> tuple[Asked, Granted]:
    # (1)
    asked = checks.parse_bundle(bundle)
    checks.require_no_break_glass(asked)
    # (2)
    trust, checkpoint = require_fresh(view, now=now, break_glass=False)
    # (3) to (8)
    agreed = require_agreed(asked, view, trust, facts=facts, now=now)
    # (9)
    checks.require_none(checks.not_logged(asked, view.known))
    # (10), gate and session key
    if gate != view.gate:
        raise Refused("gate-other", f"the view is of `{view.gate}`, this is `{gate}`")
    checks.require_gate(asked, trust, gate=gate)
    bastion.require_open(asked.made, view.known, now=now)
    checks.require_session_key(asked, session_key, gate=gate)
    granted = Granted(
        digest=asked.digest,
        request=asked.made,
        subjects=asked.subjects,
        permit=agreed.allowed.permit,
        approvers=agreed.allowed.approvers,
        approvals=tuple(given.digest for given in asked.given),
        window=agreed.window,
        profile=trust.profile,
        trust_version=trust.targets_version,
        log_size=checkpoint.checkpoint.size,
    )
    return asked, granted
