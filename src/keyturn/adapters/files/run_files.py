"""Find the lab's running processes: `run/<name>.json` holds `{"pid": .., "url": ".."}` while the process serves.

These files are a convenience and never evidence: whoever follows one verifies every answer. A gate or builder is one process:
a second one over the same state is refused, by a lock that ends with the process. Services may be several; the newest is found,
and the one before it again when the newest stops.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Conflict

__all__ = ["find", "held", "published"]


@contextmanager
def published(run_dir: Path, name: str, url: str, *, alone: bool) -> Iterator[None]:
    """Publish this process as `name` at `url` for as long as the block runs; `Conflict` if it is to be `alone` and is not."""
    run_dir.mkdir(parents=True, exist_ok=True)
    place = run_dir / f"{name}.json"
    with held(run_dir, name) if alone else nullcontext():
        before = _read(place)
        _write(place, (os.getpid(), url))
        try:
            yield
        finally:
            if _read(place) == (os.getpid(), url):
                if before is not None and before[0] != os.getpid() and _lives(before[0]):
                    _write(place, before)
                else:
                    place.unlink(missing_ok=True)


def find(run_dir: Path, name: str) -> str | None:
    """Give the URL of the live process `name`, or `None`."""
    found = _read(run_dir / f"{name}.json")
    return found[1] if found is not None and _lives(found[0]) else None


@contextmanager
def held(run_dir: Path, name: str) -> Iterator[None]:
    """Be the only process called `name` of what `run_dir` is of for as long as the block runs, or `Conflict`."""
    # Not the pid in the file: after a crash it may be somebody else's, and nothing would ever start again.
    fd = os.open(run_dir / f"{name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise Conflict(
                "already-running",
                f"`{name}` runs already, and two would write over each other's state",
                hint="stop the other one; `keyturn doctor` says where it answers",
            ) from err
        yield
    finally:
        os.close(fd)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, and somebody else's: an operator's own user
    return True


def _write(place: Path, said: tuple[int, str]) -> None:
    fresh = place.with_name(f".{place.stem}.{os.getpid()}")
    fresh.write_text(json.dumps({"pid": said[0], "url": said[1]}), encoding="ascii")
    fresh.replace(place)


def _read(place: Path) -> tuple[int, str] | None:
    try:
        value = json.loads(read_plain(place, size_bytes_max=4096))
    except (OSError, ValueError):
        return None
    match value:
        case {"pid": int(pid), "url": str(url)} if pid > 0 and url.startswith("http://127.0.0.1:"):
            return pid, url
    return None
