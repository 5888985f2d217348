"""Run every benchmark, print the table, write bench-out/results.json, and keep the table in docs/benchmarks.md.

    python -m bench                 # all
    python -m bench manifest log    # these modules of bench/ (the page is left alone)
    python -m bench --long          # the large sizes too: the page's second table has what they add
    python -m bench --strict        # exits with 1 when a goal does not hold, too

Exits with 1 when a benchmark broke. Without `--strict` a goal that does not hold is shown as such, and fails nothing: the
machine may be busy.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import pkgutil
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import bench
from bench.measure import Row

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench-out" / "results.json"
BEGIN, END = "<!-- table: written by `make bench` -->\n", "<!-- end of table -->\n"
BEGIN_LONG = "<!-- table: written by `make bench-long` -->\n"
KEYS = {"name", "value", "unit", "goal", "holds", "peer", "spread"}


def names() -> list[str]:
    """Name the modules of bench/ that measure something."""
    return sorted(
        module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in {"__main__", "measure"}
    )


def rows_of(name: str, *, long: bool) -> list[Row]:
    """Run one benchmark."""
    run = importlib.import_module(f"bench.{name}").run
    wants_long = "long" in inspect.signature(run).parameters
    rows: list[Row] = run(long=long) if wants_long else run()
    for row in rows:
        if set(row) != KEYS:
            raise ValueError(f"bench/{name}.py: expected the keys {sorted(KEYS)}, got {sorted(row)}")
    return rows


def cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Give the texts of the table, row by row."""
    for row in rows:
        holds = {True: "yes", False: "NO", None: ""}[row["holds"]]  # type: ignore[index]  # bool or None by `row`
        value, spread = float(row["value"] or 0), float(row["spread"] or 0)
        shown = f"{_number(value)} {row['unit']}"
        yield (
            str(row["name"]),
            shown,
            _number(spread) if spread else "",
            str(row["goal"]),
            holds,
            str(row["peer"] or ""),
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


HEADER = ("what", "measured", "spread", "goal", "holds", "peer")


def markdown(rows: Sequence[Row]) -> str:
    """Render the table for docs/benchmarks.md, with what it was measured on."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in cells(rows)]
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return "\n".join([*lines, "", f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())} with {where}."]) + "\n"


def keep(page: str, table: str, *, mark: str = BEGIN) -> str:
    """Put `table` between the line `mark` of `page` and the end of the table that begins there."""
    before, begin, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {mark.strip()!r} and {END.strip()!r} in docs/benchmarks.md")
    return before + begin + table + end + after


def kept(page: str, rows: Sequence[Row], *, long: bool) -> str:
    """Give `page` with `rows` in its first table, or with those that the first one does not name in its second."""
    if not long:
        return keep(page, markdown(rows))
    first = page.partition(BEGIN)[2].partition(END)[0]
    return keep(page, markdown([row for row in rows if f"| {row['name']} |" not in first]), mark=BEGIN_LONG)


def show(rows: Sequence[Row], console: Console) -> None:
    """Draw the table on a terminal."""
    table = Table(*HEADER)
    for texts in cells(rows):
        table.add_row(*texts, style="red" if texts[4] == "NO" else None)
    console.print(table)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Keyturn against its goals.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names()) or 'none yet'}")
    parser.add_argument("--long", action="store_true", help="the large sizes too")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal does not hold")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(names())
    if unknown:
        parser.error(f"expected names of {', '.join(names())}, got `{min(unknown)}`")

    rows: list[Row] = []
    broken = []
    for name in asked.names or names():
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        try:
            rows += rows_of(name, long=asked.long)
        except Exception:  # noqa: BLE001  # one broken benchmark must not hide the others; the exit status says so
            traceback.print_exc()
            broken.append(name)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(rows, Console(width=max(Console().width, 160)))
    if rows and not asked.names and not broken:
        PAGE.write_text(kept(PAGE.read_text(encoding="utf-8"), rows, long=asked.long), encoding="utf-8")
    if broken:
        sys.exit(f"bench: broken: {', '.join(broken)}")
    missed = [str(row["name"]) for row in rows if row["holds"] is False]
    if asked.strict and missed:
        sys.exit(f"bench: {len(missed)} goal(s) do not hold: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
