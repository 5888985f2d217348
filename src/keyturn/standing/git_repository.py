"""Find what a git repository on disk lets somebody push, rewrite or read without a grant.

On disk nothing protects a branch but a hook and the settings of `receive`. What was read of it is a value (`Repository`), which
`adapters.scans.scan_git` collects; this judges it. Who reaches it by ssh, sudo or a shell is found by the scan of its host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyturn.standing.closing import quoted, typed
from keyturn.standing.finding import Finding, Scan, found, gathered, unseen

__all__ = ["Part", "Repository", "scan_repository"]

AREA = "repository"
_REFUSING = ("pre-receive", "update", "reference-transaction", "proc-receive")
"""The hooks that can refuse a push."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file or directory of the repository: `path` as it is typed, its permission bits, owner and group; where a link leads, and
    `real`, the same without any link."""

    path: str
    mode: int
    uid: int
    gid: int
    link: str = ""
    real: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository. `settings` are of its own configuration, keys in lower case; `hooks` by name; `parts` by what they are."""

    path: str
    head: str
    bare: bool
    settings: Mapping[str, str]
    hooks: Mapping[str, Part]
    parts: Mapping[str, Part]
    exported: bool
    unread: tuple[tuple[str, str], ...]


def scan_repository(repository: Repository) -> Scan:
    """Judge `repository`."""
    return gathered(_findings(repository))


def _findings(repository: Repository) -> Iterator[Finding]:
    for where, why in repository.unread:
        yield unseen(AREA, where, why)
    yield from _hooks(repository)
    yield from _settings(repository)
    for what, part in (*repository.parts.items(), *((f"hook {name}", hook) for name, hook in repository.hooks.items())):
        yield from _writable(repository, what, part)
    if repository.exported:
        path = f"{repository.path}/git-daemon-export-ok"
        yield found(
            "git-exported",
            AREA,
            repository.path,
            opens="all of it, for reading, by git-daemon",
            to="whoever reaches git-daemon",
            severity="medium",
            close=typed("rm", "-f", "--", path),
        )


def _hooks(repository: Repository) -> Iterator[Finding]:
    working = [name for name in _REFUSING if name in repository.hooks and repository.hooks[name].mode & 0o111]
    if any("gitolite" in repository.hooks[name].link for name in working):
        yield unseen(
            AREA,
            repository.path,
            "gitolite decides who pushes here, by the rules in gitolite-admin, which whoever pushes there can change",
            close="gitolite list-users; gitolite access -s REPOSITORY USER W",
        )
    elif not working:
        place = f"{repository.path}/hooks/update"
        lines = typed("#!/bin/sh", f'test "$1" != {quoted(repository.head or "refs/heads/main")}')
        yield found(
            "git-unprotected",
            AREA,
            repository.path,
            opens=f"every branch, `{repository.head}` too: no hook refuses a push",
            to="whoever may push",
            severity="high",
            # `install` makes another file in the place of a link, and writes nowhere else.
            close=" && ".join(
                [*_hooks_home(repository), f"printf '%s\\n' {lines} | {typed('install', *_HOOK, '/dev/stdin', place)}"]
            ),
        )


def _hooks_home(repository: Repository) -> list[str]:
    """The commands that have the hooks lie in the repository: its owner may have named a directory that is not his."""
    steps = []
    own = f"{repository.path}/hooks"
    directory = repository.parts.get("hooks' directory")
    if "core.hookspath" in repository.settings:
        config = f"{repository.path}/config"
        steps.append(typed("git", "config", "--file", config, "--replace-all", "core.hooksPath", own))
    elif directory is not None and directory.link:
        steps.append(f"{typed('rm', '-f', '--', own)} && {typed('mkdir', '--', own)}")
    return steps


_HOOK = ("-D", "-m", "0755", "-T")
_WANTED = (
    (
        "receive.denynonfastforwards",
        "true",
        "git-rewritable",
        "the history of every branch, for rewriting",
        "whoever may push",
        "medium",
    ),
    (
        "receive.denydeletes",
        "true",
        "git-deletable",
        "every branch and tag, for deleting",
        "whoever may push",
        "medium",
    ),
    (
        "daemon.receivepack",
        "false",
        "git-daemon-push",
        "pushes by git-daemon, which knows no login",
        "whoever reaches git-daemon",
        "high",
    ),
    ("http.receivepack", "false", "git-http-push", "pushes over HTTP", "whomever the web server lets in", "medium"),
)
_YES = frozenset({"true", "yes", "on", "1", ""})


def _settings(repository: Repository) -> Iterator[Finding]:
    for key, wanted, code, opens, to, severity in _WANTED:
        is_on = repository.settings.get(key, "false").lower() in _YES
        if is_on != (wanted == "true"):
            yield found(
                code,
                AREA,
                repository.path,
                opens=opens,
                to=to,
                severity="high" if severity == "high" else "medium",
                close=typed("git", "config", "--file", f"{repository.path}/config", key, wanted),
            )
    current = repository.settings.get("receive.denycurrentbranch", "refuse").lower()
    if not repository.bare and current in ("ignore", "warn", "false", "updateinstead"):
        yield found(
            "git-work-tree",
            AREA,
            repository.path,
            opens=f"the files that are checked out here: `receive.denyCurrentBranch {current}`",
            to="whoever may push",
            severity="medium",
            close=typed("git", "config", "--file", f"{repository.path}/config", "receive.denycurrentbranch", "refuse"),
        )


def _writable(repository: Repository, what: str, part: Part) -> Iterator[Finding]:
    """What others than its owner may write: a hook and the configuration run programs as whoever uses the repository."""
    owner = repository.parts["repository"].uid if "repository" in repository.parts else part.uid
    others = []
    if part.mode & 0o002:
        others.append("everybody on the host")
    if part.mode & 0o020:
        others.append(f"the group {part.gid}")
    if part.uid not in (0, owner):
        others.append(f"uid {part.uid}")
    if not others:
        return
    runs = what.startswith("hook") or what == "configuration"
    steps = [typed("chmod", "go-w", "--", part.path)]
    if part.uid not in (0, owner):
        is_hook = what.startswith("hook")
        if is_hook and _is_elsewhere(repository, part):
            steps = _hooks_home(repository) or [typed("rm", "-f", "--", part.path)]
        else:
            steps.insert(0, typed("chown", "--no-dereference", "root" if runs else str(owner), "--", part.path))
    yield found(
        "git-writable",
        AREA,
        part.path,
        opens="programs, as whoever uses the repository" if runs else f"the {what} itself, past every hook",
        to=", ".join(others),
        severity="high" if runs or part.mode & 0o002 else "medium",
        close=" && ".join(steps),
        mark=others,
    )


def _is_elsewhere(repository: Repository, part: Part) -> bool:
    return not part.real.startswith(f"{repository.parts['repository'].real}/")
