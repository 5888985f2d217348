"""Dispose of an artifact's bytes: digest them, see who still needs them, log that they go, and delete them.

1. digest what lies at the path; it must be the digest that the person named, if he named one; a request that he names must be
   granted to him, and open, as the log that he follows says;
2. refuse what a step that has not ended takes, and what a release that nobody withdrew is of, unless `anyway`;
3. sign the disposal, log it, and wait until the witnesses have it;
4. delete (`adapters.files.disposing`); a process that dies in between is repeated, and goes on under the same record.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files import disposing
from keyturn.app.access.authorize import find_pending
from keyturn.app.access.show_grants import explain_grant
from keyturn.app.custody.deployments import read_releases, releases_of
from keyturn.app.records.sign_record import Logged
from keyturn.bulk import manifest
from keyturn.bulk.manifest import Found
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import records
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.disposal import Disposal
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import StepRequest
from keyturn.wiring import typed
from keyturn.wiring.access.grants import Desk, Viewed, desk, viewed, wait_until_in_force
from keyturn.wiring.custody.run_command import job_state
from keyturn.wiring.custody.what_came_out import came_out_of
from keyturn.wiring.lab.places import LabPlace, find_lab, find_person
from keyturn.wiring.log.log import lab_index, log_reader
from keyturn.wiring.log.pinned_log import root_of

__all__ = ["Disposing", "dispose", "prepare", "unfinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposing:
    """What is to be deleted, where, and how it looked when it was digested."""

    path: Path
    digest: ArtifactDigest
    place: str
    seen: tuple[Found, ...]
    request: Sha256 | None


def unfinished(lab: str | None, path: Path) -> str | None:
    """Finish what somebody began under a disposal that is in the log already: its id, or `None` when nobody did."""
    path = path.absolute()
    record = disposing.begun(path)
    if record is None or os.path.lexists(path):
        return None
    # INVARIANT: anybody who may write there gives names; only a logged disposal of this very place is a reason to delete.
    if path not in _disposed(find_lab(lab), record):
        raise Refused(
            "disposal-unlogged",
            f"`{disposing.going(path, record)}` is called as what is being deleted, and the log has no dsp-{record} of `{path}`",
            hint="find out who made it; nothing was deleted",
        )
    disposing.delete(path, record, None)
    return f"dsp-{record}"


def _disposed(place: LabPlace, record: str) -> set[Path]:
    """Of which paths the log has disposals that begin with `record`."""
    with lab_index(place) as index, log_reader(place) as reader:
        found = [records.parse(reader.envelope(one.envelope)) for one in index.by_record(record, "dsp")]
    made = (one.statement.predicate for one in found if one.digest.startswith(record))
    return {Path(one.place.partition(":")[2]) for one in made if isinstance(one, Disposal)}


def prepare(
    lab: str | None,
    path: Path,
    *,
    expected: str | None,
    under: str | None,
    anyway: bool,
    progress: Callable[[int, int], None],
) -> Disposing:
    """Digest what lies at `path`, and see whether it may go."""
    place = find_lab(lab)
    path = path.absolute()
    seen = manifest.look(path)
    request = None
    if under is not None:
        member = find_person().config.member
        with viewed(lab) as now_seen:
            request = _granted(now_seen, member, under)
    digest = manifest.contents(path, progress=progress).identity
    if expected is not None and typed.artifact("`--digest`", expected) != digest:
        raise Refused(
            "disposal-other",
            f"`{path}` is `{digest}`, expected `{expected}`: nothing was deleted",
            hint="keyturn step digest PATH",
        )
    if not anyway:
        _require_unused(place, digest)
        _require_unreleased(place, digest)
    return Disposing(path=path, digest=digest, place=f"{os.uname().nodename}:{path}", seen=seen, request=request)


def dispose(lab: str | None, going: Disposing, *, key: str | None, reason: str) -> Logged:
    """Log that `going` goes, wait until everybody can know, and delete it."""
    with desk(lab, key=key) as here:
        logged = _log(here, going, reason=reason)
        wait_until_in_force(here.seen, logged)
    disposing.delete(going.path, logged.digest, going.seen)
    return logged


def _log(here: Desk, going: Disposing, *, reason: str) -> Logged:
    hand, now = here.hand, SystemClock().now()
    hand.require_unsuspended(here.seen.view, now=now)
    if going.request is not None:
        _granted(here.seen, hand.member, records.record_id("req", going.request))  # hours of hashing may lie in between
    made = Disposal(**hand.opening(here.seen.trust, now=now), place=going.place, reason=reason, request=going.request)
    return hand.logs(made, (Subject(digest=DigestSet.of(going.digest), name=going.path.name),))


def _granted(seen: Viewed, member: str, under: str) -> Sha256:
    """The request `under`, if people granted it to `member`, and it is open: by this machine's own reading of the log."""
    pending = find_pending(seen.view, under)
    found = explain_grant(seen.view, seen.trust, pending.digest, now=seen.now)
    why = found.sentences[0] if found.sentences else f"it is `{found.live.state}`"
    if member not in (pending.made.requester, pending.made.beneficiary):
        why = f"it is of `{pending.made.requester}`, and not of `{member}`"
    elif found.live.state in ("open", "used") and not found.sentences:
        return pending.digest
    raise Refused(
        "disposal-request",
        f"nobody is granted `{pending.id}` now: {why}; nothing was deleted",
        hint=f"keyturn grant explain {pending.id}; or leave --under out, and say why in --reason",
    )


def _require_unused(place: LabPlace, digest: ArtifactDigest) -> None:
    now = SystemClock().now()
    with lab_index(place) as index, log_reader(place) as reader:
        for one in index.about(str(digest)):
            if one.kind != "stp":
                continue
            asked = records.parse(reader.envelope(one.envelope)).statement.predicate
            assert isinstance(asked, StepRequest)
            ended = came_out_of(index, reader, one) is not None
            state = None if ended else _at_builder(place, asked, one.record)
            if state == "open" or (state == "unknown" and asked.signed_at + asked.timeout_s > now):
                raise Refused(
                    "disposal-in-use",
                    f"`{digest}` is an input of step `{asked.step}`, stp-{one.record[:32]}, which has not ended",
                    hint="wait for it: keyturn step wait; of one whose builder does not answer, until its timeout_s is over; "
                    "or say --anyway",
                )


def _at_builder(place: LabPlace, asked: StepRequest, record: Sha256) -> Literal["open", "ended", "unknown"]:
    """How the step stands at its builder: one that failed left no record, and one in a queue may outlive its `timeout_s`."""
    if asked.builder is None:
        return "unknown"
    try:
        state = job_state(place, record, builder=asked.builder).state
    except KeyturnError:
        return "unknown"
    return "ended" if state in ("failed", "done") else "open"


def _require_unreleased(place: LabPlace, digest: ArtifactDigest) -> None:
    with log_reader(place) as reader:
        root, pin = root_of(place, reader)
        read = read_releases(reader, root_json=root, pinned_sha256=pin, now=SystemClock().now())
        standing = [one for one in releases_of(read, model=digest) if not one.withdrawals]
    if standing:
        raise Refused(
            "disposal-released",
            f"`{digest}` is released as `{standing[0].resource}` by {standing[0].id}, and nobody withdrew that",
            hint="keyturn release withdraw, if nobody is to serve it any more; or, if there are other copies, --anyway",
        )
