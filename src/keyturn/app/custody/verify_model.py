"""Verify that the files at hand are the model that a pack proves to have been released.

Every file is hashed, and their `dirHash` must be the released model's. Names and contents are bound; an extra, missing or renamed
file is another model, as a flipped bit is. A pack names no file of its model: which one it is, a manifest says (`step digest`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keyturn.app.custody.verify_pack import PackVerdict, VerifiedPack, accept
from keyturn.bulk import manifest
from keyturn.bulk.differences import differences
from keyturn.errors import KeyturnError, Refused, together
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.manifest import Manifest

__all__ = ["verify_model", "verify_with_files"]

_Progress = Callable[[int, int], None] | None


def verify_model(
    path: Path, model: ArtifactDigest, *, listed: Manifest | None = None, progress: _Progress = None
) -> None:
    """Hash what is at `path`, or raise `Refused` `model-other-files` when it is not `model`.

    `listed` is the manifest of `model`, if there is one: by it each file that is missing, extra or changed is named.
    """
    made = manifest.make(path, progress=progress)
    if made.identity == model:
        return
    wrong: tuple[str, ...] = ()
    if listed is not None and listed.identity == model:
        wanted, found = ({file.path: file.sha256 for file in one.files} for one in (listed, made))
        wrong = differences(wanted, found)
    elif listed is not None:
        wrong = (f"the manifest is of `{listed.identity}`, and names none of its files",)
    raise Refused(
        "model-other-files",
        f"the files at `{path}` are `{made.identity}`, and the released model is `{model}`"
        + "".join(f": {one}" for one in wrong[:1])
        + (", and others" if len(wrong) > 1 else ""),
        reasons=tuple(("model-other-files", one) for one in wrong),
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
