"""Verify that the files at hand are the model that a pack proves to have been released.

Every file is hashed, and their `dirHash` must be the released model's. Names and contents are bound; an extra, missing or renamed
file is another model, as a flipped bit is. A pack names no file of its model: which one it is, a manifest says (`step digest`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keyturn.app.custody.verify_pack import PackVerdict, VerifiedPack, accept
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError, Refused, together
from keyturn.formats.digest import ArtifactDigest

__all__ = ["verify_model", "verify_with_files"]

_Progress = Callable[[int, int], None] | None


def verify_model(path: Path, model: ArtifactDigest, *, progress: _Progress = None) -> None:
    """Hash what is at `path`, or raise `Refused` `model-other-files` when it is not `model`."""
    found = manifest.make(path, progress=progress).identity
    if found != model:
        raise Refused(
            "model-other-files",
            f"the files at `{path}` are `{found}`, and the released model is `{model}`",
            hint="do not use them: fetch the model again, and keep these files to find out what changed",
        )


def verify_with_files(verdict: PackVerdict, files: Callable[[ArtifactDigest], None]) -> VerifiedPack:
    """Accept the pack of `verdict` and what `files` finds of the model; or raise with every failure of both."""
    wrong: list[KeyturnError] = []
    accepted: VerifiedPack | None = None
    try:
        accepted = accept(verdict)
    except Refused as err:
        wrong.append(err)
    if verdict.model is not None:
        try:
            files(verdict.model)
        except KeyturnError as err:
            wrong.append(err)
    if accepted is None or wrong:
        raise together(wrong)
    return accepted
