"""One address makes so many requests, and no more; nobody else pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Request, get, post
from litestar.testing import TestClient

from keyturn.adapters.over_http import errors_over_http
from keyturn.errors import Unavailable
from keyturn.service import rates as limits
from keyturn.service import shell
from keyturn.service.rates import BURST_S, RateLimit, Rates


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def spend(limit: RateLimit, address: str, *, reading: bool = False) -> int:
    """Take tokens until one is refused; gives how many there were."""
    taken = 0
    while True:
        try:
            limit.take(address, reading=reading)
        except Unavailable:
            return taken
        taken += 1


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def limit(watch: Watch) -> RateLimit:
    return RateLimit(Rates(writes=2, reads=20), clock=watch)


def test_a_burst_is_let_through_and_then_the_rate(limit: RateLimit, watch: Watch) -> None:
    assert spend(limit, "192.0.2.1") == 2 * BURST_S
    watch.at += 1
    assert spend(limit, "192.0.2.1") == 2
    watch.at += 1000
    assert spend(limit, "192.0.2.1") == 2 * BURST_S


def test_reading_and_writing_are_counted_apart(limit: RateLimit) -> None:
    spend(limit, "192.0.2.1")
    assert spend(limit, "192.0.2.1", reading=True) == 20 * BURST_S


def test_one_address_uses_up_nothing_of_another(limit: RateLimit) -> None:
    spend(limit, "192.0.2.1")
    assert spend(limit, "192.0.2.2") == 2 * BURST_S


@pytest.mark.parametrize(
    ("other", "left"),
    [
        pytest.param("2001:db8::2", 0, id="another address of the same /64 is the same client"),
        pytest.param("2001:db8:0:1::1", 20, id="another network is another client"),
        pytest.param("::ffff:192.0.2.1", 20, id="an IPv4 address in IPv6's words is no network of many"),
        pytest.param("fe80::1%eth0", 20, id="a zone is no part of it"),
        pytest.param("no:address", 20, id="what is no address is one client"),
    ],
)
def test_who_has_a_network_of_ipv6_is_one_client(limit: RateLimit, other: str, left: int) -> None:
    spend(limit, "2001:db8::1")
    assert spend(limit, other) == left


def test_who_is_told_to_wait_is_told_how_long(limit: RateLimit) -> None:
    spend(limit, "192.0.2.1")
    with pytest.raises(Unavailable, match="too-many-requests") as refused:
        limit.take("192.0.2.1", reading=False)
    assert refused.value.retry_after_s == 1


def test_waiting_as_long_as_was_said_is_enough(watch: Watch) -> None:
    limit = RateLimit(Rates(writes=0.1, reads=1), clock=watch)
    spend(limit, "192.0.2.1")
    with pytest.raises(Unavailable) as refused:
        limit.take("192.0.2.1", reading=False)
    assert refused.value.retry_after_s == 10
    watch.at += refused.value.retry_after_s
    limit.take("192.0.2.1", reading=False)


def test_memory_is_bounded_however_many_addresses_ask(limit: RateLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADDRESSES_MAX", 100)
    for number in range(1000):
        limit.take(f"192.0.{number // 250}.{number % 250}", reading=False)
    assert len(limit._buckets) == 100


def test_rates_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Rates(writes=0)


@get("/read")
async def read() -> bytes:
    """Reads."""
    return b""


@post("/write", status_code=200)
async def write(request: Request[Any, Any, Any]) -> bytes:
    """Writes."""
    return await request.body()


@pytest.fixture
def client() -> Iterator[TestClient[Any]]:
    with TestClient(shell.build([read, write], title="Counted", rates=Rates(writes=0.2, reads=0.3))) as client:
        yield client


def test_too_many_requests_are_a_problem_with_retry_after(client: TestClient[Any]) -> None:
    assert [client.post("/write").status_code for _ in range(3)] == [200, 200, 429]
    answer = client.post("/write")
    said = errors_over_http.parse(answer.content)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert said is not None
    assert (said.code, said.status, answer.headers["Retry-After"]) == (
        "too-many-requests",
        429,
        str(said.retry_after_s),
    )
    raised = errors_over_http.as_raised(said)
    assert isinstance(raised, Unavailable)
    assert raised.retry_after_s == said.retry_after_s


def test_health_and_metrics_are_asked_at_any_rate(client: TestClient[Any]) -> None:
    while client.get("/read").status_code == 200:
        pass
    for _ in range(20):
        assert client.get("/health").status_code == 200
        assert client.get("/metrics").status_code == 200
    assert 'keyturn_refusals_total{code="too-many-requests"} 1.0' in client.get("/metrics").text
