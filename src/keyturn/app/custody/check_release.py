"""Ask the log whether a release was withdrawn: what whoever is offline with a pack cannot know, and a serving host must.

1. Read on from where the pack ends: its tree, extended by every leaf since, is that of the log's checkpoint. So the log continues
   the one that the pack is of, and shows no other leaves than the witnesses saw.
2. Nobody has withdrawn the release since (`grants.withdrawn`), by the trust that was in force at each place.
3. The checkpoint is cosigned by the quorum of the newest trust, at most `age_max_s` ago by the witnesses' clocks. A log in an
   attacker's hands can go on showing what was before the withdrawal; it cannot have that cosigned anew.

Only a return is a yes. `Refused` `release-withdrawn` is a no. Whatever cannot be found out is `Unavailable`
`release-state-unknown`, and a checkpoint that is too old, or cosigned by too few, is just that.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.bulk.read_chain import claimed_size
from keyturn.bulk.read_withdrawals import entries_about, leaves_since
from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Unavailable
from keyturn.formats import records
from keyturn.formats.log_part import LogPart
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.grants.withdrawn import Entry, withdrawn
from keyturn.ports import LogReader
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.trust.history import TrustHistory

__all__ = ["AGE_MAX_S", "CheckedRelease", "carried_part", "check_release"]

AGE_MAX_S = 3600
"""How old the newest word of the witnesses may be: within that time a withdrawal is known everywhere, or nobody gets a yes."""


@dataclass(frozen=True, slots=True)
class CheckedRelease:
    """The release was not withdrawn as of `as_of`, at `log_size` entries, as `cosigners` saw them."""

    as_of: int
    log_size: int
    cosigners: tuple[str, ...]


def check_release(
    pack: VerifiedPack, log: LogReader, *, history: TrustHistory, now: int, age_max_s: int = AGE_MAX_S
) -> CheckedRelease:
    """Find out in `log` that the release of `pack` stands at `now`; `history` is started from the root that the pack verified
    under. `age_max_s` can be less than an hour, and never more."""
    try:
        return _check(pack, log, history, now=now, age_max_s=min(AGE_MAX_S, age_max_s))
    except Tampered:
        raise
    except Refused as err:
        if err.code == "release-withdrawn":
            raise
        raise _unknown(err) from err
    except (Malformed, Unavailable) as err:
        raise _unknown(err) from err


def _check(pack: VerifiedPack, log: LogReader, history: TrustHistory, *, now: int, age_max_s: int) -> CheckedRelease:
    end = pack.verdict.end
    assert end is not None  # of a pack that verified
    note = log.checkpoint()
    frontier = end.frontier
    entries = [Entry(index, leaf, raw) for index, leaf, raw in end.authority]
    request = records.leaf_of(end.request).record
    for leaves, found in leaves_since(log, frontier.size, claimed_size(note), request=request):  # (1)
        frontier = frontier.extend(leaves)
        entries += entries_about(log, found)
    later = withdrawn(end.request, entries, history=history, now=now)  # (2)
    trust = later.history.current(now=now)
    seen = verify_checkpoint(note, trust.log, now=now, skew_s=trust.limits.clock_skew_max_s)
    if (seen.checkpoint.size, seen.checkpoint.root) != (frontier.size, frontier.root):
        raise Tampered(
            "log-fork",
            "the log does not continue the one that the pack is of, as its witnesses cosigned both",
            hint="keep the pack and the checkpoint, and show both to the lab's security people",
        )
    for one in later.by:
        raise Refused(
            "release-withdrawn",
            f"`{one.by}` {one.verb} the release after it: {one.reason}",
            hint="do not serve it, and take it off what serves it: `keyturn release where` says where it runs",
        )
    if not now - seen.cosigned_at <= age_max_s:  # (3), and no number is no yes
        raise Unavailable(
            "checkpoint-old",
            f"the witnesses' newest word is of {rfc3339(seen.cosigned_at)}, more than {duration(age_max_s)} ago",
            hint="the log's operator looks at its witnesses; carry a newer part where it is carried",
        )
    return CheckedRelease(seen.cosigned_at, frontier.size, tuple(sorted(seen.cosigners)))


def carried_part(pack: VerifiedPack, log: LogReader) -> LogPart:
    """What `check_release` of `pack` reads of `log`, for a host that does not reach it."""
    end = pack.verdict.end
    assert end is not None  # of a pack that verified
    note = log.checkpoint()
    carried: list[bytes] = []
    envelopes: dict[bytes, None] = {}
    request = records.leaf_of(end.request).record
    for leaves, found in leaves_since(log, end.frontier.size, claimed_size(note), request=request):
        carried += leaves
        envelopes.update({one.raw: None for one in entries_about(log, found) if one.raw is not None})
    return LogPart(start=end.frontier.size, note=note, leaves=tuple(carried), envelopes=tuple(envelopes))


def _unknown(err: KeyturnError) -> Unavailable:
    return Unavailable(
        "release-state-unknown",
        f"could not find out whether the release was withdrawn: {err.message} [{err.code}]",
        hint="do not start serving by this; ask again when the log and its witnesses answer, or carry a newer part of the log",
        detail=err.detail,
    )
