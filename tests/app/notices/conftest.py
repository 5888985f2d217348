"""A lab with a log, of which people are told."""

from __future__ import annotations

import pytest

from support.world import World, make_world


@pytest.fixture
def world() -> World:
    return make_world()
