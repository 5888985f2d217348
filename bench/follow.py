"""Measure a gate that follows the log from disk: 1 % of the leaves are negatives that it fetches and verifies.

Log, tiles, index, envelopes and the way of following are the real ones; every leaf is hashed, and the root is held against a
witnessed checkpoint. What the gate holds afterwards must not depend on how long the log is.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.measure import Row, median_and_spread, row
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.reader import LogOnDiskReader
from keyturn.app.log.follow_log import follow_log
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import leaf_of
from support.world import World, make_world

LEAVES = 200_000
ROUNDS = 5
APPENDED_AT_ONCE = 4096
REQUESTS = 20
PEOPLE = ("bob", "cat", "dan", "eve")


def run() -> list[Row]:
    """Give leaves a second from disk, and what the gate holds after the whole log against a tenth of it."""
    small, _, _ = _follow(LEAVES // 10, rounds=1)
    held, rate, spread = _follow(LEAVES, rounds=ROUNDS)
    return [
        row(
            "gate following the log from disk, 1 % negatives verified",
            rate,
            "leaves/s",
            at_least=250_000,
            spread=spread,
        ),
        row("what the gate holds after 10 times as many leaves", held / small, "x", at_most=1.0),
    ]


def _follow(count: int, *, rounds: int) -> tuple[int, float, float]:
    world = make_world()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        index = IndexSqlite(directory / "index.sqlite")
        with LogOnDisk(directory / "log", index) as log:
            records = _records(world, count)
            for first in range(0, len(records), APPENDED_AT_ONCE):
                log.append_leaves(records[first : first + APPENDED_AT_ONCE])
            frontier = log.settle()
        reader = _Reader(directory / "log", index, world.note(frontier=frontier))
        rates = []
        held = 0
        for _ in range(rounds):
            begin = time.perf_counter()
            view = follow_log(world.start(None), reader, now=world.now)
            rates.append(frontier.size / (time.perf_counter() - begin))
            held = view.known.size
        index.close()
    rate, spread = median_and_spread(rates)
    return held, rate, spread


class _Reader(LogOnDiskReader):
    """The log on disk, with a checkpoint made here: no service publishes one."""

    def __init__(self, directory: Path, index: IndexSqlite, note: bytes) -> None:
        super().__init__(directory, index)
        self._note = note

    def checkpoint(self) -> bytes:
        return self._note


def _records(world: World, count: int) -> list[tuple[bytes, Leaf]]:
    """The lab's trust, some requests, and then `count` records of which every hundredth denies one of the requests."""
    asked = [world.ask(submit=False) for _ in range(REQUESTS)]
    raws = [*world.lab.containers, *(dsse.render(one) for one in asked)]
    records = [(raw, leaf_of(raw)) for raw in raws]
    for number in range(count):
        if number % 100:
            raw = b"%020d" % number
            digest = sha256(raw)
            records.append((raw, Leaf(kind="prv", record=digest, envelope=digest, about=(f"sha256:{digest}",))))
        else:
            which = number // 100
            denial = world.authorization(
                asked[which % REQUESTS], PEOPLE[which % len(PEOPLE)], decision="deny", reason=f"no {which}"
            )
            raw = dsse.render(denial)
            records.append((raw, leaf_of(raw)))
    return records
