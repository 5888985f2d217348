"""A lab with two builders and an agent, and a chain in it that is not made yet."""

from __future__ import annotations

import pytest

from support.chains import MadeChain
from support.labs import make_lab


@pytest.fixture
def chain() -> MadeChain:
    return MadeChain(make_lab(builders=("builder", "other"), agents={"ada+coder": ("ada",)}))
