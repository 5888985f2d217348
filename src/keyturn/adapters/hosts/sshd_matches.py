"""Find what sshd's configuration says for some connections alone: below `Match`, in any of its files.

`sshd -T` says what is in force for one user from one address, and `Match` also tells apart by address, host, port and interface,
and accounts that nobody thought of asking about. So what is below any `Match` is read here: sshd_config(5), Match and Include.

This is NOT what is in force: that is `sshd_config.effective`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from glob import glob
from pathlib import Path

from keyturn.adapters.files.config_files import read_small
from keyturn.errors import KeyturnError, Unavailable

__all__ = ["harmful_variables", "said_for_some"]

FILES_MAX = 200
DEPTH_MAX = 16
_BASE = Path("/etc/ssh")
_CLOSES = frozenset({"no", "none"})
_NEVER_CLOSES = frozenset({"authenticationmethods"})
_HARMLESS = re.compile(r"(?:LANG|LANGUAGE|LC_[A-Z*?]+|TERM|COLORTERM|NO_COLOR|XMODIFIERS|GIT_PROTOCOL)\Z")
"""What may be taken over of a client's environment: language and terminal. What a shell or the loader reads (BASH_ENV,
LD_PRELOAD) runs something else than the command of a grant."""


def harmful_variables(patterns: Iterable[str]) -> tuple[str, ...]:
    """Those of AcceptEnv's `patterns` by which a client could say more than its language and terminal."""
    return tuple(one for one in patterns if not _HARMLESS.match(one))


def said_for_some(config: Path, wanted: Mapping[str, str], *, environment: bool) -> tuple[str, ...]:
    """Each line below a `Match` of `config`, or of what it includes, that says of a setting in `wanted` something else;
    with `environment`, also each that takes over what could do harm of a client's environment.

    A line that closes (`no`, `none`) is no other door. `Unavailable` when a file cannot be read.
    """
    known = {name.lower(): value.lower() for name, value in wanted.items()}
    found = []
    for path, number, words in _below_match(config, matched=False, depth=0, files=[]):
        keyword, value = words[0].lower(), " ".join(words[1:])
        if environment and keyword == "acceptenv" and harmful_variables(words[1:]):
            found.append(f"AcceptEnv without `{value[:80]}`, found for some in {path} line {number}")
        if keyword not in known or value.lower() == known[keyword]:
            continue
        if keyword in _NEVER_CLOSES or value.lower() not in _CLOSES:
            found.append(f"{keyword} {known[keyword]}, found `{value[:80]}` for some, in {path} line {number}")
    return tuple(found)


def _below_match(path: Path, *, matched: bool, depth: int, files: list[Path]) -> Iterator[tuple[Path, int, list[str]]]:
    """Every line that holds for some alone; `matched` when the file is included below a `Match`."""
    files.append(path)
    if len(files) > FILES_MAX or depth > DEPTH_MAX:
        raise Unavailable("sshd-config", f"sshd's configuration has more than {FILES_MAX} files, or includes itself")
    try:
        lines = read_small(path).decode("utf-8", "replace").splitlines()
    except KeyturnError as err:
        raise Unavailable(
            "sshd-config", f"`{path}`, a file of sshd's configuration, cannot be read", hint="run it as root"
        ) from err
    for number, line in enumerate(lines, 1):
        words = _words(line)
        if not words:
            continue
        if words[0].lower() == "match":
            matched = True
        elif words[0].lower() == "include":
            for pattern in words[1:]:
                for one in sorted(glob(str(_BASE / pattern))):  # noqa: PTH207  # as sshd: without hidden files
                    yield from _below_match(Path(one), matched=matched, depth=depth + 1, files=files)
        elif matched:
            yield path, number, words


def _words(line: str) -> list[str]:
    """The words of a line, whose keyword may end in `=`; a line that cannot be split is taken by its blanks."""
    keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
    if not keyword or keyword.startswith("#"):
        return []
    try:
        return [keyword, *shlex.split(rest, comments=True)]
    except ValueError:
        return [keyword, *rest.split()]
