"""What a process counts of itself: enough to see it fail, and nothing of whom it serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import get
from litestar.params import FromPath
from litestar.testing import TestClient

from keyturn.errors import Refused, Unavailable
from keyturn.service import shell
from keyturn.service.metrics import Metrics


@get("/member/{member:str}")
async def refuse(member: FromPath[str]) -> None:
    """Refuses by a code that a server elsewhere might have made up."""
    raise Refused(member, f"not `{member}`")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(metrics: Metrics) -> Iterator[TestClient[Any]]:
    with TestClient(shell.build([refuse], title="Refusing", metrics=metrics)) as client:
        yield client


def figures(client: TestClient[Any]) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_requests_are_counted_by_route_and_status_and_not_by_whom_they_are_about(client: TestClient[Any]) -> None:
    for member in ("ada", "bob"):
        assert client.get(f"/member/{member}").status_code == 403
    found = figures(client)
    assert found['keyturn_http_requests_total{method="GET",route="/member/{member}",status="403"}'] == 2
    assert found['keyturn_http_request_seconds_count{route="/member/{member}"}'] == 2
    assert sum(value for name, value in found.items() if name.startswith("keyturn_http_requests_total")) == 2
    assert not [name for name in found if "/ada" in name]


def test_refusals_are_counted_by_code_and_codes_are_bounded(client: TestClient[Any]) -> None:
    for number in range(250):
        client.get(f"/member/code-{number}")
    client.get("/member/code-0")
    found = {name: value for name, value in figures(client).items() if name.startswith("keyturn_refusals_total")}
    assert found['keyturn_refusals_total{code="code-0"}'] == 2
    assert found['keyturn_refusals_total{code="other"}'] == 50
    assert len(found) == 201


def test_a_gauge_that_cannot_be_read_harms_no_other(client: TestClient[Any], metrics: Metrics) -> None:
    def away() -> float:
        raise Unavailable("log-away", "nobody there")

    metrics.gauge("keyturn_away", "Nobody knows.", away)
    metrics.gauge("keyturn_here", "Three.", lambda: 3)
    found = figures(client)
    assert found["keyturn_here"] == 3
    assert found["keyturn_away"] != found["keyturn_away"]
