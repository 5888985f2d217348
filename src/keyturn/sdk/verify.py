"""Verify in a program that files are a model which a lab released: `keyturn verify`, `keyturn release check`, for deploy scripts.

Offline, but for `check_release`, which asks the log. Nothing is believed but the SHA-256 of the lab's first root, which the
script holds and people compared by another way. What is deployed is said by the script as well: every lab releases many models,
and each of them verifies.

This is NOT a gate: nobody is let in by it. What was withdrawn after `as_of` is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import NoReturn

from keyturn.adapters.clock import pause
from keyturn.app.custody import verify_model as files_of
from keyturn.app.custody.check_release import AGE_MAX_S
from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.bulk.unchanged import Seen, look, unchanged
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.posix_time import rfc3339
from keyturn.trust.roster import Profile
from keyturn.wiring.custody.release import examine_pinned, verify_pack_file

__all__ = ["ReleasedModel", "check_release", "verify_model", "verify_pack"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class ReleasedModel:
    """What was released, and by whom. Only the functions beside it make one. Times are POSIX seconds.

    `files` is where the model's files were verified, through every link, and `None` when only its pack was; whoever may write
    there can change them afterwards, so they are loaded within `unchanged()`. Up to `as_of` nobody had withdrawn it:
    that is the time of the pack's checkpoint, and from `check_release` of the log's newest.
    """

    digest: str
    resource: str
    lab: str
    profile: Profile
    requester: str
    approvers: tuple[str, ...]
    released_at: int
    as_of: int
    files: Path | None
    made_by: InitVar[object]
    _seen: Seen | None = field(default=None, repr=False, compare=False)

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a ReleasedModel is made by the functions beside it only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ReleasedModel is not pickled: keep the pack, and verify it again")

    @contextmanager
    def unchanged(self) -> Iterator[Path]:
        """Load the files within this block, from the path that it gives: they are those that were verified, or leaving it raises.

        The path is the kernel's own (`/proc/PID/fd/N`), for this process and its children, whatever becomes of names and links
        above it; it ends with the block. Leave the block before you serve: a return of the block's end is the yes. Raises
        `Refused` `file-changed` for files that changed or were swapped since before they were hashed, also for a moment; `Usage`
        `files-not-verified` when only a pack or a digest was verified. Read the files, do not map them into memory for later.
        """
        if self._seen is None:
            raise Usage(
                "files-not-verified",
                f"no files of `{self.digest}` were verified, so there are none to load",
                hint="give verify_model or check_release the path of the files",
            )
        with unchanged(self._seen) as path:
            yield path


def verify_model(
    model: str | os.PathLike[str],
    *,
    pack: str | os.PathLike[str],
    root: str | os.PathLike[str],
    root_sha256: str,
    resource: str,
    profile: Profile,
    fast: bool = False,
) -> ReleasedModel:
    """Verify that the files at `model` are the model that the pack proves to be released as `resource`.

    `root` is the lab's first root, and `root_sha256` its digest as people compared it. Raises `KeyturnError`: `Refused` with
    every failure in `reasons`, `Tampered`, `Malformed`, or `Unavailable` when it could not be found out. Only a return is a yes.

    `fast` compares BLAKE3s, which rest on the release gate's word alone, in less than half the time (docs/guide/deploying.md).
    """
    verdict = examine_pinned(Path(pack), Path(root), pinned_sha256=root_sha256)
    seen: list[Seen] = []

    def files(released: ArtifactDigest) -> None:
        seen.append(look(Path(model), pause=pause))
        files_of.verify_model(seen[0].root, released, signed=verdict.files, fast=fast, seen=seen[0].files)

    verified = files_of.verify_with_files(verdict, files)
    _require_meant(verified, resource, profile)
    return _released(verified, profile, seen[0])


def check_release(
    model: str | os.PathLike[str],
    *,
    pack: str | os.PathLike[str],
    root: str | os.PathLike[str],
    root_sha256: str,
    resource: str,
    profile: Profile,
    log: str | os.PathLike[str],
    age_max_s: int = AGE_MAX_S,
    fast: bool = False,
    after: ReleasedModel | None = None,
) -> ReleasedModel:
    """Verify as `verify_model` does, then ask the log whether the release was withdrawn: what a host does before it serves.

    `model` is a path, or the digest of files that were verified before. `log` is the URL of the lab's service, or a file that was
    carried here (`keyturn release carry`). `fast` as for `verify_model`. Raises `Unavailable` `release-state-unknown` when the
    witnesses' newest word is older than `age_max_s` (an hour at most), or could not be had; `Refused` `release-withdrawn`. Only a
    return is a yes.

    `after` is what the check before this one returned, of whoever asks again while he serves: an older state of the log than that
    is no answer, although this machine's clock, set back, takes it for a fresh one.
    """
    from keyturn.wiring.custody import deployments  # who verifies offline needs nothing of it

    where = os.fspath(log)
    carried = None if where.startswith(("http://", "https://")) else Path(where)
    with deployments.log_at(where, carried) as reader:
        verified, checked, seen = deployments.check(
            os.fspath(model),
            pack=Path(pack),
            root=Path(root),
            pinned_sha256=root_sha256,
            log=reader,
            age_max_s=age_max_s,
            fast=fast,
            accepts=lambda found: _require_meant(found, resource, profile),
        )
    if after is not None and checked.as_of < after.as_of:
        raise Unavailable(
            "release-state-unknown",
            f"could not find out whether the release was withdrawn: the log shows the state of {rfc3339(checked.as_of)}, and the "
            f"check before saw that of {rfc3339(after.as_of)}",
            hint="look at this machine's clock, and at who gives it the log: one of them went back",
        )
    return _released(verified, profile, seen, as_of=checked.as_of)


def verify_pack(
    pack: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str],
    root_sha256: str,
    resource: str,
    profile: Profile,
) -> ReleasedModel:
    """Verify the pack alone, as `verify_model` does, for whoever holds no files: they may be other ones than were released."""
    return _released(_verified(pack, root, root_sha256, resource, profile), profile, None)


def _verified(
    pack: str | os.PathLike[str], root: str | os.PathLike[str], root_sha256: str, resource: str, profile: Profile
) -> VerifiedPack:
    verified = verify_pack_file(Path(pack), Path(root), pinned_sha256=root_sha256)
    _require_meant(verified, resource, profile)
    return verified


def _require_meant(verified: VerifiedPack, resource: str, profile: Profile) -> None:
    verdict = verified.verdict
    if verdict.profile != profile:
        raise Refused("profile-other", f"expected a lab of profile `{profile}`, got `{verdict.profile}`")
    if str(verdict.resource) != resource:
        raise Refused("resource-other", f"expected a release of `{resource}`, the pack is of `{verdict.resource}`")


def _released(
    verified: VerifiedPack, profile: Profile, seen: Seen | None, *, as_of: int | None = None
) -> ReleasedModel:
    verdict = verified.verdict
    granted = verdict.granted
    if granted is None or verdict.released_at is None or verdict.as_of is None or verdict.lab is None:
        raise Refused("pack-refused", "the pack does not say who released the model, or when")
    return ReleasedModel(
        digest=str(verified.model),
        resource=str(verdict.resource),
        lab=verdict.lab,
        profile=profile,
        requester=granted.request.requester,
        approvers=tuple(sorted(granted.approvers)),
        released_at=verdict.released_at,
        as_of=verdict.as_of if as_of is None else as_of,
        files=None if seen is None else seen.root,
        made_by=_VERIFIER,
        _seen=seen,
    )
