"""Say what people should be told of a request, from when somebody asks until it is over: whoever can approve, and its parties.

Each thing that happens to it has a name, and is told once: the names of what was told are its `Story`. A notice says what to look
at, and approves nothing. Who could approve is the policy's word, as `keyturn grant explain` has it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from keyturn.app.access.show_grants import Live, in_vain
from keyturn.app.notices.notice import Notice, humans_of, says
from keyturn.app.notices.plain_notice import plain_name
from keyturn.errors import KeyturnError
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.grants import lifecycle
from keyturn.grants.known import Withdrawal
from keyturn.grants.view import GateView
from keyturn.policy import persons
from keyturn.policy.explain import who_could_approve
from keyturn.trust.roster import TrustState

__all__ = ["Escalation", "Story", "Telling", "of_forgotten", "of_request"]

_HOPELESS = "hopeless"
_END = "end"
"""Told of a request that is denied, revoked, lapsed or over."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """A request that waits for `after_s` is told to `group` as well."""

    after_s: int
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What the operator chose: a page to look at requests (without one, the command), and when to say that time runs out."""

    link: str | None
    expiring_s: int
    escalation: tuple[Escalation, ...] = ()


class Story(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A live request as far as it was told: who and what, followed since when (POSIX seconds), and the names of what was said."""

    requester: str
    beneficiary: str
    what: str
    seen_at: int
    told: tuple[str, ...] = ()


def of_request(
    live: Live, story: Story | None, view: GateView, trust: TrustState, settings: Telling, *, now: int, begins: bool
) -> tuple[tuple[Notice, ...], Story]:
    """What is new of `live`, and its story with that; `story` is None for a request that was not followed before.

    `begins`: nobody was told of anything yet, and what waits already goes to no wider group later.
    """
    story = story or _story(live, now)
    if live.unread:  # a record that may end it could not be read: nobody is told what may be wrong
        return (), story
    news = _News(view, trust, settings, live, story, now)
    new = tuple(news.notices())
    told = {*story.told, *news.names} | ({_escalated(step) for step in settings.escalation} if begins else set())
    return new, msgspec.structs.replace(story, told=tuple(sorted(told)))


def of_forgotten(digest: str, story: Story, trust: TrustState) -> tuple[Notice, ...]:
    """What is new of a request that no view holds any more: what is over is forgotten, often before its end could be told."""
    return () if {_END, "used"} & set(story.told) else (_vanished(digest, story, trust),)


def _escalated(step: Escalation) -> str:
    return f"escalated:{step.after_s}:{step.group}"


def _story(live: Live, now: int) -> Story:
    made = live.request
    about = made.resource.removeprefix(f"keyturn://{made.lab}/")
    what = f"{plain_name(made.action)} of {plain_name(about)}"
    return Story(requester=made.requester, beneficiary=made.beneficiary, what=what, seen_at=now)


@dataclass(slots=True)
class _News:
    """What is new of one live request. `names` are those of what `notices` gave."""

    view: GateView
    trust: TrustState
    settings: Telling
    live: Live
    story: Story
    now: int
    names: list[str] = field(default_factory=list)

    def notices(self) -> Iterator[Notice]:
        yield from self._approved()
        withdrawn = [w for w in self.view.known.withdrawals.get(self.live.digest, ()) if w.until > self.now]
        for one in withdrawn:
            yield from self._withdrawn(one)
        if self.live.window is not None and not withdrawn:
            yield from self._granted()
        if self.live.state in lifecycle.END_STATES:
            yield from self._ended()
        elif self.live.state in ("asked", "agreed", "open"):
            yield from self._held()
            if self.live.state != "asked":
                yield from self._expires()
            elif not (yield from self._hopeless()):
                yield from self._offered()
                yield from self._waits()

    def _once(self, name: str, title: str, *lines: str, members: frozenset[str], **more: object) -> Iterator[Notice]:
        if name in self.story.told or name in self.names:
            return
        self.names.append(name)
        yield Notice(
            event=f"{self.live.id}/{name}",
            title=f"[{self.trust.lab}] {title}: {self.story.what}",
            body="\n".join((*lines, _look(self.live.id, self.settings))),
            members=members,
            **more,  # type: ignore[arg-type]  # groups and urgent, from the four places below
        )

    @property
    def _parties(self) -> frozenset[str]:
        return persons.excluded(self.trust.roster, self.story.requester, self.story.beneficiary)

    def _approved(self) -> Iterator[Notice]:
        for one in self.live.approvals:
            yield from self._once(
                f"approved:{one.approver}",
                f"{one.approver} approved",
                says(one.approver, one.reason),
                members=self._parties - {one.approver},
            )

    def _granted(self) -> Iterator[Notice]:
        window = self.live.window
        assert window is not None  # the caller looked
        yield from self._once(
            "granted",
            "granted",
            f"Its quorum is met by {', '.join(self.live.approvers)}. It is open from {rfc3339(window.starts_at)} to "
            f"{rfc3339(window.ends_at)}; the gate judges it again.",
            members=self._parties,
        )
        if self.live.state == "used":
            yield from self._once(
                "used", "used", f"{plain_name(self.live.request.gate)} acted on it.", members=self._parties
            )

    def _withdrawn(self, one: Withdrawal) -> Iterator[Notice]:
        verb = "withdrew" if one.kind == "rev" and one.by in self._parties else one.verb
        yield from self._once(
            f"{one.kind}-{one.digest[:16]}",
            f"{one.by} {verb}",
            says(one.by, one.reason),
            "It is over for good: whoever needs it asks again.",
            members=self._parties | frozenset(self.live.approvers),
        )
        self.names.append(_END)

    def _ended(self) -> Iterator[Notice]:
        told = _END in self.story.told or _END in self.names or "used" in self.story.told
        self.names.append(_END)
        if not told:
            yield from self._once(self.live.state, *_end_words(self.live.state), members=self._parties)

    def _held(self) -> Iterator[Notice]:
        """Nothing opens while whoever asked, whoever it is for, the key or the gate is suspended."""
        made = self.live.request
        suspended = self.view.known.suspended(now=self.now)
        for kind, name in sorted(
            {("gate", made.gate), ("key", made.key), ("member", made.beneficiary), ("member", made.requester)}
        ):
            if f"{kind}:{name}" in suspended:
                yield from self._once(
                    f"held:{kind}:{name}",
                    "held up by a suspension",
                    f"The {kind} {plain_name(name if kind != 'key' else name[:16])} is suspended: no gate opens for it.",
                    members=self._parties,
                )

    def _hopeless(self) -> Generator[Notice, None, bool]:
        """Whether nobody can get it granted any more, by a policy or roster that has changed since; says so once."""
        if _HOPELESS in self.story.told:
            return True
        try:
            why = in_vain(self.view, self.trust, self.live.request, now=self.now)
        except KeyturnError:
            return False  # a policy that does not load says nothing, and may be mended
        if why:
            yield from self._once(
                _HOPELESS,
                "nobody can grant it any more",
                f"By the policy that is in force now, no gate will open for it: {plain_name(why[0])}",
                "Withdraw it, and ask for something else.",
                members=self._parties,
            )
        return bool(why)

    def _offered(self) -> Iterator[Notice]:
        for one in self.view.known.offers.get(self.live.digest, ()):
            less = [] if one.duration_s is None else [duration(one.duration_s)]
            less += [] if one.bytes_max is None else [f"{one.bytes_max} bytes at most"]
            yield from self._once(
                f"offered:{one.digest[:16]}",
                f"{one.by} offers less",
                f"{', '.join(less)}. To take it: keyturn grant accept ofr-{one.digest[:32]}",
                says(one.by, one.reason),
                members=self._parties,
            )

    def _waits(self) -> Iterator[Notice]:
        made, live = self.live.request, self.live
        could = frozenset(self._could_approve())
        new = could - {name.removeprefix("asked:") for name in self.story.told if name.startswith("asked:")}
        groups = self._quorum_groups()
        who = made.requester if made.beneficiary == made.requester else f"{made.requester} for {made.beneficiary}"
        asks = (
            f"{who} asks for {self.story.what} by {rfc3339(made.start_by)}.",
            f"gate: {plain_name(made.gate)}, permit: {plain_name(made.permit)}",
            says(made.requester, made.justification),
        )
        if new:
            self.names += [f"asked:{member}" for member in sorted(new)]
            first = "asked" not in self.story.told
            self.names.append("asked")
            yield Notice(
                event=f"{live.id}/asked",
                title=f"[{self.trust.lab}] {who} asks{' urgently' if made.urgent else ''}: {self.story.what}",
                body="\n".join((*asks, _look(live.id, self.settings))),
                members=new,
                groups=groups if first else frozenset(),
                urgent=made.urgent,
            )
        waited_s = self.now - self.story.seen_at
        for step in self.settings.escalation:
            if waited_s >= step.after_s:
                yield from self._once(
                    _escalated(step),
                    f"{who} waits since {duration(step.after_s)}",
                    *asks,
                    f"Who could approve: {', '.join(sorted(could)) or 'nobody'}. It needs as many people as before.",
                    members=could | (humans_of(self.trust, step.group) - self._parties),
                    groups=groups | {step.group},
                    urgent=made.urgent,
                )
        lead_s = min(self.settings.expiring_s, (made.start_by - made.not_before) // 4)
        if self.now >= made.start_by - lead_s:
            yield from self._once(
                "lapsing",
                "nobody has granted it yet",
                f"It lapses at {rfc3339(made.start_by)}. Who could still approve: {', '.join(sorted(could)) or 'nobody'}.",
                members=self._parties,
            )

    def _expires(self) -> Iterator[Notice]:
        window = self.live.window
        if window is None:
            return
        lead_s = min(self.settings.expiring_s, (window.ends_at - window.starts_at) // 4)
        if self.now >= window.ends_at - lead_s:
            yield from self._once(
                "expiring",
                "ends soon",
                f"It ends at {rfc3339(window.ends_at)}. A renewal is a new request: keyturn request --renews {self.live.id}",
                members=self._parties,
            )

    def _could_approve(self) -> tuple[str, ...]:
        tags = self.view.known.suspended(now=self.now)
        suspended = frozenset(tag.removeprefix("member:") for tag in tags if tag.startswith("member:"))
        try:
            policy = self.view.shelf.policy(self.trust)
        except KeyturnError:
            return ()  # a policy that does not load lets nobody approve
        return who_could_approve(policy, self.live.request, self.live.approvers, suspended=suspended)

    def _quorum_groups(self) -> frozenset[str]:
        try:
            permit = self.view.shelf.policy(self.trust).permits.get(self.live.request.permit)
        except KeyturnError:
            return frozenset()
        return frozenset() if permit is None else frozenset(permit.quorum.seats)


_ENDS = MappingProxyType(
    {
        "lapsed": ("lapsed", "Its quorum was not met in time: whoever needs it asks again."),
        "over": ("is over", "Its time is over: whoever needs it asks again."),
    }
)


def _end_words(state: str) -> tuple[str, str]:
    return _ENDS.get(state, _ENDS["over"])


def _vanished(digest: str, story: Story, trust: TrustState) -> Notice:
    state = "over" if "granted" in story.told else "lapsed"
    title, line = _end_words(state)
    request = f"req-{digest[:32]}"
    return Notice(
        event=f"{request}/{state}",
        title=f"[{trust.lab}] {title}: {story.what}",
        body=f"{line}\n{request}",
        members=persons.excluded(trust.roster, story.requester, story.beneficiary),
    )


def _look(request: str, settings: Telling) -> str:
    return f"look: {settings.link}{request}" if settings.link else f"look: keyturn grant show {request}"
