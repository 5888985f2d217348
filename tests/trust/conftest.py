"""Fixtures of the trust room: a founded demo lab and a founded production lab."""

from __future__ import annotations

import pytest

from support.labs import Lab, make_lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    return make_lab(
        humans=("ada", "bob"),
        agents={"ada+coder": ("ada",)},
        groups={"releasers": ("ada", "bob")},
        nested_groups={"everyone": ("releasers",)},
        resources={"model/aurora": ("model/all",), "model/all": ()},
        policy={"release": "// nothing yet\n"},
    )


@pytest.fixture(scope="session")
def production() -> Lab:
    return make_lab(profile="production", humans=("ada", "bob", "cyd"), witnesses=("north", "south", "west"))
