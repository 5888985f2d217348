"""Measurements against the goals of docs/benchmarks.md: each module here measures one thing (`make bench`).

A module `bench/<name>.py` has a function `run()` that gives rows made by `bench.measure.row`; with a parameter `long` it is
told whether the large sizes are wanted (`make bench-long`).

Test labs and records come from tests/support, under the name that tests know them by: `from support.labs import make_lab`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
