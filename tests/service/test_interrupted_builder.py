"""A builder that dies, at any point and by any means: no order is lost, and nothing is done twice unseen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files import step_files
from keyturn.adapters.files.remembered_inputs import RememberedInputs
from keyturn.adapters.over_http.builder_over_http import BuilderOverHttp, JobState, Order
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.bulk import manifest
from keyturn.errors import Conflict, Refused
from keyturn.formats import checkpoint, dsse, leaf, note, provenance
from keyturn.formats.digest import parse_sha256
from keyturn.formats.provenance import Provenance
from keyturn.service.builder_service import DIED_MAX, BuilderService
from support.builders import Place
from support.commands import error_of, keyturn, said_by
from support.lab_on_disk import put_on_disk
from support.labs import make_lab
from support.processes import Process, wait_for

TESTS = Path(__file__).parents[1]


def test_a_builder_that_is_killed_before_any_of_its_writes_goes_on_with_the_same_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.killed", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 15, done.stderr
    for number, end in enumerate(found, 1):
        assert (end["state"], end["error"]) == ("done", None), (number, end, done.stderr)
        assert end["kinds"] == ["crt", "stp", "prv", "tst"], (number, "each once, and all of them")
        assert end["made"] == ["measurement", "step.json", "step.log"], number
        assert end["left"] == [], (number, "no staging directory and no order is left behind")
    unsynced = [end for end in found if end["before"] == "sync"]
    assert len(unsynced) >= 2, "the output, and the directory that it is in"
    for end in unsynced:
        assert end["attempt"] == 2, (
            "a command whose outputs were not durable yet has not ended: it runs again, and that is said"
        )
        assert "died while the command ran" in " ".join(end["history"])
    said = " ".join(line for end in found for line in end["history"])
    for what in ("had not begun", "died while the command ran", "the command had ended", "was signed already"):
        assert what in said


def test_a_real_builder_is_killed_in_a_command_and_while_what_it_signed_is_logged(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.place.clock.time -= (
        600  # longer ago than its `timeout_s`: what waits in a queue, or begins again, takes that time
    )
    first = people.order(
        "ls /out > /dev/null; if [ -e /out/progress/at ]; then cat /out/progress/at > /out/model;"
        r" printf '\\033]0;owned\\007'; cat /out/progress/at; else"
        " mkdir /out/progress; echo went on > /out/progress/at; echo in the first attempt; sleep 987; fi",
        "first",
        resume="/out/progress",
    )
    second = people.order("sleep 4; echo second > /out/model", "second")
    with people.lab.witness(), people.lab.log() as (log, url):
        with people.builder() as (builder, ordering):
            jobs = [ordering.order(order).job for order in (first, second)]
            wait_for("its progress", lambda: next(people.work.glob(".first.*/out/progress/at"), None), builder)
            wait_for("its sleep", lambda: sleepers() or None, builder)
            assert error_of(people.disposes())["code"] == "disposal-in-use", "its builder says that it runs"
            builder.child.kill()
            builder.child.wait()
            wait_for("the end of what ran in the sandbox", lambda: None if sleepers() else True, log)
        with people.builder() as (builder, ordering):
            until(ordering, jobs[1], lambda state: state.stage == "running", builder)
            assert said_by(people.keyturn("step", "show", f"stp-{jobs[0][:32]}", "--json"))["attempt"] == 2
            log.signal(signal.SIGSTOP)
            until(ordering, jobs[1], lambda state: state.stage == "logging", builder)
            builder.child.kill()
            builder.child.wait()
            log.signal(signal.SIGCONT)
        with people.builder() as (builder, ordering):
            state = until(ordering, jobs[1], lambda state: state.state == "done", builder)
            assert (state.attempt, "nothing runs again" in state.history[-1]) == (1, True), state
            with pytest.raises(Conflict, match="step-ran"):
                ordering.order(first)
            shown = people.keyturn("step", "show", f"stp-{jobs[0][:32]}").stdout
            for words in ("done", "attempt 2", "the builder died while the command ran, in attempt 1", "went on from"):
                assert words in shown, shown
            people.place.clock.time = SystemClock().now()
            failed = ordering.order(people.order("exit 3", "third")).job
            until(ordering, failed, lambda state: state.state == "failed", builder)
            assert error_of(people.disposes(), status=2)["code"] == "trust-root-unpinned", (
                "no step needs it, also none that failed"
            )
            waited = said_by(people.keyturn("step", "wait", f"stp-{jobs[0][:32]}", "--json"))
            assert waited["destination"] == str(people.work / "first")
        made = people.made(url)
        assert people.keyturn("step", "log", "first").stdout.strip() == r"\x1b]0;owned\x07went on"
        assert said_by(people.keyturn("step", "log", "first", "--json"))["log"] == "\x1b]0;owned\x07went on\n"
        assert made[0].byproducts[0].digest == manifest.make(people.work / "first" / "step.log").identity
        (people.work / "first" / "step.log").write_text("all is well\n")
        assert error_of(people.keyturn("step", "log", "first", "--json"))["code"] == "step-log-differs"
    assert [(one.step, one.request, one.attempt) for one in made] == [("first", jobs[0], 2), ("first", jobs[1], 1)]
    assert made[0].resumed is not None
    assert (people.work / "first" / "model").read_text() == "went on\n"
    assert (people.work / "second" / "model").read_text() == "second\n"
    assert [*people.work.glob(".*.keyturn")] == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, make_lab(humans=("ada", "bob")))


def finished(place: Place, job: str, **changes: Any) -> JobState:
    """How `job` ends at a builder that starts now."""
    service = BuilderService(place.parts(**changes))
    service.start()
    state = service.state(job, wait_s=60)
    service.stop()
    return state


def test_a_builder_that_is_told_to_stop_leaves_its_steps_to_the_next_one_and_that_is_no_death(place: Place) -> None:
    service = BuilderService(place.parts())
    service.start()
    script = "if [ -e /out/at ]; then cat /out/at > /out/model; else echo kept > /out/at; sleep 600; fi"
    order = place.order(place.step_file(script, resume="/out/at"))
    job = service.order(order).job
    while not [*place.work.glob(".made.*.keyturn/out/at")]:
        service.state(job, wait_s=0.01)
    waiting = service.order(place.order(place.step_file(), destination=str(place.work / "other"))).job
    service.stop()
    (kept, other) = place.parts().jobs.left()
    assert (kept.job, kept.attempts, kept.died, kept.running) == (job, 1, 0, False)
    assert other.job == waiting
    state = finished(place, job)
    assert (state.state, state.attempt) == ("done", 2), state
    assert state.resumed == str(manifest_of("kept\n", place))
    assert finished(place, waiting).state == "done"
    assert [*place.work.glob(".*.keyturn")] == []


def manifest_of(text: str, place: Place) -> object:
    (place.root / "at").write_text(text)
    return manifest.make(place.root / "at").identity


def test_a_step_that_kills_its_builder_each_time_is_given_up_and_said_so(place: Place) -> None:
    order = place.order(place.step_file())
    job = BuilderService(place.parts()).order(order).job
    jobs = place.parts().jobs
    jobs.keep(msgspec.structs.replace(jobs.left()[0], attempts=DIED_MAX, died=DIED_MAX - 1, running=True))
    state = finished(place, job)
    assert state.error is not None
    assert (state.state, state.error.code) == ("failed", "step-interrupted")
    assert place.log._leaves == []
    assert finished(place, job).error == state.error, "how it ended is known after a restart too"


def test_who_was_suspended_while_the_builder_was_down_has_nothing_run_and_new_trust_alone_stops_nobody(
    place: Place,
) -> None:
    jobs = [
        BuilderService(place.parts()).order(place.order(place.step_file(), destination=str(place.work / name))).job
        for name in ("first", "second")
    ]
    place.clock.time += 7 * 86400
    place.trust_now = replace(place.trust_now, trust=place.lab.publish().state)
    assert finished(place, jobs[0]).state == "done"

    def suspended(member: str, keyid: str) -> None:
        raise Refused("suspended", f"`{member}` is suspended")

    BuilderService(place.parts())
    order = place.order(place.step_file(), destination=str(place.work / "third"))
    kept = place.parts().jobs.take("0" * 64, msgspec.json.encode(order), now=0, number=9)
    place.trust_now = replace(place.trust_now, require_unsuspended=suspended)
    state = finished(place, kept.job)
    assert state.error is not None
    assert state.error.code == "suspended"
    assert not (place.work / "third").exists()


def test_inputs_that_were_read_are_not_read_again_unless_they_look_otherwise(place: Place, tmp_path: Path) -> None:
    held = RememberedInputs(tmp_path / "held")
    data = place.data()
    seen, made = manifest.look(data), manifest.contents(data)
    assert held.recall(data, seen) is None
    held.keep(data, seen, made)
    assert held.recall(data, seen) == made
    (data / "a.txt").write_text("other\n")
    assert held.recall(data, manifest.look(data)) is None
    (kept,) = (tmp_path / "held").iterdir()
    kept.write_bytes(kept.read_bytes()[:-3])
    assert held.recall(data, seen) is None, "torn by a loss of power"


def test_a_staging_directory_that_somebody_else_made_is_not_gone_on_with(place: Place) -> None:
    job = BuilderService(place.parts()).order(place.order(place.step_file())).job
    (kept,) = place.parts().jobs.left()
    room = step_files.room_of(place.out, kept.room)
    room.mkdir(mode=0o777)
    room.chmod(0o777)
    state = finished(place, job)
    assert state.error is not None
    assert state.error.code == "staging-taken"


def test_what_a_killed_run_without_a_builder_left_goes_with_the_next_and_what_lives_stays(place: Place) -> None:
    allowed = place.parts().allowed

    def run() -> step_files.LocalStepFiles:
        return step_files.LocalStepFiles(
            base=place.work, destination=place.out, allowed=allowed, memory=None, progress=None
        )

    dead, builders = (place.work / f".made.{token}.keyturn" for token in ("0" * 16, "0" * 32))
    dead.mkdir(mode=0o700)
    builders.mkdir(mode=0o700)
    with run() as first, run() as second:
        assert not dead.exists()
        assert builders.exists(), "a builder goes on with its own"
        assert Path(first.staging(None)[0]).exists()
        assert Path(second.staging(None)[0]).exists()


class People:
    """A lab on disk, served by real processes, and a work directory with a step to order."""

    def __init__(self, root: Path) -> None:
        self.place = Place(root / "orders", make_lab(humans=("ada", "bob"), now=SystemClock().now()))
        self.place.clock.time = SystemClock().now()
        self.work = self.place.work
        self.lab = put_on_disk(self.place.lab, root / "lab")

    def order(self, script: str, destination: str, **more: Any) -> Order:
        return self.place.order(self.place.step_file(script, **more), destination=str(self.work / destination))

    @contextmanager
    def builder(self) -> Iterator[tuple[Process, BuilderOverHttp]]:
        with self.lab.builder(self.work) as (process, url):
            yield process, BuilderOverHttp(HttpClient(url))

    def keyturn(self, *words: str) -> subprocess.CompletedProcess[str]:
        return keyturn(*words, place=self.work, home=self.lab.path / "nobody", lab=self.lab.path)

    def disposes(self) -> subprocess.CompletedProcess[str]:
        return self.keyturn("dispose", "data", "--reason", "retention", "--yes", "--json")

    def made(self, url: str) -> list[Provenance]:
        log = LogOverHttp(url)
        found = [
            leaf.parse(raw) for raw in log.leaves(0, checkpoint.parse_body(note.parse(log.checkpoint()).text).size)
        ]
        return [
            provenance.read(dsse.parse_own(log.envelope(parse_sha256(one.envelope))).payload)
            for one in found
            if one.kind == "prv"
        ]


def until(ordering: BuilderOverHttp, job: str, ready: Callable[[JobState], bool], process: Process) -> JobState:
    def state() -> JobState | None:
        found = ordering.state(job, wait_s=0)
        return found if ready(found) else None

    return wait_for("a state of the job", state, process)


def sleepers() -> list[str]:
    """Processes of the first attempt's command."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if place.read_bytes().startswith(b"sleep\x00987"):
                found.append(str(place))
        except OSError:
            continue
    return found
