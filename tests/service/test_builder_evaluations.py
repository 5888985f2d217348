"""A builder measures what criteria ask, says what came out, and measures nothing again to have it otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keyturn.adapters.files.outbox_files import OutboxFiles
from keyturn.crypto import dsse_signing
from keyturn.errors import Unavailable
from keyturn.formats import dsse, test_result
from keyturn.formats.digest import parse_sha256
from keyturn.service.builder_service import BuilderService
from support.builders import Run, failed, finish, refused
from support.evaluations import criteria


@pytest.mark.parametrize(("threshold", "passed"), [("3.5", True), ("3.0", False)])
def test_an_evaluation_says_what_its_values_say(place: Any, run: Run, threshold: str, passed: bool) -> None:
    raw_criteria, digest = criteria(place, threshold)
    script = 'echo \'{\\"bits-per-byte\\": \\"3.25\\"}\' > /out/measurement'
    raw = place.step_file(script, build="evaluate", outputs=("measurement",), name="model")
    state = run(place.order(raw, criteria=raw_criteria, criteria_digest=digest))
    assert state.state == "done", state.error
    assert state.outcome is not None
    assert state.outcome.passed is passed
    assert [leaf.kind for leaf, _ in place.log._leaves] == ["crt", "stp", "prv", "tst"]
    envelope = dsse.parse_own(place.log.envelope(parse_sha256(place.log._leaves[3][0].envelope)))
    dsse_signing.verify_one(envelope, place.lab.builder_keys["builder"].public)
    assert test_result.read(envelope.payload).values == (("bits-per-byte", "3.25"),)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("echo '{}' > /out/measurement", "measurement-lacks", id="no value"),
        pytest.param("echo 3.25 > /out/measurement", "measurement-invalid", id="no object"),
        pytest.param('echo \'{\\"bits-per-byte\\": \\"NaN\\"}\' > /out/measurement', "decimal-invalid", id="no number"),
        pytest.param("mkdir /out/measurement; touch /out/measurement/a", "output-not-a-file", id="a directory"),
    ],
)
def test_an_evaluation_without_a_measurement_has_no_provenance(place: Any, run: Run, script: str, code: str) -> None:
    raw_criteria, digest = criteria(place)
    raw = place.step_file(script, build="evaluate", outputs=("measurement",), name="model")
    failed(run(place.order(raw, criteria=raw_criteria, criteria_digest=digest)), code)
    assert [leaf.kind for leaf, _ in place.log._leaves] == ["crt", "stp"]


def test_a_builder_that_dies_between_provenance_and_test_result_logs_the_rest_when_it_starts_again(place: Any) -> None:
    raw_criteria, digest = criteria(place)
    script = 'echo \'{\\"bits-per-byte\\": \\"3.25\\"}\' > /out/measurement'
    raw = place.step_file(script, build="evaluate", outputs=("measurement",), name="model")
    parts = place.parts()
    dying = replace(parts, outbox=OutboxFiles(place.outbox, Dying(place.log, after=1)))
    service = BuilderService(dying)
    service.start()
    job = service.order(place.order(raw, criteria=raw_criteria, criteria_digest=digest)).job
    while not dying.outbox.waits() or service.state(job).stage != "logging":
        service.state(job, wait_s=0.01)
    service.stop()
    assert service.state(job).state == "queued", (
        "what is signed is logged by whoever comes next, and nothing is measured again"
    )
    assert [leaf.kind for leaf, _ in place.log._leaves] == ["crt", "stp", "prv"]
    again = BuilderService(place.parts())
    again.start()
    state = finish(again, job)
    again.stop()
    assert (state.state, state.attempt) == ("done", 1)
    assert "nothing runs again" in state.history[-1]
    assert [leaf.kind for leaf, _ in place.log._leaves] == ["crt", "stp", "prv", "tst"]
    assert (place.out / "measurement").exists()


def test_nothing_is_measured_again_while_an_earlier_result_is_not_in_the_log(place: Any, run: Run) -> None:
    raw_criteria, digest = criteria(place)
    script = 'echo \'{\\"bits-per-byte\\": \\"3.25\\"}\' > /out/measurement'
    raw = place.step_file(script, build="evaluate", outputs=("measurement",), name="model")
    place.outbox.mkdir(parents=True)
    (place.outbox / ("0" * 64 + ".refused")).write_bytes(b"the one that says FAILED")
    failed(run(place.order(raw, criteria=raw_criteria, criteria_digest=digest)), "results-wait")
    assert place.log._leaves == []
    assert run(place.order(place.step_file())).state == "done", "other steps go on"


class Dying:
    """A way to the log that breaks off after so many records."""

    def __init__(self, log: Any, *, after: int) -> None:
        self._log = log
        self._left = after

    def append(self, envelope: bytes) -> int:
        if not self._left:
            raise Unavailable("died", "the process died here")
        self._left -= 1
        return int(self._log.append(envelope))


def test_criteria_other_than_the_signed_ones_are_refused(place: Any) -> None:
    _, digest = criteria(place)
    other, _ = criteria(place, "9.5")
    raw = place.step_file("true", build="evaluate", outputs=("measurement",), name="model")
    refused(place, place.order(raw, criteria=other, criteria_digest=digest), "step-criteria")
