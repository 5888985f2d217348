"""Verify in a program that files are a model which a lab released: `keyturn verify`, for deploy scripts.

Offline. Nothing is believed but the SHA-256 of the lab's first root, which the script holds and people compared by another
way. What is deployed is said by the script as well: every lab releases many models, and each of them verifies.

This is NOT a gate: nobody is let in by it, and what was withdrawn after the pack's checkpoint is not known (`as_of`).
"""

from __future__ import annotations

import os
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import NoReturn

from keyturn.app.custody import verify_model as files_of
from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.errors import Refused
from keyturn.trust.roster import Profile
from keyturn.wiring.release import verify_pack_file

__all__ = ["ReleasedModel", "verify_model", "verify_pack"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class ReleasedModel:
    """What was released, and by whom. Only `verify_model` and `verify_pack` make one. Times are POSIX seconds.

    `files` is where the model's files were verified, and `None` when only its pack was.
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

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a ReleasedModel is made by verify_model and verify_pack only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ReleasedModel is not pickled: keep the pack, and verify it again")


def verify_model(
    model: str | os.PathLike[str],
    *,
    pack: str | os.PathLike[str],
    root: str | os.PathLike[str],
    root_sha256: str,
    resource: str,
    profile: Profile,
) -> ReleasedModel:
    """Verify that the files at `model` are the model that the pack proves to be released as `resource`.

    `root` is the lab's first root, and `root_sha256` its digest as people compared it. Raises `KeyturnError`: `Refused` with
    every failure in `reasons`, `Tampered`, `Malformed`, or `Unavailable` when it could not be found out. Only a return is a yes.
    """
    verified = _verified(pack, root, root_sha256, resource, profile)
    files_of.verify_model(Path(model), verified)
    return _released(verified, profile, Path(model))


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
    verdict = verified.verdict
    if verdict.profile != profile:
        raise Refused("profile-other", f"expected a lab of profile `{profile}`, got `{verdict.profile}`")
    if str(verdict.resource) != resource:
        raise Refused("resource-other", f"expected a release of `{resource}`, the pack is of `{verdict.resource}`")
    return verified


def _released(verified: VerifiedPack, profile: Profile, files: Path | None) -> ReleasedModel:
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
        as_of=verdict.as_of,
        files=files,
        made_by=_VERIFIER,
    )
