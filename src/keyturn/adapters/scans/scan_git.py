"""Read of a git repository on disk what `standing.git_repository` judges.

Only `git config --file` is run, which executes nothing of the repository's; its hooks are looked at and never started.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from keyturn.errors import Unavailable, Usage
from keyturn.standing.git_repository import Part, Repository

__all__ = ["read_repository"]

_WITHIN_S = 20.0
_HEAD_BYTES_MAX = 4096
_PARTS = {
    "repository": ".",
    "configuration": "config",
    "branches": "refs",
    "objects": "objects",
    "hooks' directory": "hooks",
    "head": "HEAD",
}


def read_repository(path: Path) -> Repository:
    """Read the repository at `path`, bare or with a work tree; `Usage` when there is none."""
    path = path.absolute()
    there = path / ".git" if (path / ".git").is_dir() else path
    if not (there / "objects").is_dir() or not (there / "HEAD").exists():
        if not path.exists():
            raise Usage(
                "file-missing", f"expected a git repository at `{path}`, found nothing", hint="name its directory"
            )
        raise Usage("scan-no-repository", f"expected a git repository at `{path}`", hint="name its directory, as x.git")
    unread: list[tuple[str, str]] = []
    settings = _settings(there / "config", unread)
    hooks_named = settings.get("core.hookspath", "")
    hooks_at = there / Path(hooks_named).expanduser() if hooks_named else there / "hooks"
    hooks: dict[str, Part] = {}
    try:
        for entry in sorted(hooks_at.iterdir()):
            if not entry.name.endswith(".sample") and (part := _part(entry, unread)) is not None:
                hooks[entry.name] = part
    except FileNotFoundError:
        pass
    except OSError as err:
        unread.append((str(hooks_at), err.strerror or "it cannot be listed"))
    places = {what: hooks_at if what == "hooks' directory" else there / name for what, name in _PARTS.items()}
    parts = {what: part for what, place in places.items() if (part := _part(place, unread)) is not None}
    return Repository(
        path=str(there),
        head=_head(there, unread),
        bare=settings.get("core.bare", "false").lower() in ("true", "yes", "on", "1"),
        settings=settings,
        hooks=hooks,
        parts=parts,
        exported=(there / "git-daemon-export-ok").exists(),
        unread=tuple(unread),
    )


def _part(path: Path, unread: list[tuple[str, str]]) -> Part | None:
    try:
        found = path.stat()
        link = str(path.readlink()) if path.is_symlink() else ""
    except FileNotFoundError:
        return None
    except OSError as err:
        unread.append((str(path), err.strerror or "it cannot be looked at"))
        return None
    return Part(str(path), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, link, os.path.realpath(path))


def _head(there: Path, unread: list[tuple[str, str]]) -> str:
    try:
        with (there / "HEAD").open("rb") as file:
            text = file.read(_HEAD_BYTES_MAX).decode("utf-8", "surrogateescape").strip()
    except OSError as err:
        unread.append((str(there / "HEAD"), err.strerror or "it cannot be read"))
        return ""
    return text.removeprefix("ref:").strip()


def _settings(config: Path, unread: list[tuple[str, str]]) -> dict[str, str]:
    words = ["git", "config", "--file", str(config), "--includes", "--null", "--list"]
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        done = subprocess.run(words, capture_output=True, env=environment, timeout=_WITHIN_S, check=False)
    except FileNotFoundError as err:
        raise Unavailable(
            "scan-tool-missing", "`git` reads what that means, and is not installed here", hint="apt-get install git"
        ) from err
    except subprocess.TimeoutExpired as err:
        raise Unavailable("scan-tool-failed", "`git config` did not answer", hint="try again") from err
    if done.returncode != 0:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        unread.append((str(config), (why or ["git cannot read it"])[0]))
        return {}
    pairs = (entry.partition("\n") for entry in done.stdout.decode("utf-8", "surrogateescape").split("\0") if entry)
    # The last of equal keys counts; a key without a value is true, as an empty text is here.
    return {key.lower(): value for key, _, value in pairs}
