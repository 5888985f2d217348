"""Taken: the service with its database and every online key. It can delay; it opens nothing."""

from __future__ import annotations

import pytest

from support.taken_lab import TakenLab

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def test_the_honest_way_works(lab: TakenLab) -> None:
    lab.releases("first.pack")
