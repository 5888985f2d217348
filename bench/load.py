"""A lab at work: its people submit at a steady rate to two service processes on one PostgreSQL, and one of them is killed.

Half-way through, one service gets SIGKILL; whoever had no answer asks the other one, with the same record. At the end the log
must hold every record that was acknowledged, once, where it was said to be. A submission's time runs from when it was due, not
from when somebody got round to it.

    python -m bench.load 200 20 300       # people, submissions a second, seconds
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from bench.measure import Row, percentile, row
from keyturn.adapters.clock import SystemClock
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.crypto.credentials import Credential
from keyturn.errors import Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.records import leaf_of
from keyturn.tlog.frontier import Frontier
from keyturn.trust.roster import Member
from support.lab_on_disk import put_on_disk
from support.labs import Lab, make_key, make_lab
from support.postgresql import Store, running_cluster
from support.processes import Process
from support.signed_records import request

PEOPLE, RATE, SECONDS = 200, 20, 300
SENDERS = 32
RETRY_S = 0.02
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: the seconds of each submission, and how many had to be sent more than once."""

    waits_s: tuple[float, ...]
    sent_again: int


def run(*, long: bool = False) -> list[Row]:
    """Nothing without `long`: five minutes."""
    if not long:
        return []
    with running_cluster() as cluster:
        found = measure(cluster.store(), people=PEOPLE, rate=RATE, seconds=SECONDS)
    return rows(found, people=PEOPLE, rate=RATE, seconds=SECONDS)


def rows(found: Load, *, people: int, rate: int, seconds: int) -> list[Row]:
    name = f"{people} people, {rate} submissions/s for {seconds} s, PostgreSQL, one of two services killed"
    peer = f"{len(found.waits_s):,} records, each in the log once; {found.sent_again} sent again after the kill"
    return [
        row(f"{name}: p99", percentile(found.waits_s, 99) * 1000, "ms", at_most=250, peer=peer),
        row(f"{name}: p50", percentile(found.waits_s, 50) * 1000, "ms"),
    ]


def measure(store: Store, *, people: int, rate: int, seconds: int) -> Load:
    """Put that load on a lab of its own, and check the log; `AssertionError` when a record is not there, or twice."""
    lab = _lab(people)
    members = [name for name in lab.state.roster.members if name.startswith("p")]
    raws = [
        request(lab, number, at=int(time.time()), member=(who := members[number % people]), key=make_key(who))
        for number in range(rate * seconds)
    ]
    with tempfile.TemporaryDirectory() as place:
        one = put_on_disk(lab, Path(place, "one"), store=store.url())
        with one.witness() as (_, north), one.log() as (victim, first):
            other = one.copied(Path(place, "other"), {"north": north})
            with other.log() as (_, second):
                sending = _Sending(raws, (first, second), rate=rate, victim=victim)
                sending.run()
                _check(lab, second, raws, sending.acknowledged)
    return Load(tuple(sending.waits_s), sending.sent_again)


def _lab(people: int) -> Lab:
    """A lab founded by two, with that many people besides."""
    lab = make_lab(now=int(time.time()))
    roster = lab.contents.roster
    more = {
        name: Member(name, "human", name, (Credential(key=make_key(name).public, kind="software"),), frozenset())
        for name in (f"p{number}" for number in range(people))
    }
    return lab.publish(roster=replace(roster, members={**roster.members, **more}), now=int(time.time()))


class _Sending:
    """Sends each record when it is due, from a few threads, and kills the first service when half of them were."""

    def __init__(self, raws: list[bytes], urls: tuple[str, str], *, rate: int, victim: Process) -> None:
        self._raws = raws
        self._urls = urls
        self._rate = rate
        self._victim = victim
        self._next = count()
        self._lock = threading.Lock()
        self._pause = threading.Event()
        self.acknowledged: dict[int, int] = {}
        self.waits_s: list[float] = []
        self.sent_again = 0
        self.failed: list[BaseException] = []

    def run(self) -> None:
        self._begin = time.monotonic()
        threads = [threading.Thread(target=self._send_all) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        self._pause.wait(len(self._raws) / self._rate / 2)
        self._victim.kill()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def _send_all(self) -> None:
        logs = tuple(LogOverHttp(url) for url in self._urls)
        try:
            while (number := next(self._next)) < len(self._raws):
                due = self._begin + number / self._rate
                self._pause.wait(max(0.0, due - time.monotonic()))
                self._send(logs, number, due)
        except BaseException as err:  # noqa: BLE001  # a thread's error is the run's: `run` raises it
            self.failed.append(err)

    def _send(self, logs: tuple[LogOverHttp, ...], number: int, due: float) -> None:
        for attempt in count(number):
            try:
                index = logs[attempt % len(logs)].append(self._raws[number])
            except Unavailable:
                if time.monotonic() > due + PATIENCE_S:
                    raise
                self._pause.wait(RETRY_S)
                continue
            with self._lock:
                self.acknowledged[number] = index
                self.waits_s.append(time.monotonic() - due)
                self.sent_again += attempt > number
            return


def _check(lab: Lab, url: str, raws: list[bytes], acknowledged: dict[int, int]) -> None:
    reader = LogOverHttp(url)
    last = max(acknowledged, key=lambda number: acknowledged[number])
    tree = await_witnessed(
        reader,
        index=acknowledged[last],
        leaf=leaf_of(raws[last]),
        log=lab.state.log,
        limits=lab.state.limits,
        clock=SystemClock(),
        pause=_pause,
        deadline_s=PATIENCE_S,
    ).checkpoint
    leaves = list(reader.leaves(0, tree.size))
    if Frontier.empty().extend(leaves).root != tree.root:
        raise AssertionError("the leaves are not those of the witnessed checkpoint")
    times = Counter(leaves)
    for number, raw in enumerate(raws):
        leaf = leaf_format.render(leaf_of(raw))
        if leaves[acknowledged[number]] != leaf or times[leaf] != 1:
            raise AssertionError(f"record {number} is in the log {times[leaf]} times, or elsewhere than acknowledged")


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def main(people: int, rate: int, seconds: int) -> None:
    with running_cluster() as cluster:
        found = measure(cluster.store(), people=people, rate=rate, seconds=seconds)
    for one in rows(found, people=people, rate=rate, seconds=seconds):
        sys.stdout.write(f"{one['name']}: {one['value']:.1f} {one['unit']} {one['peer']}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
