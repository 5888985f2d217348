"""What people wait for: a record to be in force, and the command line to start."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Row, median_and_spread, percentile, row
from keyturn.adapters.clock import SystemClock
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.formats.records import leaf_of
from support.lab_on_disk import put_on_disk
from support.labs import make_lab
from support.signed_records import request

SUBMISSIONS = 40
STARTS = 15
LOOK_S = 0.005
"""How often is looked whether it is witnessed: `keyturn` itself looks each 0.1 s."""


class _Pause:
    """Waits as long as it was made for, however long it is asked to."""

    def __init__(self, look_s: float) -> None:
        self._look_s = look_s

    def __call__(self, seconds: float) -> None:
        time.sleep(self._look_s)


def run() -> list[Row]:
    return [*_witnessed(), _version()]


def _witnessed() -> list[Row]:
    lab = make_lab(now=int(time.time()))
    took: dict[float, list[float]] = {LOOK_S: [], 0.1: []}
    with tempfile.TemporaryDirectory() as place:
        on_disk = put_on_disk(lab, Path(place, "lab"))
        with on_disk.witness(), on_disk.log() as (_, url):
            log = LogOverHttp(url)
            for number in range(SUBMISSIONS + 2):
                raw = request(lab, number, at=int(time.time()))
                look_s = (LOOK_S, 0.1)[number % 2]
                begin = time.perf_counter()
                await_witnessed(
                    log,
                    index=log.append(raw),
                    leaf=leaf_of(raw),
                    log=lab.state.log,
                    limits=lab.state.limits,
                    clock=SystemClock(),
                    pause=_Pause(look_s),
                    deadline_s=1000,
                )
                if number >= 2:  # the first of each wait for the service and its witness to find each other
                    took[look_s].append(time.perf_counter() - begin)
    return [
        row(
            "submit to witnessed, one witness process, p50",
            percentile(took[LOOK_S], 50) * 1000,
            "ms",
            at_most=100,
            peer=f"p90 {percentile(took[LOOK_S], 90) * 1000:.0f} ms",
        ),
        row("the same as `keyturn` waits for it, which looks each 100 ms", percentile(took[0.1], 50) * 1000, "ms"),
    ]


def _version() -> Row:
    ours, bare = [], []
    for _ in range(STARTS):
        ours.append(_seconds(str(Path(sys.executable).with_name("keyturn")), "--version"))
        bare.append(_seconds(sys.executable, "-c", "pass"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    _seconds(str(Path(sys.executable).with_name("keyturn")), "--version")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    (middle, spread), (peer, _) = median_and_spread(ours), median_and_spread(bare)
    return row(
        "keyturn --version, p50",
        middle * 1000,
        "ms",
        at_most=150,
        peer=f"{peer * 1000:.0f} ms, Python that does nothing; ours takes {cpu_s * 1000:.0f} ms of processor time",
        spread=spread * 1000,
    )


def _seconds(*words: str) -> float:
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin
