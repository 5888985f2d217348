"""The load of a lab at work, for a few seconds: nothing that was acknowledged is missing or there twice after a service died."""

from __future__ import annotations

from bench import load
from support.postgresql import Store


def test_every_acknowledged_record_is_in_the_log_once_after_one_of_two_services_was_killed(store: Store) -> None:
    found = load.measure(store, people=20, rate=20, seconds=4)
    assert len(found.waits_s) == 80
    assert found.sent_again > 0
    rows = load.rows(found, people=20, rate=20, seconds=4)
    assert [row["unit"] for row in rows] == ["ms", "ms"]


def test_without_long_nothing_is_measured() -> None:
    assert load.run() == []
