"""A builder runs what a member signed, once, and signs what it saw; whatever else is asked of it is refused."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from keyturn.adapters.files.job_files import JobFiles
from keyturn.adapters.files.outbox_files import OutboxFiles
from keyturn.adapters.over_http.builder_over_http import JobState, Order
from keyturn.bulk import manifest
from keyturn.crypto import dsse_signing
from keyturn.errors import Conflict, KeyturnError, Refused, Unavailable
from keyturn.formats import dsse, provenance, test_result
from keyturn.formats.digest import parse_sha256, sha256
from keyturn.service.builder_service import BuilderService, create_app
from support.builders import Place
from support.evaluations import criteria
from support.labs import NOW, make_key, make_lab
from support.power import Power

Run = Callable[[Order], JobState]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, make_lab(humans=("ada", "bob")))


@pytest.fixture
def run(place: Place) -> Iterator[Callable[..., JobState]]:
    """Order a step of a running builder, and wait until it is done or failed."""
    service = BuilderService(place.parts())
    service.start()

    def run_it(order: Order) -> JobState:
        return finish(service, service.order(order).job)

    yield run_it
    service.stop()


def finish(service: BuilderService, job: str) -> JobState:
    return service.state(job, wait_s=60)


@pytest.fixture
def client(place: Place) -> Iterator[TestClient[Any]]:
    with TestClient(create_app(place.parts())) as client:
        yield client


def provenance_of(place: Any, state: JobState) -> provenance.Provenance:
    assert state.outcome is not None, state
    for index in range(len(place.log._leaves)):
        leaf = place.log._leaves[index][0]
        if leaf.record == state.outcome.provenance:
            envelope = dsse.parse_own(place.log.envelope(parse_sha256(leaf.envelope)))
            dsse_signing.verify_one(envelope, place.lab.builder_keys["builder"].public)
            return provenance.read(envelope.payload)
    raise AssertionError("the provenance is not in the log")


def failed(state: JobState, code: str) -> str:
    assert state.state == "failed", state
    assert state.error is not None
    assert state.error.code == code, state.error
    return state.error.detail


def test_a_step_runs_and_its_provenance_is_in_the_log_after_its_request(place: Any, run: Run) -> None:
    order = place.order(place.step_file())
    state = run(order)
    assert state.state == "done", state.error
    assert (place.out / "model").read_text() == "hello\n"
    made = provenance_of(place, state)
    assert made.builder.kind == "builder"
    assert made.sandbox == "bubblewrap"
    assert {d.name for d in made.dependencies if d.role != "runtime"} == {"data", "step.toml"}
    assert str(made.outputs[0].digest) == str(manifest.make(place.out / "model").identity)
    assert place.log.append(order.request) == 0
    assert len(place.log._leaves) == 2
    receipt = json.loads((place.out / "step.json").read_text())
    assert receipt["outputs"] == {"model": str(made.outputs[0].digest)}


def test_what_a_traced_step_opened_is_a_byproduct_by_digest(place: Any, run: Run) -> None:
    state = run(place.order(place.step_file() + b"traced = true\n"))
    assert state.state == "done", state.error
    assert state.outcome is not None
    assert (state.outcome.undeclared, state.outcome.unread) == ((), ("step.toml",))
    listed = (place.out / "step.opened.json").read_bytes()
    byproducts = {one.name: str(one.digest) for one in provenance_of(place, state).byproducts}
    assert byproducts["opened"] == f"sha256:{sha256(listed)}"
    assert {"of": "input:data", "path": "/in/data/a.txt"} in json.loads(listed)["opened"]


def test_the_next_step_takes_its_digest_from_the_receipt(place: Any, run: Run) -> None:
    run(place.order(place.step_file()))
    raw = place.step_file(
        "cat /in/data /in/data > /out/model", digest="from-step:first/model", source="made/model", build="train"
    )
    order = place.order(raw, destination=str(place.work / "second"))
    state = run(order)
    assert state.state == "done", state.error
    assert (place.work / "second" / "model").read_text() == "hello\nhello\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("exit 3", "step-failed", id="fails"),
        pytest.param("sleep 60", "step-timeout", id="takes too long"),
        pytest.param("true", "output-missing", id="leaves nothing"),
        pytest.param("ln -s /etc/passwd /out/model", "file-symlink", id="leaves a link"),
        pytest.param("mkdir /out/model && ln -s ../../data /out/model/x", "file-symlink", id="leaves a link below"),
        pytest.param("mkfifo /out/model", "file-special", id="leaves a pipe"),
        pytest.param("mkdir /out/model", "directory-empty", id="leaves an empty directory"),
        pytest.param(
            "mkdir /out/model; cd /in/data; for f in *; do cat $f > /out/model/$f; done",
            "output-is-input",
            id="leaves what it took: its chain would be a circle",
        ),
        pytest.param("touch /out/../model", "step-failed", id="writes beside /out"),
        pytest.param("mkdir /out/model; touch /out/model/A /out/model/a", "path-folds", id="leaves names that fold"),
    ],
)
def test_of_a_step_that_misbehaves_nothing_is_visible_and_nothing_is_signed(
    place: Any, run: Run, script: str, code: str
) -> None:
    place.data()
    failed(run(place.order(place.step_file(script, timeout_s=1))), code)
    assert sorted(os.listdir(place.work)) == ["data"]
    assert [leaf.kind for leaf, _ in place.log._leaves] == ["stp"]


@pytest.mark.parametrize(
    ("script", "kept"),
    [
        pytest.param(
            "mkdir /out/model; cd /in/data; for f in *; do cat $f > /out/model/$f; done; echo card > /out/model/README.md",
            True,
            id="adds a card",
        ),
        pytest.param("mkdir /out/model; echo other > /out/model/a.txt", False, id="swaps the weights"),
        pytest.param("mkdir /out/model; echo card > /out/model/README.md", False, id="leaves the weights out"),
        pytest.param("mkdir /out/model; cat /in/data/a.txt > /out/model/b.txt", False, id="renames the weights"),
        pytest.param("cat /in/data/a.txt > /out/model", False, id="leaves a file of another name"),
    ],
)
def test_what_is_packed_is_the_model_as_it_was(place: Any, run: Run, script: str, kept: bool) -> None:
    state = run(place.order(place.step_file(script, build="package", name="model")))
    if kept:
        assert state.state == "done", state.error
    else:
        failed(state, "package-other-model")
        assert [leaf.kind for leaf, _ in place.log._leaves] == ["stp"]


def test_a_package_of_something_that_is_called_otherwise_keeps_no_model(place: Any, run: Run) -> None:
    state = run(place.order(place.step_file("echo x > /out/model", build="package")))
    assert state.state == "done", state.error


def test_a_step_cannot_leave_directories_that_are_too_deep_to_remove(place: Any, run: Run) -> None:
    loop = "for {} in 1 2 3 4 5 6 7 8 9 0; do "
    script = f"mkdir /out/model; cd /out/model; {loop.format('i')}{loop.format('j')}mkdir d; cd d; done; done"
    failed(run(place.order(place.step_file(script))), "directory-too-deep")
    assert sorted(os.listdir(place.work)) == ["data"]


def test_a_set_uid_bit_does_not_leave_the_sandbox(place: Any, run: Run) -> None:
    script = "mkdir /out/model; cat /usr/bin/sh > /out/model/sh; chmod 6777 /out/model/sh /out/model"
    assert run(place.order(place.step_file(script))).state == "done"
    assert stat.S_IMODE((place.out / "model" / "sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((place.out / "model").stat().st_mode) == 0o755


def test_the_builders_key_and_the_lab_are_not_reachable(place: Any, run: Run) -> None:
    places = f"{place.key_file} /in/../lab/builder/key {place.root} {place.root}/lab"
    script = f"for p in {places}; do [ -e $p ] && echo REACHED; done; cat {place.key_file} /proc/1/environ; echo LOOKED; exit 9"
    message = failed(run(place.order(place.step_file(script))), "step-failed")
    assert "LOOKED" in message
    assert "REACHED" not in message
    assert "PRIVATE KEY" not in message


def test_a_terminal_escape_in_what_a_step_says_is_shown_as_text(place: Any, run: Run) -> None:
    message = failed(run(place.order(place.step_file("echo '\\\\033[31mred'; exit 1"))), "step-failed")
    assert "\x1b" not in message
    assert "\\x1b[31mred" in message


def test_an_input_that_is_not_what_was_signed_is_refused_before_anything_is_logged(place: Any, run: Run) -> None:
    order = place.order(place.step_file())
    (place.work / "data" / "a.txt").write_text("changed")
    failed(run(order), "input-digest")
    assert place.log._leaves == []


def test_an_input_that_changes_while_the_step_runs_is_refused(place: Any, run: Run) -> None:
    # The input is also written to by somebody outside, here by the test's own thread, when the step says it runs.
    os.mkfifo(place.work / "signal")
    order = place.order(place.step_file("sleep 1; cat /in/data/a.txt > /out/model"))
    service = BuilderService(place.parts())
    service.start()
    job = service.order(order).job
    while service.state(job).stage != "running":
        service.state(job, wait_s=0.01)
    (place.work / "data" / "a.txt").write_text("evil!\n")
    failed(service.state(job, wait_s=60), "input-changed")
    service.stop()
    assert not place.out.exists()


def test_a_snapshot_is_not_touched_by_a_change_outside(place: Any, run: Run) -> None:
    state = run(place.order(place.step_file(check="snapshot")))
    assert state.state == "done"
    assert {d.check for d in provenance_of(place, state).dependencies if d.name == "data"} == {"snapshot"}


def test_on_read_is_refused_rather_than_claimed(place: Any, run: Run) -> None:
    failed(run(place.order(place.step_file(check="on_read"))), "step-check")


@pytest.mark.parametrize(
    ("what", "code"),
    [
        pytest.param({"destination": "/etc/keyturn-test"}, "path-not-allowed", id="outputs outside"),
        pytest.param({"destination": "{work}/../lab/gates"}, "path-not-allowed", id="outputs in the lab"),
        pytest.param({"destination": "{work}/link"}, "destination-taken", id="outputs through a link"),
        pytest.param({"destination": "{work}/link/x"}, "path-not-allowed", id="outputs below a link"),
        pytest.param({"destination": "{work}/data"}, "destination-taken", id="outputs over what is there"),
    ],
)
def test_outputs_go_only_where_the_builder_allows(place: Any, run: Run, what: dict[str, str], code: str) -> None:
    (place.work / "link").symlink_to(place.root / "lab")
    changes = {key: value.format(work=place.work) for key, value in what.items()}
    failed(run(place.order(place.step_file(), **changes)), code)
    assert place.log._leaves == []


@pytest.mark.parametrize("source", ["../lab/builder/key", "../lab", "..", "/etc/passwd", "inner/key"])
def test_inputs_come_only_from_where_the_builder_allows(place: Any, run: Run, source: str) -> None:
    (place.work / "inner").symlink_to(place.root / "lab" / "builder")
    failed(run(place.order(place.step_file(source=source, digest="sha256:" + "0" * 64))), "path-not-allowed")


def test_a_work_directory_around_the_lab_does_not_expose_it(place: Any) -> None:
    parts = place.parts()
    service = BuilderService(replace(parts, allowed=replace(parts.allowed, work=(place.root,))))
    service.start()
    for source in ("../lab/builder/key", "..", "../lab"):
        digest = manifest.make((place.work / source).resolve()).identity
        order = place.order(place.step_file(source=source, digest=str(digest)))
        failed(service.state(service.order(order).job, wait_s=60), "path-private")
    service.stop()


@pytest.mark.parametrize("path", ["/home", "/", "{root}/lab", "{root}"])
def test_a_runtime_is_only_what_the_builder_allows(place: Any, run: Run, path: str) -> None:
    raw = place.step_file(runtime=f'["/usr/bin/sh", "{path.format(root=place.root)}"]')
    failed(run(place.order(raw)), "path-not-allowed")


# --- who may order ------------------------------------------------------------------------------------------------


def refused(place: Any, order: Order, code: str) -> None:
    service = BuilderService(place.parts())
    with pytest.raises(KeyturnError) as caught:
        service.order(order)
    assert caught.value.code == code
    assert place.log._leaves == []
    assert not (place.root / "lab" / "builder" / "ran").exists()


def test_a_signature_by_another_key_is_refused(place: Any) -> None:
    refused(place, place.order(place.step_file(), key=make_key("mallory")), "signature-key")


def test_a_signature_by_another_member_is_refused(place: Any) -> None:
    refused(place, place.order(place.step_file(), key=place.lab.member_keys["bob"]), "signature-key")


def test_a_signature_that_does_not_verify_is_refused(place: Any) -> None:
    order = place.order(place.step_file())
    envelope = dsse.parse_own(order.request)
    signature = msgspec.structs.replace(envelope.signatures[0], sig=bytes(64))
    forged = dsse.render(msgspec.structs.replace(envelope, signatures=(signature,)))
    refused(place, msgspec.structs.replace(order, request=forged), "signature-invalid")


@pytest.mark.parametrize("what", ["member", "key"])
def test_a_suspended_member_or_key_is_refused(place: Any, what: str) -> None:
    ada = ("ada", place.lab.member_keys["ada"].public.keyid)

    def require_unsuspended(member: str, keyid: str) -> None:
        if (member, keyid) == ada:
            raise Refused("suspended", f"{what} is suspended")

    place.trust_now = replace(place.trust_now, require_unsuspended=require_unsuspended)
    refused(place, place.order(place.step_file()), "suspended")


@pytest.mark.parametrize("builder", [None, "other"])
def test_a_request_for_another_builder_is_refused(place: Any, builder: str | None) -> None:
    refused(place, place.order(place.step_file(), builder=builder), "step-builder")


def test_a_request_under_an_older_trust_is_refused(place: Any) -> None:
    order = place.order(place.step_file())
    place.trust_now = replace(place.trust_now, trust=place.lab.publish().state)
    refused(place, order, "step-trust-version")


@pytest.mark.parametrize("at", [NOW + 3600, NOW - 3600])
def test_a_request_of_another_time_is_refused(place: Any, at: int) -> None:
    order = place.order(place.step_file())
    place.clock.time = at
    refused(place, order, "step-request-old")


def test_another_step_file_than_the_signed_one_is_refused(place: Any) -> None:
    order = place.order(place.step_file())
    other = order.step_file.replace(b'mount = "/in/data"', b'mount = "/in/else"')
    assert other != order.step_file
    refused(place, msgspec.structs.replace(order, step_file=other), "step-differs")


def test_a_view_that_cannot_be_had_admits_nothing(place: Any) -> None:
    order = place.order(place.step_file())

    def none() -> Any:
        raise Unavailable("view-old", "the log does not answer")

    with pytest.raises(Unavailable):
        BuilderService(place.parts(trust_now=none)).order(order)


def test_a_request_runs_once_even_after_a_restart(place: Any, run: Run) -> None:
    order = place.order(place.step_file())
    assert run(order).state == "done"
    again = BuilderService(place.parts())
    with pytest.raises(Conflict) as caught:
        again.order(order)
    assert caught.value.code == "step-ran"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        pytest.param("base", "step-places", id="another directory to read from"),
        pytest.param("destination", "step-places", id="another directory to write to"),
        pytest.param("criteria", "step-criteria", id="criteria that nobody signed for"),
        pytest.param("unbound", "step-places", id="a request that names no directories"),
    ],
)
def test_who_reads_a_request_in_the_log_cannot_order_it_otherwise_and_use_it_up(
    place: Any, run: Run, wrong: str, code: str
) -> None:
    order = place.order(place.step_file())
    elsewhere: dict[str, Any] = {
        "base": {"base": str(place.work / "elsewhere")},
        "destination": {"destination": str(place.work / "stolen")},
        "criteria": {"criteria": b"{}"},
        "unbound": {"request": place.order(place.step_file(), builder="builder", unbound=True).request},
    }[wrong]
    with pytest.raises(Refused) as caught:
        BuilderService(place.parts()).order(msgspec.structs.replace(order, **elsewhere))
    assert caught.value.code == code
    assert run(order).state == "done", "the wrong order used nothing up"


def test_a_request_that_was_ordered_before_a_loss_of_power_does_not_run_after_it(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place.order(place.step_file())
    with Power(tmp_path, monkeypatch) as power:
        BuilderService(place.parts()).order(order)
        power.cut()
        with pytest.raises(Conflict, match="step-ran"):
            BuilderService(place.parts()).order(order)


def test_a_mark_that_cannot_be_kept_queues_nothing(place: Any) -> None:
    in_the_way = place.root / "file"
    in_the_way.write_text("")
    service = BuilderService(place.parts(jobs=JobFiles(in_the_way)))
    order = place.order(place.step_file())
    with pytest.raises(Unavailable, match="mark-unwritable"):
        service.order(order)
    with pytest.raises(Unavailable, match="job-unknown"):
        service.state(dsse.parse_own(order.request).record_digest)
    with TestClient(create_app(place.parts(jobs=JobFiles(in_the_way)))) as client:
        answer = client.post("/steps", content=msgspec.json.encode(order))
    assert (answer.status_code, answer.json()["code"]) == (503, "mark-unwritable")


def test_what_a_step_made_outlives_a_loss_of_power(
    place: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = place.work / "runs" / "first"
    order = place.order(place.step_file(), destination=str(made))
    with Power(tmp_path, monkeypatch) as power:
        state = run(order)
        power.cut()
    assert state.state == "done", state.error
    assert (made / "model").read_text() == "hello\n"
    assert json.loads((made / "step.json").read_text())["outputs"]


def test_the_queue_is_bounded(place: Any) -> None:
    service = BuilderService(place.parts())  # not started: everything waits
    raw = place.step_file()
    service.order(place.order(raw))
    assert service.state(service.order(place.order(raw)).job).ahead == 1
    with pytest.raises(Unavailable) as caught:
        service.order(place.order(raw))
    assert caught.value.code == "builder-busy"


# --- evaluations --------------------------------------------------------------------------------------------------


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


# --- over HTTP ----------------------------------------------------------------------------------------------------


def test_over_http_a_step_is_ordered_watched_and_done(place: Any, client: Any) -> None:
    answer = client.post("/steps", content=msgspec.json.encode(place.order(place.step_file())))
    assert answer.status_code == 202, answer.text
    job = answer.json()["job"]
    state = client.get(f"/steps/{job}?wait_s=10").json()
    assert state["state"] == "done"
    assert client.get("/about").json()["name"] == "builder"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"request":1}',
        msgspec.json.encode(
            {"request": base64.b64encode(b"x").decode(), "step_file": "", "base": "/", "destination": "/"}
        ),
        msgspec.json.encode({"request": "", "step_file": "", "base": "rel", "destination": "/", "more": 1}),
    ],
)
def test_over_http_a_hostile_order_is_a_named_error(client: Any, body: bytes) -> None:
    answer = client.post("/steps", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"]


def test_over_http_an_unknown_job_is_not_made_up(client: Any) -> None:
    assert client.get("/steps/" + "0" * 64).json()["code"] == "job-unknown"


def test_a_builder_says_how_many_steps_wait(client: TestClient[Any]) -> None:
    assert "keyturn_builder_waiting 0.0" in client.get("/metrics").text
