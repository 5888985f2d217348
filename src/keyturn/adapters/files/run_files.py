"""Find the lab's running processes: `run/<name>.json` holds `{"pid": .., "url": ".."}` while the process serves.

These files are a convenience and never evidence: whoever follows one verifies every answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.files.plain_files import read_plain

__all__ = ["find", "published"]


@contextmanager
def published(run_dir: Path, name: str, url: str) -> Iterator[None]:
    """Publish this process as `name` at `url` for as long as the block runs."""
    run_dir.mkdir(parents=True, exist_ok=True)
    place = run_dir / f"{name}.json"
    fresh = run_dir / f".{name}.{os.getpid()}"
    fresh.write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="ascii")
    fresh.replace(place)
    try:
        yield
    finally:
        if _read(place) == (os.getpid(), url):
            place.unlink(missing_ok=True)


def find(run_dir: Path, name: str) -> str | None:
    """Give the URL of the live process `name`, or `None`."""
    found = _read(run_dir / f"{name}.json")
    if found is None:
        return None
    pid, url = found
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # alive, and somebody else's: an operator's own user
    return url


def _read(place: Path) -> tuple[int, str] | None:
    try:
        value = json.loads(read_plain(place, size_bytes_max=4096))
    except (OSError, ValueError):
        return None
    match value:
        case {"pid": int(pid), "url": str(url)} if pid > 0 and url.startswith("http://127.0.0.1:"):
            return pid, url
    return None
