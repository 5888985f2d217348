"""Packs: files of batches, in `envelopes/`, each named by the index of its first entry.

A pack is only ever appended to, and a new one begins when the last is full. `batches_from` reads forward from a known
place; `recover` does too, under the writer's lock, and is the only thing that ever cuts a pack.

INVARIANT: at most one batch, the last, is not durable at any time, so a crash can break no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.files.plain_files import is_lasting, open_plain
from keyturn.adapters.log_on_disk import batch as batch_format
from keyturn.adapters.log_on_disk.batch import HEADER_BYTES, Batch
from keyturn.adapters.log_on_disk.disk import Disk
from keyturn.errors import Malformed, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import sha256
from keyturn.tlog.frontier import Frontier

__all__ = [
    "START",
    "Tail",
    "Torn",
    "batches_from",
    "check_frontier",
    "envelope_at",
    "open_pack",
    "pack_begins_at",
    "pack_path",
    "recover",
    "verify_packs",
]

_SEARCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Tail:
    """An end of the log: the tree there, and where the next batch goes (pack, named by its first entry, and offset)."""

    frontier: Frontier
    pack: int
    offset: int

    @property
    def size(self) -> int:
        return self.frontier.size


START = Tail(Frontier.empty(), 0, 0)


class Torn(Exception):
    """What follows `tail` is no intact batch. No error yet: a reader stops here, a writer recovers."""

    def __init__(self, tail: Tail) -> None:
        super().__init__(tail)
        self.tail = tail


def pack_path(directory: Path, first: int) -> Path:
    """The pack whose first entry is `first`."""
    return directory / "envelopes" / f"{first:016d}.pack"


def pack_begins_at(packs: str, first: int) -> bool:
    """Whether there is a pack in `packs` (the directory of all of them) whose first entry is `first`."""
    return os.path.exists(f"{packs}/{first:016d}.pack")  # noqa: PTH110  # asked at each append: a tenth of a Path's time


def open_pack(path: Path) -> int:
    """Open a pack that is there, to read and to write; `Unavailable` when what lies there is none, or not ours."""
    try:
        return open_plain(path, os.O_RDWR)
    except OSError as err:
        if not is_lasting(err):
            raise
        raise _unreadable(path, err) from err


def batches_from(
    directory: Path, tail: Tail, *, written: Mapping[int, Batch] | None = None
) -> Iterator[tuple[Batch, Tail]]:
    """Read the intact batches after `tail`, each with the tail behind it; raise `Torn` at one that is not intact.

    The tree of the yielded tail is what the batch says (`check_frontier` checks it). `written` are batches that this process
    wrote, by their first entry: they are read and hashed as all are, and not taken apart again.
    """
    known = written or {}
    while True:
        fd = _opened_if_there(pack_path(directory, tail.pack))
        if fd is None:
            if tail == START:
                return
            raise Tampered(
                "log-pack-missing", f"pack `{pack_path(directory, tail.pack).name}` is gone", hint="restore it"
            )
        try:
            length = os.fstat(fd).st_size
            if length < tail.offset:
                raise Tampered(
                    "log-goes-back",
                    f"pack `{pack_path(directory, tail.pack).name}`: expected {tail.offset} bytes or more, got {length}",
                )
            while True:
                # Once more: it may just have been erased.
                found = _read_batch(fd, tail.offset, known) or _read_batch(fd, tail.offset, known)
                if found is None:
                    break
                if found.first != tail.size:
                    raise Tampered(
                        "log-batch-order", f"expected a batch at entry {tail.size}, got one at {found.first}"
                    )
                tail = Tail(Frontier(found.end, found.frontier), tail.pack, tail.offset + found.size_bytes)
                yield found, tail
            if os.fstat(fd).st_size != tail.offset:
                raise Torn(tail)
        finally:
            os.close(fd)
        if tail.size == tail.pack or not pack_path(directory, tail.size).exists():
            return
        tail = Tail(tail.frontier, tail.size, 0)


def check_frontier(before: Tail, found: Batch) -> None:
    """Check that `found` says the right tree for its leaves, or raise `Tampered`."""
    if before.frontier.extend_hashes(found.hashes).nodes != found.frontier:
        raise Tampered("log-batch-tree", f"batch at entry {found.first}: its leaves do not make the tree that it says")


def envelope_at(directory: Path, pack: int, offset: int, length: int) -> bytes:
    """Read `length` bytes of an envelope; `Unavailable` when the pack does not hold them."""
    try:
        fd = open_plain(pack_path(directory, pack), os.O_RDONLY)
    except OSError as err:
        raise Unavailable("log-pack-missing", f"pack `{pack_path(directory, pack).name}` cannot be read") from err
    try:
        raw = os.pread(fd, length, offset)
    finally:
        os.close(fd)
    if len(raw) != length:
        raise Unavailable("log-pack-missing", f"pack `{pack_path(directory, pack).name}` ends before the envelope does")
    return raw


def recover(
    disk: Disk,
    directory: Path,
    known: Tail,
    *,
    signed_size: int,
    rewrite: bool,
    seen: Callable[[Batch, Tail], None],
) -> Tail:
    """Find the log's end after `known`, which no crash can have touched; the caller holds the writer's lock.

    (1) Each intact batch is checked against the tree, and given to `seen` with its end.
    (2) What follows the last intact batch is cut when a crash can have left it: it is above `signed_size`, the newest
        checkpoint; nothing intact comes after it; and it is not longer than the batch that its header promises. Anything
        else is `Tampered`, and nothing is changed.
    (3) What is kept above `known` and the newest checkpoint may not be durable: its writer may have died. With `rewrite`, or
        when packs have changed, it is written again and synced here; else the caller syncs the last pack before it
        acknowledges anything.
    """
    tail = durable = known
    try:
        for found, after in batches_from(directory, known):  # (1)
            check_frontier(tail, found)
            seen(found, after)
            tail = after
            if after.size <= signed_size:
                durable = after
    except Torn as torn:
        tail = torn.tail
        _refuse_behind(directory, tail, signed_size)
        path = pack_path(directory, tail.pack)
        fd = open_pack(path)
        try:
            _refuse_more_than_a_crash(fd, tail, directory)  # (2)
            disk.cut(fd, at=tail.offset)
        finally:
            os.close(fd)
    _refuse_behind(directory, tail, signed_size)
    if tail.size > durable.size and (rewrite or tail.pack != known.pack):
        _settle(disk, directory, durable, tail)  # (3)
    return tail


def verify_packs(directory: Path, *, size_min: int, faults: Sequence[range] = ()) -> int:
    """Check every batch of the log, reading only; `Tampered` at the first that is not right. Returns the size.

    Entries that are among the `faults`, which somebody named already, may have any envelope. `Unavailable` during an erasing.

    A log of fewer than `size_min` entries (what a checkpoint promises) is `Tampered` as well.

    A batch that is being written right now is not looked at.
    """
    tail = START
    try:
        for found, after in batches_from(directory, START):
            check_frontier(tail, found)
            for index, (envelope, leaf) in enumerate(zip(found.envelopes, found.leaves, strict=True), found.first):
                if any(index in entries for entries in faults):
                    continue
                if _envelope_of(leaf) != sha256(envelope):
                    raise Tampered("log-leaf", f"entry {index}: its leaf is not that of its envelope")
            tail = after
    except Torn as torn:
        if (directory / "erasing").exists():
            raise Unavailable(
                "log-erasing",
                f"the batch at entry {torn.tail.size} is being erased, or a crash ended that in the middle",
                hint="try again; after a crash: keyturn log erase",
            ) from torn
        later = [pack for pack in _packs(directory) if pack > torn.tail.pack]
        if later:
            raise Tampered(
                "log-batch-altered", f"the batch at entry {torn.tail.size} is broken, and others follow"
            ) from torn
    _refuse_behind(directory, tail, size_min)
    return tail.size


def _opened_if_there(path: Path) -> int | None:
    try:
        return open_plain(path, os.O_RDONLY)
    except FileNotFoundError as err:
        if path.is_symlink():
            raise _unreadable(path, err) from err  # a link to nowhere is no log that begins
        return None
    except OSError as err:
        if not is_lasting(err):
            raise
        raise _unreadable(path, err) from err


def _unreadable(path: Path, err: OSError) -> Unavailable:
    return Unavailable(
        "log-pack-unreadable",
        f"pack `{path.name}` cannot be opened: {err.strerror}",
        hint="look at its owner and mode; what only lies in its place is moved away, and the pack restored",
    )


def _packs(directory: Path) -> list[int]:
    """The packs that are there, by their first entries and in order."""
    return sorted(int(path.stem) for path in (directory / "envelopes").glob(f"{'[0-9]' * 16}.pack"))


def _envelope_of(leaf: bytes) -> str | None:
    try:
        return leaf_format.parse(leaf).envelope
    except Malformed:
        return None  # no leaf at all


def _refuse_behind(directory: Path, tail: Tail, signed_size: int) -> None:
    if tail.size < signed_size:
        raise Tampered(
            "log-behind-checkpoint",
            f"the log holds {tail.size} intact entries, and signed a checkpoint of {signed_size}: {_found_at(directory, tail)}",
            hint="restore the packs; a log that lost what it signed is never written again",
        )


def _found_at(directory: Path, tail: Tail) -> str:
    """What lies where the next batch would be."""
    path = pack_path(directory, tail.pack)
    try:
        length = path.stat().st_size
    except OSError as err:
        return f"pack `{path.name}`: {err.strerror}"
    return f"pack `{path.name}` has {length} bytes, and the intact ones end at byte {tail.offset}"


def _read_batch(fd: int, offset: int, written: Mapping[int, Batch]) -> Batch | None:
    header = batch_format.parse_header(os.pread(fd, HEADER_BYTES, offset))
    if header is None:
        return None
    return batch_format.parse(os.pread(fd, header.size_bytes, offset), written.get(header.first))


def _refuse_more_than_a_crash(fd: int, tail: Tail, directory: Path) -> None:
    name = pack_path(directory, tail.pack).name
    length = os.fstat(fd).st_size
    later = [pack for pack in _packs(directory) if pack > tail.pack]
    if later:
        raise Tampered(
            "log-batch-altered",
            f"pack `{name}` is broken at byte {tail.offset}, and `{pack_path(directory, later[0]).name}` follows",
        )
    header = batch_format.parse_header(os.pread(fd, HEADER_BYTES, tail.offset))
    if header is not None and header.first != tail.size:
        raise Tampered("log-batch-order", f"pack `{name}`: expected entry {tail.size}, got a batch at {header.first}")
    if header is not None and tail.offset + header.size_bytes < length:
        raise Tampered(
            "log-batch-altered", f"pack `{name}`: the batch at byte {tail.offset} is broken, and is not the last"
        )
    at = _next_intact(fd, tail.offset, length)
    if at is not None:
        raise Tampered("log-batch-altered", f"pack `{name}` is broken at byte {tail.offset} and intact again at {at}")


def _next_intact(fd: int, start: int, end: int) -> int | None:
    at = start + 1
    while at < end:
        chunk = os.pread(fd, _SEARCH_BYTES + len(batch_format.MAGIC) - 1, at)
        found = chunk.find(batch_format.MAGIC)
        while found >= 0:
            if _read_batch(fd, at + found, {}) is not None:
                return at + found
            found = chunk.find(batch_format.MAGIC, found + 1)
        at += _SEARCH_BYTES
    return None


def _settle(disk: Disk, directory: Path, known: Tail, tail: Tail) -> None:
    for pack in _packs(directory):
        if not known.pack <= pack <= tail.pack:
            continue
        fd = open_pack(pack_path(directory, pack))
        try:
            at, end = known.offset if pack == known.pack else 0, os.fstat(fd).st_size
            while at < end:
                raw = os.pread(fd, min(_SEARCH_BYTES, end - at), at)
                disk.append(fd, raw, at=at)
                at += len(raw)
            disk.sync(fd)
        finally:
            os.close(fd)
