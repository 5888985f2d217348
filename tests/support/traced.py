"""What a process does to the files of a directory, system call by system call, and what a crash after any of them leaves there.

    life = trace([sys.executable, "-c", code, root], root)       # under Debian's strace
    for crash in life.crashes():
        crash.leave_in(tmp_path / "after", survives="synced")     # or "all"

For code that writes through a library, such as SQLite, whose writes no test can step between. POSIX says what survives: a process
that dies leaves all that it wrote (`all`), and perhaps half of its last write; after a loss of power at its worst there is only
what was synced, under names that were synced in their directory (`synced`). What is written through a memory map is not seen:
SQLite's `-shm`, which it makes again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Crash", "Life", "Survives", "trace"]

Survives = Literal["all", "synced"]
_CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,unlink,mkdir"
_LINE = re.compile(r"(\w+)\((.*)\) += (\d+)(?:<.*>)?\Z")
_TEXT = re.compile(r"(?<=[<\"])((?:\\x[0-9a-f]{2})*)(?=[>\"])")


@dataclass(frozen=True)
class _Operation:
    call: str
    path: Path | None
    content: bytes = b""
    at: int = 0


@dataclass
class _File:
    now: bytes = b""
    synced: bytes = b""


@dataclass(frozen=True)
class Crash:
    """A life that ended after some operations. `said` is what the process had printed by then, line by line."""

    said: tuple[str, ...]
    done: tuple[_Operation, ...]
    root: Path

    def leave_in(self, place: Path, *, survives: Survives) -> None:
        """Make `place` what `root` is after the crash."""
        files: dict[Path, _File] = {}
        named: dict[Path, _File] = {}
        for one in self.done:
            path = one.path
            if path is None:
                continue
            if one.call == "openat":
                files.setdefault(path, _File())
            elif one.call in ("pwrite64", "ftruncate"):
                file = files[path]
                end = one.at + len(one.content)
                grown = file.now.ljust(one.at, b"\x00")
                file.now = grown[: one.at] if one.call == "ftruncate" else grown[: one.at] + one.content + grown[end:]
            elif one.call == "unlink":
                files.pop(path, None)
            elif path in files:
                files[path].synced = files[path].now
            else:  # a directory: the names in it are durable now, and those that are gone are gone
                named = {old: file for old, file in named.items() if old.parent != path}
                named |= {new: file for new, file in files.items() if new.parent == path}
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path, file in (files if survives == "all" else named).items():
            where = place / path.relative_to(self.root)
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(file.now if survives == "all" else file.synced)


@dataclass(frozen=True)
class Life:
    """Everything that a process did below `root`, and said, in order."""

    operations: tuple[_Operation, ...]
    root: Path

    def crashes(self) -> Iterator[Crash]:
        """Every way to end: after each operation, and in the middle of each write."""
        for number in range(len(self.operations) + 1):
            done = self.operations[:number]
            text = b"".join(one.content for one in done if one.call == "write")
            said = tuple(text.decode().splitlines())
            yield Crash(said, done, self.root)
            last = self.operations[number] if number < len(self.operations) else None
            if last is not None and last.call == "pwrite64" and len(last.content) > 1:
                torn = _Operation(last.call, last.path, last.content[: len(last.content) // 2], last.at)
                yield Crash(said, (*done, torn), self.root)


def trace(words: Sequence[str | Path], root: Path) -> Life:
    """Run a process of one thread to its end, and give what it did below `root`, which is empty when it begins."""
    assert shutil.which("strace"), "apt-get install strace, as ./bootstrap --tests does"
    log = root.with_name(f"{root.name}.strace")
    prefix = ["strace", "-y", "-xx", "-s", "1000000", "-e", f"trace={_CALLS}", "-o", str(log)]
    done = subprocess.run([*prefix, *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = (_operation(line, root) for line in log.read_text("ascii").splitlines())
    return Life(tuple(one for one in found if one is not None), root)


def _operation(line: str, root: Path) -> _Operation | None:
    match = _LINE.match(line)
    if match is None:  # it failed, or is no call
        return None
    call, arguments, _ = match.groups()
    texts = [bytes.fromhex(one.replace("\\x", "")) for one in _TEXT.findall(arguments)]
    if call == "write":
        return _Operation(call, None, texts[-1]) if arguments.startswith("1<") else None
    path = Path(texts[1 if call == "openat" else 0].decode("utf-8", "replace"))
    if not path.is_relative_to(root) or path.name.endswith("-shm"):
        return None
    if call == "openat":
        return _Operation(call, path) if "O_CREAT" in arguments else None
    if call == "mkdir":
        return None
    at = int(arguments.rsplit(", ", 1)[1]) if call in ("pwrite64", "ftruncate") else 0
    return _Operation(call, path, texts[1] if call == "pwrite64" else b"", at)
