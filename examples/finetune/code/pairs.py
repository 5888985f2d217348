"""Pairs of sentences that belong together, and how often the right one is nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minilm import unit

__all__ = ["nearest_share", "read_pairs"]

Floats = NDArray[Any]


def read_pairs(directory: Path) -> tuple[list[str], list[str]]:
    """What is asked, and what answers it, from `pairs.tsv`."""
    lines = (directory / "pairs.tsv").read_text(encoding="utf-8").splitlines()
    asked, answers = zip(*(line.split("\t") for line in lines), strict=True)
    return list(asked), list(answers)


def nearest_share(asked: Floats, answers: Floats, dense: Floats) -> float:
    """The share of `asked` whose own answer is nearest of all, with `dense` behind both."""
    scores = unit(asked @ dense) @ unit(answers @ dense).T
    rank = (scores >= np.diag(scores)[:, None]).sum(1)
    return float((rank == 1).mean())
