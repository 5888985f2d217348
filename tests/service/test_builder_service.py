"""A builder runs what a member signed, once, and signs what it saw; whatever else is asked of it is refused."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from keyturn.adapters.over_http.builder_over_http import JobState
from keyturn.bulk import manifest
from keyturn.crypto import dsse_signing
from keyturn.formats import dsse, provenance
from keyturn.formats.digest import parse_sha256, sha256
from keyturn.service.builder_service import BuilderService, create_app
from support.builders import Place, Run, failed


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
        pytest.param("truncate -s 100G /out/model", "file-sparse", id="leaves 100 GB that nobody wrote"),
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
