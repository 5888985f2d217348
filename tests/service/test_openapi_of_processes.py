"""What docs/openapi/ promises, held against every running process of a lab: generated requests never meet a defect.

Each operation gets requests that fit its description and requests that break it. No answer is a 5xx, and each is of a status, a
media type and a shape that the document names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.databases import database_lab
from support.processes import wait_for
from support.signed_records import request
from tools import openapi

EXAMPLES = 25
# A host's gate needs an sshd and root, a bastion such a host; what they take is the database gate's code (`taking_away`).
# No door of a local gate opens for what comes by TCP: gates/own/test_live.py asks at its socket.
ELSEWHERE = {"host-gate", "bastion-gate", "local-gate"}
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
Urls = dict[str, str]


@schemathesis.serializer("application/x-pem-file")
def pem(_context: object, value: object) -> bytes:
    """A body that stands for a PEM file: whatever was generated for it."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def urls(make_lab_on_disk: Callable, tmp_path: Path) -> Iterator[Urls]:  # type: ignore[type-arg]
    lab = make_lab_on_disk()
    (tmp_path / "work").mkdir()
    (tmp_path / "database").mkdir()
    with (
        lab.witness() as (_, witness),
        lab.log() as (_, service),
        lab.gate() as (_, gate),
        lab.builder(tmp_path / "work") as (_, builder),
        lab.notifier() as (_, notifier),
        database_lab(tmp_path / "database") as database,
    ):
        database.start_gate()
        http = urllib3.PoolManager(retries=False)
        http.request("POST", f"{service}/submit", body=request(lab.lab, 1, at=int(time.time())))
        wait_for("a checkpoint", lambda: http.request("GET", f"{service}/checkpoint").status == 200 or None)
        yield {
            "service": service,
            "witness": witness,
            "release-gate": gate,
            "builder": builder,
            "notifier": notifier,
            "postgres-gate": database.gate_url,
        }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_generated_request_meets_a_defect(urls: Urls, mode: GenerationMode) -> None:
    assert urls.keys() == openapi.APPS.keys() - ELSEWHERE
    asked: dict[tuple[str, str], int] = {}
    for name, url in urls.items():
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for found in schema.get_all_operations():
            operation = found.ok()
            asked[name, operation.label] = ask(operation, mode)
    expected = {("service", "GET /index/kinds")} if mode is GenerationMode.NEGATIVE else set(asked)
    assert expected <= {operation for operation, times in asked.items() if times}


def ask(operation: Any, mode: GenerationMode) -> int:
    """Send generated requests to `operation` and check each answer; gives how many there were."""
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        nonlocal asked
        answer = case.call()
        asked += 1
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        case.validate_response(answer, checks=CHECKS)

    try:
        check()
    except Unsatisfiable:
        pass  # nothing breaks the description of an operation that takes nothing
    return asked
