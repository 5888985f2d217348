"""Durable appends of records that were verified already: 64 threads, 4 processes, and logs of 10^3 to 10^6 entries.

The peer has the same threads, queue, group size, bytes and fdatasync, and neither hashes, tiles, index nor checkpoints. Ours
signs and has cosigned (by one witness in this process) a checkpoint each second while it runs.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.measure import Row, median_and_spread, paired, row, seconds
from keyturn.adapters.files.witness_files import WitnessFiles
from keyturn.adapters.group_commit import GroupCommit, Waiting
from keyturn.adapters.log_on_disk.batch import COUNT_MAX
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.over_http.witnesses_at_once import WitnessesAtOnce
from keyturn.app.log.cosign_checkpoint import Witnessing, cosign_checkpoint
from keyturn.app.log.publish_checkpoint import publish_checkpoint
from keyturn.errors import Unavailable
from keyturn.formats import add_checkpoint
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.leaf import Leaf
from keyturn.formats.note import NoteSignature
from support.labs import NOW, make_lab

THREADS = 64
PER_TURN = 64 * 250
ROUNDS = 7
SIZE_ROUNDS = 5
ENVELOPE_BYTES = 1200
SIZES = (10**3, 10**4, 10**5, 10**6)
LONG_SIZES = (*SIZES, 10**7)
_GROUP_BYTES_MAX = 4 << 20

Record = tuple[bytes, Leaf]


def run(*, long: bool = False) -> list[Row]:
    """Measure; about a minute, and with `long` several."""
    return [*_by_threads(), _by_processes(), *_by_size(LONG_SIZES if long else SIZES)]


def make(first: int, count: int) -> list[Record]:
    """Records as admission hands them over: the envelope, and its leaf."""
    made = []
    for number in range(first, first + count):
        envelope = (b'{"payload":"%020d' % number).ljust(ENVELOPE_BYTES - 2, b"x") + b'"}'
        digest = hashlib.sha256(envelope).hexdigest()
        about = (f"gate:keyturn://acme.example/gate/g{number % 7}", f"member:m{number % 100}")
        made.append((envelope, Leaf(kind="req", record=digest, envelope=digest, about=about, until=NOW)))
    return made


def _by_threads() -> list[Row]:
    with tempfile.TemporaryDirectory() as directory, _published_log(Path(directory)) as log:
        fresh = iter(range(0, 10**9, PER_TURN))
        ready: list[list[Record]] = []

        def ours() -> None:
            each(ready.pop(), lambda record: log.append_leaf(*record))

        fd = os.open(Path(directory) / "peer", os.O_CREAT | os.O_RDWR)

        def commit(group: list[Waiting]) -> None:
            os.write(fd, b"".join([part for waiting in group for part in (waiting.envelope, waiting.leaf)]))
            os.fdatasync(fd)

        group = GroupCommit(commit, count_max=COUNT_MAX, bytes_max=_GROUP_BYTES_MAX)
        leaf = bytes(250)
        plain = [(envelope, None) for envelope, _ in make(0, PER_TURN)]

        def peer() -> None:
            each(plain, lambda record: group.submit(Waiting(record[0], "", leaf)))

        ready.extend(make(next(fresh), PER_TURN) for _ in range(ROUNDS))
        found = paired(ours, peer, rounds=ROUNDS, calls=1)
        group.close()
        os.close(fd)
    return [
        row("durable appends, 64 threads", PER_TURN / found.ours_s, "entries/s", at_least=10_000),
        row(
            "durable appends / same threads, queue and sync",
            found.rate_ratio,
            "x",
            at_least=0.5,
            peer=f"{PER_TURN / found.peer_s:,.0f} entries/s, without hashing, tiles, index and checkpoints",
            spread=found.spread * found.rate_ratio**2,
        ),
    ]


def each(records: Sequence[object], append: Callable[..., object]) -> None:
    share = len(records) // THREADS

    def work(start: int) -> None:
        for record in records[start : start + share]:
            append(record)

    threads = [threading.Thread(target=work, args=(k * share,)) for k in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _by_processes() -> Row:
    count, processes = 6400, 4
    with tempfile.TemporaryDirectory() as directory:
        with opened_log(Path(directory)):
            pass
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.appends", directory, str(k * 10**6), str(count)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for k in range(processes)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        begin = time.perf_counter()
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
        for child in children:
            assert child.wait() == 0
        took_s = time.perf_counter() - begin
        with opened_log(Path(directory)) as log:
            assert log.size == count * processes
    return row("durable appends, 4 processes of 16 threads on one log", count * processes / took_s, "entries/s")


def _by_size(sizes: Sequence[int]) -> list[Row]:
    """The time per append to a log of the largest size against one of the smallest, and the memory that growing takes.

    A turn is `PER_TURN` appends and deriving all tiles and index entries from them; the small log is a new one each time.
    """
    grown: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as place, opened_log(Path(place, "large")) as log:
        for size in sizes:
            _fill(log, size)
            grown[size] = _resident_bytes()
        ready = {
            which: [make(first + k * PER_TURN, PER_TURN) for k in range(SIZE_ROUNDS)]
            for which, first in (("large", sizes[-1]), ("small", sizes[0]))
        }

        def to_large() -> None:
            each(ready["large"].pop(), lambda record: log.append_leaf(*record))
            log.settle()

        def to_small() -> None:
            each(ready["small"].pop(), lambda record: little.append_leaf(*record))
            little.settle()

        ratios, small_s = [], []
        os.sync()
        large_s = 0.0
        for number in range(SIZE_ROUNDS):
            with opened_log(Path(place, f"small-{number}")) as little:
                _fill(little, sizes[0])
                if number % 2:
                    large_s = seconds(to_large, calls=1)
                small_s.append(seconds(to_small, calls=1))
                if not number % 2:
                    large_s = seconds(to_large, calls=1)
            ratios.append(large_s / small_s[-1])
    ratio, spread = median_and_spread(ratios)
    small, _ = median_and_spread(small_s)
    return [
        row(
            f"time per append at {sizes[-1]:,} entries / at {sizes[0]:,}",
            ratio,
            "x",
            at_most=1.5,
            peer=f"{small / PER_TURN * 1e6:.0f} us at {sizes[0]:,} entries, tiles and index included",
            spread=spread,
        ),
        row(
            f"memory that grew from {sizes[2]:,} to {sizes[-1]:,} entries",
            max(0, grown[sizes[-1]] - grown[sizes[2]]) / 2**20,
            "MiB",
            at_most=32,
            peer="at the smaller size the page caches are full",
        ),
    ]


def _fill(log: LogOnDisk, size: int) -> None:
    while log.size < size:
        log.append_leaves(make(log.size, min(COUNT_MAX, size - log.size)))
    log.settle()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def opened_log(directory: Path) -> Iterator[LogOnDisk]:
    index = IndexSqlite(directory / "index.sqlite")
    with LogOnDisk(directory / "log", index) as log:
        yield log
    index.close()


class _WitnessHere:
    """A real witness in this process."""

    def __init__(self, witnessing: Witnessing, directory: Path) -> None:
        self._witnessing = witnessing
        self._store = WitnessFiles(directory)

    def now(self) -> int:
        return NOW

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
        made = cosign_checkpoint(self._witnessing, add_checkpoint.render(request), store=self._store, clock=self)
        if isinstance(made, NoteSignature):
            return (made,)
        if made.code != "other-size":
            raise Unavailable("witness-refused", made.message)
        return made.size

    def newest(self, origin: str) -> bytes | None:
        return self._store.read(origin)


@contextmanager
def _published_log(directory: Path) -> Iterator[LogOnDisk]:
    """A log that is published each second, as its service does."""
    lab = make_lab()
    log_roster = lab.state.log
    witness = _WitnessHere(
        Witnessing("north", lab.witness_keys["north"], {log_roster.origin: log_roster.key}), directory / "witness"
    )
    stop = threading.Event()
    with ExitStack() as stack:
        log = stack.enter_context(opened_log(directory))

        def publish() -> None:
            while not stop.wait(1.0):
                publish_checkpoint(
                    log,
                    keys=(lab.log_key,),
                    log=log_roster,
                    earlier=(),
                    witnesses=WitnessesAtOnce({"north": witness}),
                    now=NOW,
                    skew_s=60,
                )

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield log
        finally:
            stop.set()
            thread.join()


def _process(directory: str, first: str, count: str) -> None:
    records = make(int(first), int(count))
    with opened_log(Path(directory)) as log:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        share = len(records) // 16
        threads = [
            threading.Thread(target=lambda k=k: [log.append_leaf(*r) for r in records[k * share : (k + 1) * share]])
            for k in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    _process(*sys.argv[1:])
