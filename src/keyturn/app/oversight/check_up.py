"""Examine a lab from where one member stands: what ends soon, who is missing, what nobody uses, what does not answer.

Each check stands alone, and says what was found and what to do. Nothing here is a verdict on access: gates decide for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from keyturn.app.access.review_use import unreviewed
from keyturn.app.oversight.erase_records import Asked
from keyturn.app.oversight.review_access import REVIEW_EVERY_S
from keyturn.app.oversight.show_stats import Stats
from keyturn.app.oversight.standing_access import Door, doors
from keyturn.app.trust.trust_log import listed
from keyturn.errors import KeyturnError
from keyturn.formats.access import GateCheckin
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.grants import bastion
from keyturn.grants.view import GateView
from keyturn.policy.lint import lint
from keyturn.standing.accepted import Judge
from keyturn.standing.ledger import Ledger
from keyturn.trust.roster import TrustState

__all__ = ["Finding", "check_up", "in_order"]

SCAN_EVERY_S = 2 * 86_400
"""A place that was not scanned for so long is one of which nothing is known; timers scan daily."""

_NAMED_MAX = 5
"""Records that one finding names; commands list them all."""

Level = Literal["error", "warning", "ok"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, or what is wrong with it and what to do."""

    level: Level
    check: str
    found: str
    hint: str = ""


def check_up(
    view: GateView,
    trust: TrustState,
    stats: Callable[[], Stats],
    *,
    member: str,
    own_keys: Iterable[str],
    processes: Mapping[str, Callable[[], str]],
    ledger: Callable[[], Ledger],
    gates_seen: Callable[[], Mapping[str, GateCheckin | None]],
    erasures: Callable[[], Iterable[Asked]],
    now: int,
) -> Iterator[Finding]:
    """Examine the lab as `view` has it at `now`.

    `stats` counts its requests, and is asked only when there is a policy that can be read.
    `own_keys` are the key ids that `member` can sign with here; each of `processes` says what is wrong with it, or an empty text;
    `ledger` reads what scans of standing access found; `gates_seen` what each gate signed into the log last; `erasures` what
    tombstones ask for.
    """
    if trust.profile == "demo":
        yield Finding(
            "warning", "profile", "demo: one machine, and software keys approve", "keyturn init --profile production"
        )
    else:
        yield Finding("ok", "profile", trust.profile)
    yield from _trust(view, trust, now)
    yield from _log(view, trust, now)
    yield from _member(view, trust, member, tuple(own_keys), now)
    yield from _policy(view, trust, stats, now)
    yield from _access_review(view, now)
    for one in view.known.suspensions.values():
        if one.stands(trust, at=now):
            what = f"{one.target} is suspended until {rfc3339(one.until)} by {one.by}: {one.reason}"
            yield Finding("warning", "suspensions", what, "keyturn trust suspended")
    for use in unreviewed(view):
        yield Finding(
            "warning", "break-glass", f"{use.text}; it locks further break-glass", f"keyturn grant review {use.id}"
        )
    yield from _standing_access(ledger, view, now)
    yield from _erasures(erasures, trust)
    yield from _gates(gates_seen, now)
    yield from _keyholders(view, trust, now)
    for name, ask in processes.items():
        try:
            wrong = ask()
        except KeyturnError as err:
            wrong = err.message
        yield Finding("warning", name, wrong, "keyturn up, where it runs") if wrong else Finding("ok", name, "answers")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, the worst first."""
    levels: tuple[Level, ...] = ("error", "warning", "ok")
    return tuple(sorted(findings, key=lambda finding: levels.index(finding.level)))


def _trust(view: GateView, trust: TrustState, now: int) -> Iterator[Finding]:
    found = listed(view.trust, now=now)
    for warning in found.warnings:
        level: Level = "error" if "has expired" in warning else "warning"
        yield Finding(level, "trust", warning, "keyturn trust propose --renew, sign, publish")
    if not found.warnings:
        ends = min(trust.root_expires_at, trust.targets_expires_at)
        yield Finding("ok", "trust", f"version {trust.targets_version}, in force until {rfc3339(ends)}")


def _log(view: GateView, trust: TrustState, now: int) -> Iterator[Finding]:
    seen = view.checkpoint
    if seen is None:
        yield Finding("error", "log", "nothing is witnessed yet", "keyturn up")
        return
    age_s, most_s = now - seen.cosigned_at, trust.limits.log_age_max_s
    if age_s > most_s:
        what = f"the newest checkpoint is {duration(age_s)} old, gates close after {duration(most_s)}"
        yield Finding(
            "error", "log", what, "find out why the log or its witnesses do not run, or set this machine's clock"
        )
    else:
        yield Finding("ok", "log", f"{seen.checkpoint.size} entries, cosigned {age_s} s ago by this machine's clock")
    away = [witness.name for witness in trust.log.witnesses if witness.name not in seen.cosigners]
    if away:
        what = f"{', '.join(away)} did not cosign the newest checkpoint; {trust.log.quorum} of {len(trust.log.witnesses)} must"
        yield Finding("warning", "witnesses", what, "ask who operates it")
    else:
        yield Finding("ok", "witnesses", ", ".join(sorted(seen.cosigners)))
    hidden = tuple(one for one in view.known.hidden.values() if one.withdrawal is None)
    erased = sum(one.erased for one in hidden)
    if erased:
        what = f"{erased} records were erased, and what they took away stays taken until they are over"
        yield Finding("ok", "records", what)
    if erased < len(hidden):
        what = f"{len(hidden) - erased} records that matter are in the log and could not be read"
        yield Finding("error", "records", what, "keyturn log verify; if nobody has them any more: keyturn trust void")


def _member(view: GateView, trust: TrustState, member: str, own_keys: tuple[str, ...], now: int) -> Iterator[Finding]:
    if member not in trust.roster.members:
        yield Finding("error", "you", f"`{member}` is not in the roster", "keyturn trust members")
        return
    unlisted = [keyid for keyid in own_keys if trust.roster.key_of(member, keyid) is None]
    if unlisted:
        what = (
            f"the roster does not list your key{'s' if len(unlisted) > 1 else ''} {', '.join(k[:16] for k in unlisted)}"
        )
        yield Finding("error", "you", what, "keyturn trust invite ID --new-keys instead, by a coworker")
    elif list(view.known.suspensions_of(f"member:{member}", now=now)):
        yield Finding("error", "you", f"`{member}` is suspended", "two coworkers: keyturn trust lift")
    else:
        yield Finding("ok", "you", f"{member}, with {len(own_keys)} listed key{'s' if len(own_keys) != 1 else ''}")


def _standing_access(ledger: Callable[[], Ledger], view: GateView, now: int) -> Iterator[Finding]:
    judge = Judge(lambda: view, now=now)
    try:
        places = ledger().places
    except KeyturnError as err:
        yield Finding("error", "standing access", err.message, err.hint)
        return
    for place in places:
        found = doors([place], judge)
        left = [one for one in found if one.state != "accepted"]
        accepted = _accepted([one for one in found if one.state == "accepted"])
        refused = sum(bool(signed.code) for one in left for signed in one.acceptances)
        if now - place.scanned_at > SCAN_EVERY_S:
            what = f"{place.name} was scanned last at {rfc3339(place.scanned_at)}"
            yield Finding(
                "warning", "standing access", what, "keyturn scan host, postgres or git; a timer does it daily"
            )
        if left:
            worst = sum(one.severity == "high" for one in left)
            what = f"{place.name}: {len(left)} doors open without a grant, {worst} of them open all of it{accepted}"
            what += f"; {refused} acceptances of them do not count" if refused else ""
            yield Finding("warning", "standing access", what, "keyturn scan show")
        else:
            yield Finding("ok", "standing access", f"{place.name}: no door that nobody accepted{accepted}")


def _accepted(found: list[Door]) -> str:
    if not found:
        return ""
    by = ", ".join(sorted({member for one in found for member in one.accepted_by}))
    return f", and {len(found)} that two people accepted ({by}), the first until {min(one.accepted_until for one in found)}"


def _erasures(erasures: Callable[[], Iterable[Asked]], trust: TrustState) -> Iterator[Finding]:
    try:
        asked = tuple(erasures())
    except KeyturnError as err:
        yield Finding("error", "erasures", err.message, err.hint)
        return
    due = [one.id for one in asked if one.state == "due"]
    waiting = [one.id for one in asked if one.state == "waiting"]
    if due:
        what = f"{len(due)} records are to be erased, and still have their text: {', '.join(due[:_NAMED_MAX])}"
        yield Finding("warning", "erasures", what, "keyturn log erase, where the log lies")
    if waiting:
        what = (
            f"tombstones that wait for more signers: {len(waiting)}; {trust.limits.tombstone_signers} it takes for each: "
            f"{', '.join(waiting[:_NAMED_MAX])}"
        )
        yield Finding("warning", "erasures", what, f"another human: keyturn tombstone sign {waiting[0]}")


def _gates(gates_seen: Callable[[], Mapping[str, GateCheckin | None]], now: int) -> Iterator[Finding]:
    try:
        seen = gates_seen()
    except KeyturnError as err:
        yield Finding("error", "gates", err.message, err.hint)
        return
    never = sorted(gate for gate, made in seen.items() if made is None)
    if never:
        what = f"never signed into the log, as one that let nobody in yet: {', '.join(never)}"
        yield Finding("warning", "gates", what, "nothing, if it answers; else keyturn up, where it runs")
    for gate, made in sorted(seen.items()):
        if made is None:
            continue
        if made.observes:
            what = f"{gate} observes: it holds nobody up, and whatever else opens its host does"
            yield Finding("warning", "gates", what, "keyturn gate host install, on the host, without --observe-until")
        ago = duration(max(0, now - made.signed_at))
        yield Finding("ok", "gates", f"{gate} signed into the log last at {rfc3339(made.signed_at)}, {ago} ago")


def _keyholders(view: GateView, trust: TrustState, now: int) -> Iterator[Finding]:
    if trust.recordings is None:
        if any(gate.kind == bastion.KIND for gate in trust.gates.values()):
            what = "targets name no keyholders of recordings: nothing goes through a bastion"
            yield Finding(
                "error", "recordings", what, "`[recordings]` in trust/draft/gates.toml, keyturn trust propose"
            )
        return
    for one in trust.recordings.holders:
        wrong = "" if one.human in trust.roster.members else "is no member of the lab, or no more"
        if any(view.known.suspensions_of(f"member:{one.human}", now=now)):
            wrong = "is suspended"
        if wrong:
            what = f"`{one.human}` {wrong}, and has a share of what is recorded: it opens with {trust.recordings.text}"
            yield Finding("warning", "recordings", what, "another in trust/draft/gates.toml, keyturn trust propose")
    yield Finding("ok", "recordings", f"open with {trust.recordings.text}")


def _access_review(view: GateView, now: int) -> Iterator[Finding]:
    last = view.known.access_reviewed
    # Targets live for about as long as may lie between two reviews: a lab whose first version has ended is due for one.
    first = next((link.expires_at for link in view.trust.links if link.role == "targets"), now)
    if last is None and first <= now:
        what = "nobody has reviewed who has which access"
        yield Finding("warning", "access", what, "keyturn policy review, then --attest")
    elif last is not None and now - last.signed_at > REVIEW_EVERY_S:
        what = f"who has which access was reviewed last by {last.by} at {rfc3339(last.signed_at)}"
        yield Finding("warning", "access", what, "keyturn policy review, then --attest")


def _policy(view: GateView, trust: TrustState, stats: Callable[[], Stats], now: int) -> Iterator[Finding]:
    try:
        findings = lint(view.shelf.policy(trust))
    except KeyturnError as err:
        yield Finding(
            "error", "policy", err.message, err.hint or "mend the lab's trust/draft/policy, then keyturn trust propose"
        )
        return
    for finding in findings:
        yield Finding(finding.level, "policy", finding.text, "keyturn policy check")
    permits = stats().permits
    # As long as the first targets live, the lab is too young for a permit to have waited for so long.
    first = next((link.expires_at for link in view.trust.links if link.role == "targets"), now)
    for permit in permits:
        if permit.unused and first <= now:
            what = f"permit `{permit.permit}` was not asked for in 90 days"
            yield Finding("warning", "permits", what, "take it out of the policy, if nobody needs it")
    if not findings:
        yield Finding("ok", "policy", f"{len(permits)} permits, each can be met")
