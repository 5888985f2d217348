"""Look-ups as people and their inbox ask for them, over HTTP, in the index of a log of many past requests.

The index is made by the path that `keyturn log reindex` takes, of leaves that were never in a log: look-ups read nothing else.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from bench.measure import Row, percentile, row
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite, rebuild
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.pack import Tail
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.formats import leaf as leaf_format
from keyturn.formats.leaf import Leaf
from keyturn.tlog.frontier import Frontier
from support.labs import NOW
from support.serving_log import serving

SIZE, LONG_SIZE = 10**5, 10**6
PEOPLE = 200
LOOK_UPS = 200
_BATCH = 1000


def run(*, long: bool = False) -> list[Row]:
    """Measure; with `long` over ten times as many, which takes a minute to build."""
    size = LONG_SIZE if long else SIZE
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "index.sqlite")
        rebuild(path, _batches(size))
        with (
            closing(IndexSqlite(path)) as index,
            closing(IndexSqlite(Path(place, "empty.sqlite"))) as empty,
            LogOnDisk(Path(place, "log"), empty) as log,
            serving(log, index) as url,
        ):
            http = IndexOverHttp(url)
            inbox = _times(lambda number: http.about(f"member:p{number % PEOPLE}"))
            search = _times(lambda number: http.by_record(_digest(number * (size // LOOK_UPS))[:8]))
    return [
        row(f"inbox: what concerns one of {PEOPLE} people, {size:,} past requests, p50", inbox, "ms", at_most=50),
        row(f"search: a request by 8 digits among {size:,} past ones, p50", search, "ms", at_most=50),
    ]


def _times(look_up: Callable[[int], object]) -> float:
    took = []
    for number in range(LOOK_UPS):
        begin = time.perf_counter()
        if not look_up(number):
            raise AssertionError(f"look-up {number} found nothing")
        took.append(time.perf_counter() - begin)
    return percentile(took, 50) * 1000


def _batches(size: int) -> Iterator[tuple[Batch, Tail]]:
    """The leaves of `size` requests as batches of one pack. Where their envelopes would be is made up."""
    frontier, offset = Frontier.empty(), 0
    for first in range(0, size, _BATCH):
        leaves = tuple(leaf_format.render(_leaf(number)) for number in range(first, first + _BATCH))
        frontier = frontier.extend(leaves)
        offset += _BATCH
        yield (
            Batch(
                first=first,
                raw=b"",
                leaves=leaves,
                hashes=(),
                frontier=frontier.nodes,
                places=tuple((number, 1) for number in range(_BATCH)),
                size_bytes=_BATCH,
                digest=b"",
            ),
            Tail(frontier, 0, offset),
        )


def _leaf(number: int) -> Leaf:
    about = ("gate:keyturn://acme.example/gate/release", f"member:p{number % PEOPLE}")
    return Leaf(kind="req", record=_digest(number), envelope=_digest(-1 - number), about=about, until=NOW)


def _digest(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()
