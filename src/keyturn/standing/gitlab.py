"""Find what a project on a GitLab lets somebody push without a second person: its REST API, version 4.

Read are the documents of protected branches, deploy keys and members. Approval rules are of GitLab's paid
editions, and not read: a merge that nobody else agreed to is not found there.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from keyturn.standing.closing import url_part
from keyturn.standing.finding import Finding, Scan, found, gathered
from keyturn.standing.forge import AREA, Forge, admin, asked, call, deploy_key

__all__ = ["scan_gitlab"]

_MAINTAINER = 40
_NOBODY = 0


class _Level(msgspec.Struct, frozen=True):
    access_level: int | None = None
    user_id: int | None = None
    group_id: int | None = None
    deploy_key_id: int | None = None
    access_level_description: str = ""


class _ProtectedBranch(msgspec.Struct, frozen=True):
    name: str
    push_access_levels: tuple[_Level, ...] = ()
    allow_force_push: bool = False


class _Project(msgspec.Struct, frozen=True):
    default_branch: str | None


class _Key(msgspec.Struct, frozen=True):
    id: int
    key: str
    title: str = ""
    can_push: bool = False


class _Member(msgspec.Struct, frozen=True):
    id: int
    username: str
    access_level: int


def scan_gitlab(forge: Forge, repository: str) -> Scan:
    """Look at `repository`, as `group/name`, of a GitLab."""
    return gathered(_gitlab(forge, repository))


def _gitlab(forge: Forge, repository: str) -> Iterator[Finding]:
    base = f"/projects/{url_part(repository)}"
    about = yield from asked(forge, base, _Project, "the project")
    if about is None:
        return
    name = about.default_branch or "main"
    there = yield from asked(
        forge, f"{base}/protected_branches", tuple[_ProtectedBranch, ...], "protected branches", missing=()
    )
    if there is not None:
        own = [one for one in there if one.name == name or ("*" in one.name and _matches(one.name, name))]
        if not own:
            close = call(forge, "POST", f"{base}/protected_branches", {"name": name, "push_access_level": _NOBODY})
            yield found(
                "git-unprotected",
                AREA,
                name,
                opens="the branch that is built from: nothing protects it",
                to="whoever may push",
                severity="high",
                close=close,
            )
        for one in own:
            path = f"{base}/protected_branches/{url_part(one.name)}"
            pushers = [
                level.access_level_description or f"level {level.access_level}"
                for level in one.push_access_levels
                if level.access_level != _NOBODY or level.deploy_key_id
            ]
            if pushers:
                again = call(
                    forge, "POST", f"{base}/protected_branches", {"name": one.name, "push_access_level": _NOBODY}
                )
                yield found(
                    "git-unreviewed",
                    AREA,
                    one.name,
                    opens="the branch, by a push that nobody else agrees to",
                    to=", ".join(pushers),
                    severity="high",
                    close=f"{call(forge, 'DELETE', path)} && {again}",
                    mark=sorted(pushers),
                )
            if one.allow_force_push:
                close = call(forge, "PATCH", path, {"allow_force_push": False})
                yield found(
                    "git-rewritable",
                    AREA,
                    one.name,
                    opens="the history, for rewriting",
                    to="whoever may push",
                    severity="medium",
                    close=close,
                )
    for key in (yield from asked(forge, f"{base}/deploy_keys", tuple[_Key, ...], "deploy keys", missing=())) or ():
        yield deploy_key(
            key.title, key.key, writes=key.can_push, close=call(forge, "DELETE", f"{base}/deploy_keys/{key.id}")
        )
    for member in (yield from asked(forge, f"{base}/members/all", tuple[_Member, ...], "members", missing=())) or ():
        if member.access_level >= _MAINTAINER:
            yield admin(member.username, call(forge, "DELETE", f"{base}/members/{member.id}"))


def _matches(pattern: str, name: str) -> bool:
    before, _, after = pattern.partition("*")
    return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after.rpartition("*")[2])
