"""The page about the bastion: the policy that it shows loads, and its commands are ones that can be typed."""

from __future__ import annotations

from pathlib import Path

from support.page_words import require_known_options, require_publishable

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "bastion.md").read_text(encoding="utf-8")


def test_its_policy_can_be_published() -> None:
    require_publishable(PAGE, {"hosts/gpu": (), "host/gpu1": ("hosts/gpu",)})


def test_its_commands_take_the_words_that_it_gives_them() -> None:
    require_known_options(PAGE, count=11)
