"""Open once for each grant, to a program that says what it is about to do: a gate of one's own.

To open, for the id of a request and a purpose (an action on a resource):
1. this gate gave nothing for it before, as far as its journal knows;
2. the newest view, with all that was pushed: the live request and its approvals are read from there, and nobody brings any;
3. the request is for this very purpose, and is ended by one act: a one-shot, whose subject is its resource;
4. it would be granted, and nobody used it: the gate signs its use, keeps it, and logs it;
5. the use is witnessed: the newest view again, and `verify_grant`, which demands that this use is the log's first;
6. the decision is written down, and the journal has that it was given. Only now the program has it.

A crash before the use is logged leaves it in the journal, and the same request goes on from there with it. A process that finds
a use in the log that it did not bring there itself gives nothing by it: the journal may be an old copy, of before the use was
given. Once it was given it is never given again, whatever became of the program: what was done by half is for people to look at,
who ask anew.

To stand, of what was given: the kernel would give it again, by that very use. One rule for both questions, as at every gate:
the window, a denial, revocation or suspension, another policy, or a view that is too old ends it.

This is NOT for sessions, whose key somebody has to prove; for releases, whose content has to be compared; nor for break-glass and
recovery.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.decision import TEXT_MAX
from keyturn.formats.digest import Sha256
from keyturn.formats.uri import Uri
from keyturn.gates.recorder import Recorder, what_is_said_of
from keyturn.gates.uses import UseJournal
from keyturn.gates.words import signed_obedience, signed_use
from keyturn.grants.bundle import Bundle
from keyturn.grants.pushed import Pushed
from keyturn.grants.verify_grant import VerifiedGrant, ready_to_use, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import Facts
from keyturn.policy.schema import ACTIONS
from keyturn.ports import Clock, Entropy, LogWriter

__all__ = ["OwnGate", "OwnGateParts", "Purpose"]

FACTS: Final = Facts({"gate.recorded": False})


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a program is about to do: an action that is a one-shot and no release, on one resource. `Refused` for others."""

    action: str
    resource: Uri

    def __post_init__(self) -> None:
        known = ACTIONS.get(self.action)
        if known is None or not known.one_shot or self.action.endswith(":release"):
            can = " ".join(name for name, one in ACTIONS.items() if one.one_shot and not name.endswith(":release"))
            raise Refused(
                "purpose-action",
                f"expected an action that one act ends, among {can}, got `{self.action[:80]}`",
                hint="sessions have gates of hosts and databases, releases the release gate",
            )
        if self.resource.type not in known.resources:
            raise Refused(
                "purpose-resource",
                f"`{self.action}` is of a {' or '.join(known.resources)}, not of `{self.resource}`",
                hint="name what the program does it to",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGateParts:
    """What a gate of one's own is made of.

    `refresh` gives the newest view, or raises; `newest` the one of the last refresh, or raises; `seen` however old; `obeying`
    lays over a view what was read since and what was pushed; `obey` takes what takes access away. `strict` raises when
    gate.toml asks for more than a view has. `await_witnessed` returns when the record at that index is under a checkpoint of
    the quorum.
    The journal's `waiting` are uses that were not given yet; `logged` of one says that it was.
    """

    gate: Uri
    key: SoftwareKey
    journal: UseJournal
    recorder: Recorder
    writer: LogWriter
    clock: Clock
    entropy: Entropy
    refresh: Callable[[], GateView]
    newest: Callable[[], GateView]
    seen: Callable[[], GateView]
    obeying: Callable[[GateView], GateView]
    strict: Callable[[GateView], None]
    obey: Callable[[bytes], Pushed]
    await_witnessed: Callable[[int, bytes], None]


class OwnGate:
    """One gate. Safe for threads: one opening at a time; what takes away waits for none, but for the moment in which it is
    given.
    """

    def __init__(self, parts: OwnGateParts) -> None:
        self._parts = parts
        self._opening = threading.Lock()
        self._giving = threading.Lock()
        self._not_given: set[str] = set()

    def open(self, request: str, purpose: Purpose) -> VerifiedGrant:
        """Use up the grant of `request` (`req-...`) for `purpose`, and give it; or raise, with every reason, and give nothing."""
        about: dict[str, Any] = {"action": purpose.action, "resource": str(purpose.resource)[:TEXT_MAX]}
        with self._opening:
            try:
                return self._open(request, purpose, about)
            except KeyturnError as err:
                self._parts.recorder.refused(err, lambda: about)
                raise

    def stands(self, grant: VerifiedGrant) -> None:
        """Return when `grant`, which this gate gave, still stands; `Refused` or `Unavailable` when it does not, or nobody
        knows.
        """
        view = self._parts.obeying(self._parts.newest())
        self._parts.strict(view)
        self._verify(grant.granted.digest, view, use=grant.use)

    def obey(self, negative: bytes) -> bytes:
        """Obey the signed denial, revocation or suspension `negative` at once, and give the gate's signed word for it.

        `acted` says that it had given the grant before: then the program finds that it stands no more, as soon as it looks.
        """
        parts = self._parts
        found = parts.obey(negative)
        with self._giving:
            acted = found.request is not None and self._was_given(found.request)
        return signed_obedience(
            found, size=parts.seen().frontier.size, acted=acted, gate=parts.gate, key=parts.key, clock=parts.clock
        )

    def _open(self, request: str, purpose: Purpose, about: dict[str, Any]) -> VerifiedGrant:
        parts = self._parts
        view = parts.obeying(parts.refresh())  # (2)
        digest = _live(request, view)
        about["request"] = digest
        if self._was_given(digest):  # (1)
            raise Refused(
                "one-shot-used",
                "this gate gave that grant before, and gives it once",
                hint="look at what was done by it; whoever needs it again asks again",
            )
        bundle = _bundle(digest, view)
        made = statement.parse(bundle.request.payload, AccessRequest, ACCESS_REQUEST).predicate
        about |= {"requester": made.requester, "beneficiary": made.beneficiary, "permit": made.permit}
        if (made.action, made.resource) != (purpose.action, str(purpose.resource)):  # (3)
            raise Refused(
                "purpose-other",
                f"expected a request of `{purpose.action}` on `{purpose.resource}`, this one is of `{made.action}` on "
                f"`{made.resource}`",
                hint="ask for what the program does, or run the program that the request is for",
            )
        use = dict(parts.journal.waiting()).get(digest)
        if use is None:  # (4)
            ready = ready_to_use(
                bundle, view, now=parts.clock.now(), gate=parts.gate, session_key=None, facts=FACTS
            ).granted
            use = signed_use(
                digest, ready.approvals, gate=parts.gate, key=parts.key, clock=parts.clock, entropy=parts.entropy
            )
            parts.journal.keep_use(digest, use)
        elif digest in view.known.uses and digest not in self._not_given:
            raise Refused(
                "one-shot-used",
                "the log had this use before this process began, and nobody knows whether it was given: the journal may be old",
                hint="look at whether it was done; whoever needs it asks again",
            )
        # INVARIANT: who was given something finds its use in the log. So what the log lacks was not, however old the journal is.
        self._not_given.add(digest)
        parts.await_witnessed(parts.writer.append(use), use)
        own = dsse.parse_own(use).record_digest
        view = parts.refresh()  # (5)
        with self._giving:
            grant = self._verify(digest, parts.obeying(view), use=own)
            granted = grant.granted
            parts.recorder.granted(  # (6)
                what_is_said_of(granted), approvals=granted.approvals, approvers=granted.approvers
            )
            self._not_given.discard(digest)
            parts.journal.logged(digest)
        return grant

    def _verify(self, digest: Sha256, view: GateView, *, use: Sha256 | None) -> VerifiedGrant:
        parts = self._parts
        grant = verify_grant(
            _bundle(digest, view), view, now=parts.clock.now(), gate=parts.gate, session_key=None, facts=FACTS
        )
        if use is None or grant.use != use:
            raise Refused(
                "one-shot-used", "another use of this gate's was logged first: its journal was lost or copied"
            )
        return grant

    def _was_given(self, digest: str) -> bool:
        journal = self._parts.journal
        return journal.is_used(digest) and digest not in dict(journal.waiting())


def _live(request: str, view: GateView) -> Sha256:
    found = [digest for digest in view.known.requests if request in (digest, f"req-{digest[:32]}")]
    if len(found) != 1:
        raise Refused(
            "request-not-live",
            f"no live request of the witnessed log is `{request[:80]}`",
            hint="keyturn grant explain says how it stands: it may be over, or wait for witnesses",
        )
    return Sha256(found[0])


def _bundle(digest: Sha256, view: GateView) -> Bundle:
    bundle = view.bundle_of(digest)
    if bundle is None:
        raise Unavailable(
            "request-unread", f"`req-{digest[:32]}` is over, or an approval of it is in the log and cannot be read"
        )
    return bundle
