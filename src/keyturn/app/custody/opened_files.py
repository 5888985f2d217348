"""Say of every path that a traced step opened whose it was, and which declared inputs it never opened.

The list is a byproduct of the step (`opened`, by digest in its provenance), one JSON object in canonical form:

    {"left_off":0,"opened":[{"of":"input:data","path":"/in/data/a.txt"},...],"undeclared":[...],"unread":["heldout"],"version":1}

`of` is `input:<name>`, `runtime:<path>`, `output`, `own` (what the sandbox itself has: /tmp, /proc, /dev, /sys) or `undeclared`.
It is what the builder saw, and fails nothing: with bubblewrap nothing undeclared is there to be opened, without it everything is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from keyturn.formats import canonical_json

__all__ = ["OPENED", "OPENED_NAME", "Opened", "OpenedFiles", "judge", "parse", "render"]

OPENED = "opened"
OPENED_NAME = "step.opened.json"

_OWN = ("/tmp", "/proc", "/dev", "/sys")  # noqa: S108  # the sandbox's own
_ALIASES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_LISTED_BYTES_MAX = 8 << 20
_PATH_CHARACTERS_MAX = 4096


class Opened(msgspec.Struct, frozen=True):
    """One path, and whose it is."""

    path: str
    of: str


class OpenedFiles(msgspec.Struct, frozen=True):
    """What was opened; `undeclared` are the paths of it that nobody declared, `unread` the inputs of which nothing was opened."""

    opened: tuple[Opened, ...]
    undeclared: tuple[str, ...]
    unread: tuple[str, ...]
    left_off: int
    version: Literal[1] = 1


def judge(paths: Sequence[str], *, inputs: Mapping[str, str], runtime: Sequence[str], left_off: int) -> OpenedFiles:
    """Sort `paths`, as the step saw them, by what it declared: `inputs` are the mounts by name."""
    mounts = sorted(inputs.items(), key=lambda item: -len(item[1]))
    roots = sorted(runtime, key=len, reverse=True)
    found: list[Opened] = []
    size = 0
    for path in paths:
        size += len(path) + 64
        if size > _LISTED_BYTES_MAX:
            break
        found.append(Opened(path[:_PATH_CHARACTERS_MAX], _of(path, mounts, roots)))
    taken = {one.of for one in found}
    more = left_off + len(paths) - len(found)
    return OpenedFiles(
        opened=tuple(found),
        undeclared=tuple(one.path for one in found if one.of == "undeclared"),
        # What could not all be listed may have been opened: nothing is then said to be unread.
        unread=() if more else tuple(sorted(name for name in inputs if f"input:{name}" not in taken)),
        left_off=more,
    )


def render(value: OpenedFiles) -> bytes:
    """The bytes whose digest is in the provenance."""
    return canonical_json.encode(value)


def parse(raw: bytes) -> OpenedFiles:
    """Read what `render` made, or raise `Malformed`."""
    return canonical_json.decode(raw, OpenedFiles, what=OPENED, size_bytes_max=4 * _LISTED_BYTES_MAX)


def _of(path: str, mounts: Sequence[tuple[str, str]], runtime: Sequence[str]) -> str:
    for name, mount in mounts:
        if _is_in(path, mount):
            return f"input:{name}"
    if _is_in(path, "/out"):
        return "output"
    if any(_is_in(path, own) for own in _OWN) or not path.startswith("/"):  # `pipe:[1]`, `anon_inode:...`: no file
        return "own"
    real = f"/usr{path}" if any(_is_in(path, alias) for alias in _ALIASES) else path
    for root in runtime:
        if _is_in(path, root) or _is_in(real, root):
            return f"runtime:{root}"
    return "undeclared"


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
