"""Verify that the files at hand are the model that a pack proves to have been released.

The pack first (`app.custody.verify_pack`), then the files: every one is hashed, and their `dirHash` must be the released model's.
Names and contents are bound; an extra, missing or renamed file is another model, as a flipped bit is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.bulk import manifest
from keyturn.errors import Refused

__all__ = ["verify_model"]


def verify_model(path: Path, pack: VerifiedPack, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Hash what is at `path`, or raise `Refused` `model-other-files` when it is not the model of `pack`."""
    found = manifest.make(path, progress=progress).identity
    if found != pack.model:
        raise Refused(
            "model-other-files",
            f"the files at `{path}` are `{found}`, and the released model is `{pack.model}`",
            hint="do not use them: fetch the model again, and keep these files to find out what changed",
        )
