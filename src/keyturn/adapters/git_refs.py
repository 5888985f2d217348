"""Find a revision in a git repository by its files: where the repository is, what its settings say, which object a ref names.

Files are read as text, and of its configuration nothing is included or obeyed. What the objects say is for
`adapters.git_objects`, which hashes each again: a ref is anybody's word who writes there.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats import git_commit
from keyturn.formats.text import is_printable

__all__ = ["ENVIRONMENT", "digits_of", "name_of", "repository_parts", "resolve", "settings_of"]

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
"""Of each git that is run: nothing of the person's or the machine's configuration, no prompt, no fetch, no replacement."""
_SMALL_BYTES_MAX = 64 << 20
_REF = re.compile(r"[!-~]{1,250}\Z")


def repository_parts(path: Path) -> tuple[Path, Path]:
    """The repository's directory with its HEAD, and the one with its objects, refs and configuration."""
    path = path.absolute()
    if not path.exists():
        raise Usage("file-missing", f"expected a git repository at `{path}`, found nothing", hint="name its directory")
    there = path / ".git" if (path / ".git").exists() else path
    if there.is_file():  # a work tree or submodule that lies elsewhere
        there = _elsewhere(there, "gitdir:") or path
    common = (_elsewhere(there / "commondir", "") if (there / "commondir").is_file() else there) or there
    if not (common / "objects").is_dir() or not (there / "HEAD").is_file():
        raise Usage(
            "source-no-repository", f"expected a git repository at `{path}`", hint="name its directory, as . or x.git"
        )
    return there, common


def _elsewhere(pointer: Path, label: str) -> Path | None:
    """The directory that the file `pointer` names; None when it names none."""
    text = _small(pointer)
    said = text.removeprefix(label).strip()
    if not text.startswith(label) or not is_printable(said) or len(said) > 4096:
        return None
    return (pointer.parent / said).resolve()


def settings_of(common: Path) -> dict[str, str]:
    """What the repository's own file says, by name: read as text by git, with nothing included and nothing obeyed."""
    words = ["git", "config", "--file", str(common / "config"), "--no-includes", "--null", "--list"]
    try:
        done = subprocess.run(words, capture_output=True, env=ENVIRONMENT, cwd="/", timeout=20, check=False)
    except FileNotFoundError as err:
        raise Unavailable(
            "source-git", "`git` reads objects, and is not installed here", hint="apt-get install git"
        ) from err
    except subprocess.TimeoutExpired as err:
        raise Unavailable("source-git", "`git config` did not answer", hint="try again") from err
    if done.returncode != 0:
        raise Unavailable(
            "source-git", f"git cannot read `{common / 'config'}`", hint="`git config --list` there says why"
        )
    pairs = (one.partition("\n") for one in done.stdout.decode("utf-8", "surrogateescape").split("\0") if one)
    return {key.lower() if key.startswith("extensions.") else key: value for key, _, value in pairs}


def digits_of(settings: dict[str, str], path: Path) -> int:
    """How many digits an object id has there; `Refused` for a repository of a form that is not read."""
    digits = {"": 40, "sha1": 40, "sha256": 64}.get(settings.get("extensions.objectformat", ""))
    if digits is None or settings.get("extensions.refstorage", "files") != "files":
        raise Refused(
            "source-repository", f"`{path}`: expected a repository with objects by SHA-1 or SHA-256, refs in files"
        )
    return digits


def name_of(settings: dict[str, str], path: Path) -> str:
    """What people call the repository: where it comes from, without anybody's password; or its directory's name."""
    url = settings.get("remote.origin.url", "")
    name = re.sub(r"\A([a-z+]+://)[^/@]*@", r"\1", url) or path.absolute().name.removesuffix(".git")
    return name if re.match(r"[!-~]{1,400}\Z", name) else "repository"


def resolve(there: Path, common: Path, ref: str, digits: int) -> tuple[str, str]:
    """The whole name of `ref`, and the object id that its file says; an object id itself is `HEAD`. Raises `Usage`."""
    if git_commit.is_object_id(ref) and len(ref) == digits:
        return "HEAD", ref
    if not _REF.match(ref) or ".." in ref or ref.startswith("/"):
        raise Usage(
            "source-ref", f"expected a branch, tag or object id, got {ref[:80]!r}", hint="as main, v1.2 or HEAD"
        )
    packed = _packed(common / "packed-refs")
    if ref == "HEAD":
        head = _small(there / "HEAD").strip()
        if git_commit.is_object_id(head):
            return "HEAD", head
        ref = head.removeprefix("ref:").strip()
    tried = (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/remotes/{ref}")
    found = [(name, value) for name in tried if (value := _ref(common, name, packed)) is not None]
    if not found:
        raise Usage("source-ref", f"the repository has no ref `{ref}`", hint="`git show-ref` lists them")
    if len(found) > 1:
        raise Usage("source-ref", f"`{ref}` is a branch and a tag", hint=f"type it whole: {found[0][0]}")
    name, value = found[0]
    if not git_commit.is_object_id(value) or len(value) != digits:
        raise Usage("source-ref", f"`{name}` is no object id", hint="name a branch, tag or object id")
    return name, value


def _ref(common: Path, name: str, packed: dict[str, str]) -> str | None:
    place = common / name
    if ".." not in name and place.is_file() and place.resolve().is_relative_to(common.resolve()):
        return _small(place).strip()
    return packed.get(name)


def _packed(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.split(" ") for line in _small(path).splitlines() if line[:1] not in ("#", "^"))
    return {words[1]: words[0] for words in lines if len(words) == 2}


def _small(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_SMALL_BYTES_MAX).decode("utf-8", "surrogateescape")
    except OSError as err:
        raise Unavailable(
            "file-unreadable", f"cannot read `{path}`: {err.strerror}", hint="look at its owner and mode"
        ) from err
