"""The lab's log, opened for writing: `ports.LogKeeper` on a disk.

Several processes may have it open; each takes the writer's lock for a batch at a time, and first reads what the others
appended. Recovery after a crash is the same reading: whoever comes next finds the end of the log, and cuts what a crash
left there (`pack.recover`). A write that failed is cut off again; a sync that failed ends this process's writing, since the
kernel may have dropped the data and called it clean. Tiles and index that could not be derived are derived again, from the mark
that is durable, each second until they can be; nothing is appended meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from keyturn.adapters.group_commit import GroupCommit, Waiting
from keyturn.adapters.log_entry import leaf_text
from keyturn.adapters.log_on_disk import batch as batch_format
from keyturn.adapters.log_on_disk import erasing
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.checkpoint_files import CheckpointFiles
from keyturn.adapters.log_on_disk.disk import Disk, PosixDisk
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.intact import intact
from keyturn.adapters.log_on_disk.pack import START, Tail, batches_from, open_pack, pack_begins_at, pack_path, recover
from keyturn.adapters.log_on_disk.reader import LogOnDiskReader
from keyturn.adapters.log_on_disk.tile_files import read_mark
from keyturn.adapters.log_on_disk.tile_writer import TileWriter
from keyturn.adapters.log_on_disk.writer_lock import WriterLock
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import leaf_of
from keyturn.formats.tile import TilePath
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier

__all__ = ["LogOnDisk"]

PACK_BYTES_MAX = 256 << 20
_GROUP_BYTES_MAX = 4 << 20
_SETTLE_COUNT = 8192
_RECENT_MAX = 32768
_SETTLE_EVERY_S = 1.0
_INDEX_COUNT = 8192
_TWINS_MAX = 8
"""Entries that name one envelope and are looked at, the newest first, before a record is appended once more."""


class LogOnDisk:
    """Append with `append` from any number of threads; `close` when done, or use as a context manager."""

    def __init__(
        self, directory: Path, index: IndexSqlite, *, disk: Disk | None = None, pack_bytes_max: int = PACK_BYTES_MAX
    ) -> None:
        """Recover and check the log in `directory`; `Tampered` when it is not what its own checkpoints say."""
        self._directory = directory
        self._packs = str(pack_path(directory, 0).parent)
        self._index = index
        self._disk = disk or PosixDisk()
        self._pack_bytes_max = pack_bytes_max
        self._reader = LogOnDiskReader(directory, index)
        self._lock = WriterLock(directory / "lock")
        self._settling = WriterLock(directory / "settle.lock")
        self._notes = CheckpointFiles(self._disk, directory)
        self._tiles = TileWriter(self._disk, directory)
        self._recent: dict[tuple[str, bytes], int] = {}
        """Envelopes that are durable and not yet in the index, each with its leaf, with their log indexes."""
        self._written: dict[int, Batch] = {}
        """Batches that this process wrote and that are not in the index yet, by their first entry; without their bytes."""
        self._fd = -1
        self._tail = START
        self._unsynced = False
        """Whether the newest pack holds batches of other processes that this one has not synced."""
        self._broken: KeyturnError | None = None
        """Why this process never appends again."""
        self._unsettled: KeyturnError | None = None
        """Why nothing is appended until tiles and index could be derived."""
        self._open()
        self._refusal: KeyturnError | None = None
        if any(self._notes.read(which) is not None for which in ("signed", "checkpoint")):
            self._refusal = Unavailable(
                "log-unconfirmed",
                "the log was signed, and its witnesses were not asked yet whether it is behind",
                hint="start the witnesses: keyturn up",
            )
        self._wake = threading.Event()
        self._closing = False
        self._follower = threading.Thread(target=self._follow, name="log-settle", daemon=True)
        self._follower.start()
        self._group = GroupCommit(self._commit, count_max=batch_format.COUNT_MAX, bytes_max=_GROUP_BYTES_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is waiting, settle, and let go of the files (the index stays open: it is the caller's)."""
        self._group.close()
        self._closing = True
        self._wake.set()
        self._follower.join()
        try:
            if self._broken is None:
                self.settle()
        finally:
            if self._fd >= 0:
                os.close(self._fd)
            for lock in (self._lock, self._settling, self._notes):
                lock.close()

    @property
    def size(self) -> int:
        """Entries that are durable, as far as this process knows."""
        return self._tail.size

    def append(self, envelope: bytes) -> int:
        """`LogWriter.append`: durable when it returns. The record's leaf is computed here, and nothing is verified."""
        return self.append_leaf(envelope, leaf_of(envelope))

    def append_leaf(self, envelope: bytes, leaf: Leaf) -> int:
        """Append an envelope whose `leaf` the caller computed with `leaf_of`."""
        return self._group.submit(_waiting(envelope, leaf))

    def append_leaves(self, records: Iterable[tuple[bytes, Leaf]]) -> list[int]:
        """`append_leaf` of many at once: all are durable when it returns. When it raises, some of them may be."""
        return self._group.submit_all([_waiting(envelope, leaf) for envelope, leaf in records])

    def checkpoint(self) -> bytes:
        return self._reader.checkpoint()

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._reader.leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._reader.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self._reader.envelope(digest)

    def tile(self, path: TilePath) -> bytes:
        """A tile or entry bundle as it is served, or `Unavailable`."""
        return self._reader.tile(path)

    def note(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        return self._notes.read(which)

    def swap(self, which: Literal["checkpoint", "signed"], old: bytes | None, new: bytes) -> None:
        self._notes.swap(which, old, new)

    def confirm(self, size: int, root: bytes) -> None:
        derived = self.settle()
        if size > derived.size:
            self._refusal = Refused(
                "log-behind-witnesses",
                f"the log has {derived.size} entries, and its witnesses have seen {size}: it was restored from a backup or cut",
                hint="restore the newest packs; writing on would fork the log",
            )
            raise self._refusal
        if merkle.root_at(size, self.hashes) != root:
            self._refusal = Tampered(
                "log-fork", f"the witnesses have seen another tree of {size} entries than this log's"
            )
            raise self._refusal
        self._refusal = None

    def settle(self) -> Frontier:
        with self._settling:
            with self._lock:
                self._catch_up()  # others may have appended while nothing was appended here
                if self._unsynced:  # what is derived is signed next, and its writer may have died before it synced
                    if self._broken is not None:
                        raise self._broken  # a second sync after one that failed says nothing
                    self._sync(self._tail.offset)
                until = self._tail
            # Another process went on; or what was derived here may not be on the disk, though it was written.
            if self._unsettled is not None or read_mark(self._directory).size > self._tiles.tail.size:
                self._tiles.load()
            indexed, tiled = self._index.tail, self._tiles.tail
            waiting: list[tuple[Batch, Tail]] = []
            count = 0
            for found, tail in self._batches(min(indexed, tiled, key=lambda place: place.size), until):
                if found.first >= tiled.size:
                    self._tiles.add(found, tail)
                waiting.append((intact(found), tail))
                count += len(found.leaves)
                if count >= _INDEX_COUNT:
                    self._index.add(waiting)
                    waiting, count = [], 0
                time.sleep(0)  # lets appending threads go first: this is pure Python, and would hold the interpreter
            if waiting:
                self._index.add(waiting)
            if self._tiles.tail.size > tiled.size:
                self._tiles.settle()
            self._forget_indexed()
            return self._tiles.tail.frontier

    def _batches(self, start: Tail, until: Tail) -> Iterator[tuple[Batch, Tail]]:
        if start.size < until.size:
            for found, tail in batches_from(self._directory, start, written=self._written):
                yield found, tail
                if tail.size >= until.size:
                    return

    def _open(self) -> None:
        signed = [body for which in ("signed", "checkpoint") if (body := self._notes.read_body(which)) is not None]
        signed_size = max((body.size for body in signed), default=0)
        self._tiles.load()
        tail, indexed = self._tiles.tail, self._index.tail
        start = min(tail, indexed, key=lambda place: place.size)
        with self._lock:
            erasing.finish(self._disk, self._directory)
            self._tail = recover(
                self._disk,
                self._directory,
                start,
                signed_size=signed_size,
                rewrite=True,
                seen=lambda found, after: None,
            )
        if indexed.size > self._tail.size or tail.size > self._tail.size:
            raise Tampered(
                "log-goes-back", f"the log holds {self._tail.size} entries; {max(indexed.size, tail.size)} were derived"
            )
        try:
            self.settle()
        except OSError as err:
            raise _not_settled(err) from err
        for body in signed:
            if merkle.root_at(body.size, self.hashes) != body.root:
                raise Tampered(
                    "checkpoint-fork", f"the log is another tree of {body.size} entries than the one it signed"
                )

    def _follow(self) -> None:
        while True:
            self._wake.wait(_SETTLE_EVERY_S)
            self._wake.clear()
            if self._closing:
                return
            if self._broken is None and (self._unsettled is not None or self._tail.size > self._tiles.tail.size):
                self._settle_or_wait()

    def _settle_or_wait(self) -> None:
        try:
            self.settle()
        except (Unavailable, OSError) as err:
            self._unsettled = _not_settled(err)
        except KeyturnError as err:  # packs, tiles and index contradict each other: no second try makes that well
            self._broken = err
        else:
            self._unsettled = None

    def _forget_indexed(self) -> None:
        with self._lock:
            indexed = self._index.tail.size
            self._recent = {record: index for record, index in self._recent.items() if index >= indexed}
            self._written = {first: written for first, written in self._written.items() if first >= indexed}

    def _commit(self, group: list[Waiting]) -> None:
        try:
            with self._lock:
                self._catch_up()
                if (stops := self._broken or self._refusal or self._unsettled) is not None:
                    raise stops
                self._append(self._fresh(group))
                count = len(self._recent)
        except (KeyturnError, OSError) as err:
            for waiting in group:  # nothing was appended, and the next group may find the machine well again
                waiting.error = err if isinstance(err, KeyturnError) else _not_appended(err)
        else:
            if count > _RECENT_MAX:
                self._settle_or_wait()  # appends wait: what is not derived yet is held in memory
            elif count > _SETTLE_COUNT:
                self._wake.set()

    def _catch_up(self) -> None:
        """Read what other processes appended, or left behind when they died."""
        tail = self._tail
        if self._fd < 0:
            if tail == START and not pack_path(self._directory, 0).exists():
                return
            self._fd = open_pack(pack_path(self._directory, tail.pack))
        moved = os.fstat(self._fd).st_size != tail.offset
        if not moved and (tail.size == tail.pack or not pack_begins_at(self._packs, tail.size)):
            return
        erasing.finish(self._disk, self._directory)
        signed = self._notes.read_body("signed")
        found = recover(
            self._disk,
            self._directory,
            tail,
            signed_size=0 if signed is None else signed.size,
            rewrite=False,
            seen=self._remember,
        )
        if found.pack != tail.pack:
            old, self._fd = self._fd, open_pack(pack_path(self._directory, found.pack))
            os.close(old)
        self._tail, self._unsynced = found, True

    def _remember(self, found: Batch, _after: Tail) -> None:
        for i, (envelope, leaf) in enumerate(zip(found.envelopes, found.leaves, strict=True)):
            self._recent[sha256(envelope), leaf] = found.first + i

    def _fresh(self, group: list[Waiting]) -> list[Waiting]:
        """Those of `group` that the log does not have; the others get their index."""
        known = self._index.indexes_of([waiting.digest for waiting in group])
        fresh: dict[tuple[str, bytes], Waiting] = {}
        size, recent = self._tail.size, self._recent
        for waiting in group:
            record = waiting.digest, waiting.leaf
            index = recent.get(record)
            if index is None and (places := known.get(waiting.digest)):
                index = next((place for place in places[:_TWINS_MAX] if self._is_there(place, waiting.leaf)), None)
            if index is None:
                first = fresh.setdefault(record, waiting)
                index = size + len(fresh) - 1 if first is waiting else first.index
            waiting.index = index
        return list(fresh.values())

    def _is_there(self, index: int, leaf: bytes) -> bool:
        """Whether entry `index` has that leaf: whoever had the log may have written one that only names the same envelope."""
        try:
            return self._reader.leaves(index, index + 1) == [leaf]
        except Unavailable:
            return True  # its tile is not derived yet: it was appended here, a moment ago

    def _append(self, fresh: list[Waiting]) -> None:
        tail = self._tail
        if self._unsynced and (not fresh or tail.offset >= self._pack_bytes_max):
            self._sync(tail.offset)
        if not fresh:
            return
        envelopes, leaves = [waiting.envelope for waiting in fresh], [waiting.leaf for waiting in fresh]
        hashes = merkle.leaf_hashes(leaves)
        frontier = tail.frontier.extend_hashes(hashes)
        raw = batch_format.render(tail.size, envelopes, leaves, frontier.nodes)
        pack, offset = tail.pack, tail.offset
        try:
            if offset >= self._pack_bytes_max or self._fd < 0:
                pack, offset = tail.size, 0
                self._disk.create(pack_path(self._directory, pack))
                old, self._fd = self._fd, open_pack(pack_path(self._directory, pack))
                if old >= 0:
                    os.close(old)
                self._tail = tail = Tail(tail.frontier, pack, offset)
            self._disk.append(self._fd, raw, at=offset)
        except OSError as err:
            self._cut_back(tail.offset)
            raise _not_appended(err) from err
        self._sync(offset)
        self._tail = Tail(frontier, pack, offset + len(raw))
        named = tuple([waiting.digest for waiting in fresh])
        self._recent.update(zip(zip(named, leaves, strict=True), range(tail.size, frontier.size), strict=True))
        self._written[tail.size] = batch_format.written(
            raw,
            tail.size,
            envelopes=envelopes,
            leaves=leaves,
            hashes=hashes,
            frontier=frontier.nodes,
            named=named if all(waiting.rendered for waiting in fresh) else None,
        )

    def _sync(self, offset: int) -> None:
        try:
            self._disk.sync(self._fd)
        except OSError as err:
            self._broken = Unavailable("log-disk", f"the disk could not sync: {err.strerror}", hint="check the disk")
            self._cut_back(offset)
            raise self._broken from err
        self._unsynced = False

    def _cut_back(self, offset: int) -> None:
        if self._fd < 0:
            return  # the first pack could not be made: nothing was written
        try:
            self._disk.cut(self._fd, at=offset)
        except OSError:
            self._broken = Unavailable("log-disk", "a failed write could not be undone", hint="start the log again")


def _not_settled(err: KeyturnError | OSError) -> Unavailable:
    return Unavailable(
        "log-not-settled",
        f"tiles or index cannot be derived: {err}",
        hint="free space on the log's disk, or move what it names away: it is made again, and tried again each second",
    )


def _not_appended(err: OSError) -> Unavailable:
    return Unavailable("log-disk", f"not appended: {err.strerror}", hint="free space, then try again")


def _waiting(envelope: bytes, leaf: Leaf) -> Waiting:
    return Waiting(envelope, leaf.envelope, leaf_text(envelope, leaf), rendered=True)
