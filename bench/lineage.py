"""What descends from a bad artifact, among a million artifacts, from the graph of somebody who has read that log before.

The graph is made by the path that `keyturn lineage` takes, of statements whose signatures nobody made: walks read nothing else.
Each step has its request, takes one artifact, code and a runtime, and makes one artifact, of which twenty steps take each; every
10,000th is released. What is asked for is a dataset from which a nineteenth of everything or more descends, with a path to each.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench.measure import Row, percentile, row
from keyturn.adapters.files.lineage_graph import LineageGraphFile
from keyturn.app.custody.find_affected import Interval, affected
from keyturn.app.custody.follow_lineage import Followed
from keyturn.custody.linked import Linked
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.tlog.frontier import Frontier

SIZE, LONG_SIZE = 10**5, 10**6
ROUNDS = 5
_BATCH = 4096
_TAKERS = 20
_NOWHERE = Sha256("0" * 64)


def run(*, long: bool = False) -> list[Row]:
    """Measure; with `long` over ten times as many, which takes some minutes to build."""
    size = LONG_SIZE if long else SIZE
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "lineage.sqlite")
        with closing(LineageGraphFile(path)) as graph, graph.growing():
            for batch in _batches(size):
                graph.add(batch, failures=(), unread=())
            graph.add_read(Frontier.empty(), ())
        took: list[float] = []
        models = 0
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            with closing(LineageGraphFile(path)) as graph:
                found = affected(graph, _FOLLOWED, of=ArtifactDigest.parse(_artifact(1)), interval=Interval())
            took.append(time.perf_counter() - begin)
            if not found.releases or len(found.models) < size // 20:
                raise AssertionError(f"found {len(found.models)} models and {len(found.releases)} releases")
            models = len(found.models)
    name = f"affected: {models:,} models that descend from a dataset, of {size:,} artifacts, p50"
    return [row(name, percentile(took, 50), "s", at_most=1)]


_FOLLOWED = cast(
    "Followed",
    SimpleNamespace(
        checkpoint=SimpleNamespace(cosigned_at=0, checkpoint=SimpleNamespace(size=0)),
        trusted=SimpleNamespace(states=()),
    ),
)
"""Nothing of the log is read: the graph was followed."""


def _batches(size: int) -> Iterator[list[tuple[Linked, Sha256]]]:
    batch: list[tuple[Linked, Sha256]] = []
    for number in range(1, size + 1):
        batch += [(one, _NOWHERE) for one in _step(number)]
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch


def _step(number: int) -> Iterator[Linked]:
    index, request = 3 * number, f"record:{_hex('request', number)}"
    yield Linked(index, "stp", "member", 0, "train", gives=(request,))
    yield Linked(
        index + 1,
        "prv",
        "builder",
        0,
        "train",
        takes=(
            (request, False),
            (_artifact(number // _TAKERS), True),
            (f"dirHash:{_hex('code', number % 1000)}", False),
            (f"dirHash:{_hex('runtime', number % 20)}", False),
        ),
        gives=(_artifact(number),),
    )
    if number % 10_000 == 0:
        yield Linked(index + 2, "rel", "gate", None, f"model/m{number}", takes=((_artifact(number), True),))


def _artifact(number: int) -> str:
    return f"dirHash:{_hex('artifact', number)}"


def _hex(what: str, number: int) -> Any:
    return hashlib.sha256(f"{what} {number}".encode()).hexdigest()
