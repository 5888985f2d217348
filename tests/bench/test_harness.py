"""The bench harness: ratios, rows, and the table that it keeps; no time is measured here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as harness
from bench.measure import median_and_spread, paired, percentile, row

ROOT = Path(__file__).resolve().parents[2]


def test_a_row_says_whether_its_goal_holds() -> None:
    assert row("a", 1.4, "x", at_most=1.4)["holds"] is True
    assert row("a", 1.5, "x", at_most=1.4)["holds"] is False
    assert row("a", 10_000, "/s", at_least=10_000)["holds"] is True
    assert row("a", 9_999, "/s", at_least=10_000)["holds"] is False
    assert row("a", 3, "s")["holds"] is None
    assert row("a", 1, "/s", at_least=10_000)["goal"] == ">= 10,000"
    with pytest.raises(ValueError, match="one bound"):
        row("a", 1, "x", at_most=1, at_least=1)


def test_ours_and_the_peer_take_turns_and_change_who_goes_first() -> None:
    order: list[str] = []
    found = paired(lambda: order.append("o"), lambda: order.append("p"), rounds=4, calls=1)
    assert "".join(order) == "oppooppo"
    assert found.ratio > 0
    assert found.rate_ratio == 1 / found.ratio


def test_median_spread_and_percentile() -> None:
    assert median_and_spread([1, 2, 3, 4, 100]) == (3, 2)
    assert median_and_spread([5]) == (5, 0)
    assert percentile([4, 1, 3, 2], 50) == 2
    assert percentile([4, 1, 3, 2], 100) == 4
    assert percentile([7], 1) == 7


def test_the_table_is_put_between_the_marks_and_nothing_else_changes() -> None:
    page = f"above\n{harness.BEGIN}stale\n{harness.END}below\n"
    table = harness.markdown([row("a | b", 1234.5, "/s", at_least=1000, peer="raw"), row("c", 0.5, "x", at_most=0.1)])
    kept = harness.keep(page, table)
    assert kept.startswith("above\n")
    assert kept.endswith("below\n")
    assert "stale" not in kept
    assert "| a \\| b | 1,234 /s |  | >= 1,000 | yes | raw |" in kept
    assert "| NO |" in kept
    assert harness.keep(kept, table) == kept
    with pytest.raises(ValueError, match="expected the lines"):
        harness.keep("no marks", table)


def test_the_page_has_the_marks() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert harness.BEGIN in page
    assert harness.END in page


def test_an_unknown_benchmark_is_named() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "nope"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "got `nope`" in done.stderr


def test_every_benchmark_can_be_run() -> None:
    texts = {name: (ROOT / "bench" / f"{name}.py").read_text(encoding="utf-8") for name in harness.names()}
    assert [name for name, text in texts.items() if "\ndef run(" not in text] == []


def test_rows_are_json() -> None:
    assert json.loads(json.dumps([row("a", 1.0, "x", at_most=2)]))[0]["holds"] is True
