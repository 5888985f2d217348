"""The publisher outlives whatever goes wrong, and says it: a log that answers and publishes nothing looks well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.over_http.witnesses_at_once import WitnessesAtOnce
from keyturn.errors import Unavailable
from keyturn.service.log_publisher import Publisher
from support.labs import NOW, make_lab
from support.log_records import make_records

LAB = make_lab(witnesses=("north",))


class Noon:
    def now(self) -> int:
        return NOW


def publisher(trust: Callable[[], Any]) -> Publisher:
    log = LogInMemory()
    for record in make_records(3):
        log.append(record)
    return Publisher(
        log,
        keys=lambda: (LAB.log_key,),
        trust=trust,
        earlier=lambda: (),
        witnesses=lambda logs: WitnessesAtOnce({}),
        clock=Noon(),
        freshen_s=20,
    )


@pytest.mark.parametrize(
    ("raised", "line", "traced"),
    [
        pytest.param(KeyError("north"), "this is a defect in Keyturn: KeyError [internal-error]", 1, id="a defect"),
        pytest.param(
            RecursionError("deep"),
            "this is a defect in Keyturn: RecursionError [internal-error]",
            1,
            id="depth",
        ),
        pytest.param(Unavailable("no-answer", "no answer"), "no answer [no-answer]", 0, id="what is expected"),
        pytest.param(OSError(24, "Too many open files"), "[Errno 24] Too many open files", 0, id="the machine"),
    ],
)
def test_whatever_goes_wrong_is_said_once_and_publishing_goes_on(
    caplog: pytest.LogCaptureFixture, raised: Exception, line: str, traced: int
) -> None:
    tried = threading.Semaphore(0)

    def trust() -> Any:
        tried.release()
        raise raised

    publishing = publisher(trust)
    publishing.start()
    try:
        for _ in range(3):
            assert tried.acquire(timeout=30)
            publishing.wake()
    finally:
        publishing.stop()
    said = [record for record in caplog.records if record.name == "keyturn"]
    assert [record.getMessage() for record in said] == [line]
    assert ["trace" in record.said for record in said] == [traced == 1]  # type: ignore[attr-defined]
