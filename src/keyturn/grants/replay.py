"""Verify that somebody may replay one recording: what each keyholder asks before he opens his share of it.

The numbers are those of `grants.verify_grant`. What differs: a keyholder is a reader of the log and no gate, so that

2. the view is as recent as a gate's must be, and has no check-in of its own: the witnesses' time alone says how old it is;
10. the request is for `host:replay`, of this very recording by its digest, on what the recorded grant was for, at the bastion
    that recorded it; its subject is called as the recording says of itself; and it names the key to which shares are sealed;
11. the log has the recording, by the word of its bastion, sealed to the keyholders that targets named (`grants.recorded`).

It is a session and no one-shot: what was once opened cannot be taken back, and several keyholders open one after another. It
opens for as long as its window, and revoking it stops whoever has not opened his share yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import sealed_recording, statement
from keyturn.formats.access import ACCESS_REQUEST, REPLAY, AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.sealed_recording import Header
from keyturn.grants import bastion, checks
from keyturn.grants.agreed import require_agreed
from keyturn.grants.bundle import Bundle
from keyturn.grants.checks import Asked
from keyturn.grants.freshness import require_recent
from keyturn.grants.recorded import LoggedWord, require_recorded
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import TrustState

__all__ = ["VerifiedReplay", "verify_replay"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class VerifiedReplay:
    """A grant to replay `recording`, verified at one time: what a share is opened for. Shares are sealed to `recipient`."""

    request: Sha256
    recording: Sha256
    recipient: PublicKey
    beneficiary: str
    approvers: tuple[str, ...]
    profile: str
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedReplay is made by verify_replay only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedReplay is not pickled: verify it again")


def verify_replay(
    bundle: Bundle, view: GateView, *, now: int, recording: Sha256, header: Header, words: Sequence[LoggedWord]
) -> VerifiedReplay:
    """Verify `bundle` at `now` (POSIX seconds) for the recording with the digest `recording`, which begins with `header`.

    `words` are what may be the log's word for it. Raises as `verify_grant` does.
    """
    # (1)
    asked = checks.parse_bundle(bundle)
    checks.require_no_break_glass(asked)
    # (2)
    trust = require_recent(view, now=now)
    # (3) to (8)
    agreed = require_agreed(asked, view, trust, facts=NO_FACTS, now=now)
    # (9)
    checks.require_none(checks.not_logged(asked, view.known))
    # (10)
    _require_recording(asked, trust, recording=recording, header=header)
    # (11)
    require_recorded(words, view, recording=recording, header=header)
    return VerifiedReplay(
        asked.digest,
        recording,
        PublicKey.from_text(asked.made.session_key or ""),
        asked.made.beneficiary,
        agreed.allowed.approvers,
        trust.profile,
        _VERIFIER,
    )


def _require_recording(asked: Asked, trust: TrustState, *, recording: Sha256, header: Header) -> None:
    made = asked.made
    if made.action != REPLAY:
        raise Refused("replay-action", f"expected a grant for `{REPLAY}`, this one is for `{made.action}`")
    if [str(subject) for subject in asked.subjects] != [f"sha256:{recording}"]:
        raise Refused("replay-other", f"the grant is for another recording than `sha256:{recording}`")
    if header.lab != trust.lab or (made.resource, made.gate) != (header.resource, header.gate):
        raise Refused(
            "replay-elsewhere",
            f"the recording is of `{header.resource}` at `{header.gate}`, the grant of `{made.resource}` at `{made.gate}`",
        )
    gate = trust.gates.get(header.gate)
    if gate is None or gate.kind != bastion.KIND:
        raise Refused(
            "bastion-unknown",
            f"`{header.gate}`, which recorded it, is no bastion of the lab",
            hint="keyturn trust show",
        )
    named = statement.parse(asked.envelope.payload, AccessRequest, ACCESS_REQUEST).subject[0].name
    if named != sealed_recording.title(header):
        # INVARIANT: people agreed to the session that the request says, and the recording is of that one.
        raise Refused(
            "replay-misnamed", f"the request calls it {named!a}, and it is {sealed_recording.title(header)!a}"
        )
