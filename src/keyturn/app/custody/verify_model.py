"""Verify that the files at hand are the model that a pack proves to have been released.

Every file is hashed, and their `dirHash` must be the released model's. Names and contents are bound; an extra, missing or renamed
file is another model, as a flipped bit is. Which file it is, a manifest says: the pack's own, or one that `step digest` wrote.

`fast` takes the BLAKE3s of the pack's manifest in place of SHA-256s, in less than half the time. They rest on less: people agreed
to the SHA-256s, while the BLAKE3s are what the release gate saw when it hashed the same files. Whoever has that gate's key could
have other files pass, and with SHA-256s cannot. So nobody gets it who did not ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keyturn.app.custody.verify_pack import PackVerdict, VerifiedPack, accept
from keyturn.bulk import manifest
from keyturn.bulk.differences import shown
from keyturn.bulk.manifest import Found
from keyturn.errors import KeyturnError, Refused, together
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.manifest import Contents, Manifest, apart

__all__ = ["verify_model", "verify_with_files"]

_Progress = Callable[[int, int], None] | None


def verify_model(
    path: Path,
    model: ArtifactDigest,
    *,
    signed: Manifest | None = None,
    listed: Manifest | None = None,
    fast: bool = False,
    seen: tuple[Found, ...] | None = None,
    progress: _Progress = None,
) -> None:
    """Hash what is at `path`, or raise `Refused` `model-other-files`, naming files, when it is not `model`.

    `signed` is the pack's manifest of `model`, if it has one; with `fast` it decides, and without it nothing does: `Refused`
    `pack-no-manifest`. `listed` is the caller's own, which names files and decides nothing. `seen` is how the files looked to
    a caller who holds them to that later (`bulk.unchanged`).
    """
    if fast:
        if signed is None:
            raise Refused(
                "pack-no-manifest",
                "the pack has no manifest of the model's files: the gate released their digest, and hashed none",
                hint="verify without --fast; a manifest comes with keyturn release MODEL --request REQUEST --gate-hashes",
            )
        wrong = manifest.differing(path, signed, progress=progress, listed=seen)
        if not wrong:
            return
        found = "others"
    else:
        made = manifest.contents(path, progress=progress, listed=seen)
        if made.identity == model:
            return
        named = listed or signed
        wrong, found = () if named is None else _named(named, made, model), f"`{made.identity}`"
    raise Refused(
        "model-other-files",
        f"the files at `{path}` are {found}, and the released model is `{model}`"
        + "".join(f": {one}" for one in wrong[:1])
        + (", and others" if len(wrong) > 1 else ""),
        reasons=tuple(("model-other-files", one) for one in shown(wrong)),
        hint="do not use them: fetch the model again, and keep these files to find out what changed",
    )


def _named(listed: Manifest, made: Contents, model: ArtifactDigest) -> tuple[str, ...]:
    if listed.identity != model:
        return (f"the manifest is of `{listed.identity}`, and names none of its files",)
    return apart(listed, made)


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
