"""What descends from a bad artifact, among a million artifacts, from the graph of somebody who has read that log before.

That graph is put together by what `keyturn lineage` puts it together with, of statements whose signatures nobody made: walks
read nothing else, and two million signatures would take longer than all of this. How fast a log is read, with every signature
verified, is measured beside it over a smaller one: to read a million artifacts is to read two million statements at that rate.
Each step has its request, takes one artifact, code and a runtime, and makes one artifact, of which twenty steps take each; every
10,000th is released. What is asked for is a dataset from which a nineteenth of everything or more descends: counted, with a path
to each release and to as many models as the command shows; and then with a path to each model, as a script reads them.
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
from keyturn.app.custody.follow_lineage import Followed, follow_lineage
from keyturn.custody.linked import Linked
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.tlog.frontier import Frontier
from support.chains import artifact
from support.releases import make_release_world
from support.world import Witnessed

SIZE, LONG_SIZE = 10**5, 10**6
READ_STATEMENTS = 20_000
ROUNDS = 5
_BATCH = 4096
_TAKERS = 20
_SHOWN = 50
"""Models of which a person who asks sees the paths; `--json` has them all."""
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
        said: list[float] = []
        models = 0
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            with closing(LineageGraphFile(path)) as graph:
                found = affected(graph, _FOLLOWED, of=ArtifactDigest.parse(_artifact(1)), interval=Interval())
                shown = [one.path for one in found.models[:_SHOWN]]
                took.append(time.perf_counter() - begin)
                paths = sum(1 for one in found.models if one.path[-1].artifact == one.artifact)
                said.append(time.perf_counter() - begin)
            if (
                not found.releases
                or len(found.models) < size // 20
                or paths != len(found.models)
                or len(shown) != _SHOWN
            ):
                raise AssertionError(f"found {len(found.models)} models and {len(found.releases)} releases")
            models = len(found.models)
    name = f"affected: {models:,} models that descend from a dataset, of {size:,} artifacts, p50"
    return [
        row(
            name,
            percentile(took, 50),
            "s",
            at_most=1,
            peer=f"and a shortest path to {_SHOWN} models, and every release",
        ),
        row("the same, and a shortest path to each of them", percentile(said, 50), "s"),
        row(
            "a log read into the graph of its lineage, every statement verified", _read(READ_STATEMENTS), "statements/s"
        ),
    ]


def _read(count: int) -> float:
    """Statements a second of somebody who reads a log of `count` for the first time: real signatures, from memory."""
    made = make_release_world()
    chain, before = made.chain, artifact("source")
    for number in range(count // 2):
        made_of_it = artifact(f"part-{number}")
        chain.step("train" if number else "ingest", {"data": before}, {"out": made_of_it})
        before = made_of_it
    made.sync()
    world = made.world
    log = Witnessed(world)
    with tempfile.TemporaryDirectory() as place, closing(LineageGraphFile(Path(place, "lineage.sqlite"))) as graph:
        began = time.perf_counter()
        follow_lineage(log, graph, root_json=world.lab.root_json, pinned_sha256=world.lab.root_sha256, now=world.now)
        return count / (time.perf_counter() - began)


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
