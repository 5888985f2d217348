"""The page about the bastion: the policy that it shows loads, and its commands are ones that can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from keyturn.policy.lint import refuse_unapprovable
from keyturn.policy.load import load
from support.labs import make_lab
from tools import cli_reference

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "bastion.md").read_text(encoding="utf-8")


def test_its_policy_can_be_published() -> None:
    policy = re.search(r"^    @id.*?;$", PAGE, re.MULTILINE | re.DOTALL)
    assert policy is not None
    lab = make_lab(
        humans=("ada", "bob"),
        groups={"ops": ("ada",), "security": ("bob",)},
        resources={"hosts/gpu": (), "host/gpu1": ("hosts/gpu",)},
        policy={"main": policy.group()},
    )
    refuse_unapprovable(load(lab.state))


def test_its_commands_take_the_words_that_it_gives_them() -> None:
    commands = dict(cli_reference.commands())
    text = PAGE.replace("\\\n", " ")
    found = [shlex.split(line) for line in re.findall(r"^    (?:KEYTURN_\S+ )?(keyturn [^>\n]+)", text, re.MULTILINE)]
    assert len(found) == 11
    for words in found:
        name = next(" ".join(words[:n]) for n in (4, 3, 2) if " ".join(words[:n]) in commands)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words
