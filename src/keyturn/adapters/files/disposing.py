"""Delete the files of an artifact, after it was logged that they go: `look` before, `delete` after.

What is deleted is what was digested. Its path is renamed first, to `.<name>.<record>.disposing` beside it, so that a process
that dies in the middle leaves nothing under the artifact's name that is half of it; whoever repeats the command finds that name
and goes on. Bytes are unlinked, and not overwritten: on flash, copy-on-write and snapshots overwriting means nothing
(docs/decisions/0132-disposals.md).
"""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.clearing import clear
from keyturn.bulk import manifest
from keyturn.bulk.manifest import Found
from keyturn.errors import Refused, Unavailable

__all__ = ["begun", "delete", "going"]


def going(path: Path, record: str) -> Path:
    """What `path` is called while it is deleted under `record`."""
    return path.with_name(f".{path.name}.{record[:32]}.disposing")


def begun(path: Path) -> str | None:
    """The record (its first digits) under which somebody began to delete `path`, and did not end; or `None`."""
    head, tail = f".{path.name}.", ".disposing"
    try:
        names = [place.name for place in path.parent.iterdir()]
    except OSError:
        return None
    found = sorted(name[len(head) : -len(tail)] for name in names if name.startswith(head) and name.endswith(tail))
    return next((one for one in found if len(one) == 32 and all(c in "0123456789abcdef" for c in one)), None)


def delete(path: Path, record: str, seen: tuple[Found, ...] | None) -> None:
    """Delete `path`, which looked like `seen` when it was digested (`None`: somebody began already), under `record`."""
    aside = going(path, record)
    try:
        if seen is not None:
            if manifest.look(path) != seen:
                raise Refused(
                    "disposal-changed",
                    f"`{path}` changed since it was digested: nothing was deleted, and it is logged that it would be",
                    hint="find out who writes there; then run the command again",
                )
            path.rename(aside)
            durable_files.sync_directory(path.parent)
        clear(aside)
        durable_files.sync_directory(path.parent)
    except OSError as err:
        raise Unavailable(
            "disposal-undone",
            f"`{path}` was not deleted whole: {err.strerror}",
            hint="mend that, then run the same command again: it goes on",
        ) from err
    if aside.exists():
        raise Unavailable(
            "disposal-undone",
            f"`{aside}` could not be removed",
            hint="see who owns its files; then run the same command again: it goes on",
        )
