"""Who may order a step of a builder, and how often: each order that is refused leaves nothing in the log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from keyturn.adapters.files.job_files import JobFiles
from keyturn.errors import Conflict, Refused, Unavailable
from keyturn.formats import dsse
from keyturn.service.builder_service import BuilderService, create_app
from support.builders import Run, refused
from support.labs import NOW, make_key
from support.power import Power


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
