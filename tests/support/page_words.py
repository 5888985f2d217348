"""Look at what a documentation page tells people to type, without running it: commands, their options, and a policy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from keyturn.policy.lint import refuse_unapprovable
from keyturn.policy.load import load
from support.labs import make_lab
from tools import cli_reference

__all__ = ["commands_of", "require_known_options", "require_publishable"]


def commands_of(page: str) -> list[list[str]]:
    """The words of each keyturn command that `page` shows, up to `--` or a redirection."""
    lines = re.findall(r"^    (?:KEYTURN_\S+ )?(keyturn [^>\n]+)", page.replace("\\\n", " "), re.MULTILINE)
    found = [shlex.split(line, comments=True) for line in lines]
    return [words[: words.index("--")] if "--" in words else words for words in found]


def require_known_options(page: str, *, count: int) -> None:
    """Fail unless `page` shows `count` commands, and each has the options that it is given."""
    commands = dict(cli_reference.commands())
    found = commands_of(page)
    assert len(found) == count
    for words in found:
        name = next(" ".join(words[:n]) for n in (4, 3, 2) if " ".join(words[:n]) in commands)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


def require_publishable(page: str, resources: Mapping[str, tuple[str, ...]]) -> None:
    """Fail unless the policy that `page` shows loads in a lab of `ops` and `security`, and all of it can be approved."""
    policy = re.search(r"^    @id.*?;$", page, re.MULTILINE | re.DOTALL)
    assert policy is not None
    lab = make_lab(
        humans=("ada", "bob"),
        groups={"ops": ("ada",), "security": ("bob",)},
        resources=dict(resources),
        policy={"main": policy.group()},
    )
    refuse_unapprovable(load(lab.state))
