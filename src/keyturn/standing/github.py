"""Find what a repository on GitHub, or on whatever speaks its REST API, lets somebody push without a second person.

Read are the documents of branch protection, rulesets, deploy keys and collaborators (API version 2022-11-28).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from keyturn.standing.closing import url_part
from keyturn.standing.finding import Finding, Scan, found, gathered, unseen
from keyturn.standing.forge import AREA, Forge, admin, asked, call, deploy_key

__all__ = ["scan_github"]

BRANCHES_MAX = 200


class _Part(msgspec.Struct, frozen=True):
    enabled: bool = False


class _Named(msgspec.Struct, frozen=True):
    login: str = ""
    slug: str = ""


class _Bypass(msgspec.Struct, frozen=True):
    users: tuple[_Named, ...] = ()
    teams: tuple[_Named, ...] = ()
    apps: tuple[_Named, ...] = ()


class _Reviews(msgspec.Struct, frozen=True):
    required_approving_review_count: int = 0
    bypass_pull_request_allowances: _Bypass = _Bypass()


class _Protection(msgspec.Struct, frozen=True):
    enforce_admins: _Part = _Part()
    required_pull_request_reviews: _Reviews | None = None
    allow_force_pushes: _Part = _Part()
    allow_deletions: _Part = _Part()


class _Repository(msgspec.Struct, frozen=True):
    default_branch: str


class _Branch(msgspec.Struct, frozen=True):
    name: str
    protected: bool


class _RuleParameters(msgspec.Struct, frozen=True):
    required_approving_review_count: int = 0


class _Rule(msgspec.Struct, frozen=True):
    type: str
    ruleset_id: int = 0
    parameters: _RuleParameters | None = None


class _Actor(msgspec.Struct, frozen=True):
    actor_type: str = ""
    actor_id: int | None = None


class _Ruleset(msgspec.Struct, frozen=True):
    name: str = ""
    source_type: str = "Repository"
    bypass_actors: tuple[_Actor, ...] | None = None


class _Key(msgspec.Struct, frozen=True):
    id: int
    key: str
    title: str = ""
    read_only: bool = False


class _Permissions(msgspec.Struct, frozen=True):
    admin: bool = False


class _Collaborator(msgspec.Struct, frozen=True):
    login: str
    permissions: _Permissions = _Permissions()


def scan_github(forge: Forge, repository: str) -> Scan:
    """Look at `repository`, as `owner/name`, of GitHub or whatever speaks its API."""
    return gathered(_github(forge, repository))


def _github(forge: Forge, repository: str) -> Iterator[Finding]:
    base = "/repos/" + "/".join(map(url_part, repository.split("/")))
    about = yield from asked(forge, base, _Repository, "the repository")
    if about is None:
        return
    branch = f"{base}/branches/{url_part(about.default_branch)}"
    rules = (
        yield from asked(
            forge,
            f"{base}/rules/branches/{url_part(about.default_branch)}",
            tuple[_Rule, ...],
            "rules",
            missing=(),
        )
    ) or ()
    branches = (yield from asked(forge, f"{base}/branches", tuple[_Branch, ...], "branches", missing=())) or ()
    protection = yield from asked(forge, f"{branch}/protection", _Protection, "protection", missing=_Protection())
    own = next((one for one in branches if one.name == about.default_branch), None)
    if protection == _Protection() and own is not None and own.protected and not rules:
        yield unseen(AREA, "protection", f"`{own.name}` is protected, and how is shown to administrators alone")
    elif protection is not None:
        yield from _github_branch(forge, branch, about.default_branch, protection, rules)
    yield from _github_rulesets(forge, base, rules)
    for one in branches[:BRANCHES_MAX]:
        if not one.protected and one.name != about.default_branch:
            put = _protect(forge, f"{base}/branches/{url_part(one.name)}")
            yield found(
                "git-unprotected",
                AREA,
                one.name,
                opens="the branch: nothing protects it",
                to="whoever may push",
                severity="low",
                close=put,
            )
    if len(branches) > BRANCHES_MAX:
        yield unseen(AREA, "branches", f"{len(branches)} branches, of which {BRANCHES_MAX} were looked at")
    for key in (yield from asked(forge, f"{base}/keys", tuple[_Key, ...], "deploy keys", missing=())) or ():
        yield deploy_key(
            key.title, key.key, writes=not key.read_only, close=call(forge, "DELETE", f"{base}/keys/{key.id}")
        )
    people = yield from asked(forge, f"{base}/collaborators", tuple[_Collaborator, ...], "collaborators", missing=())
    for person in people or ():
        if person.permissions.admin:
            yield admin(person.login, call(forge, "DELETE", f"{base}/collaborators/{url_part(person.login)}"))


def _github_branch(
    forge: Forge, branch: str, name: str, protection: _Protection, rules: tuple[_Rule, ...]
) -> Iterator[Finding]:
    kinds = {rule.type for rule in rules}
    asked = max(
        (
            rule.parameters.required_approving_review_count
            for rule in rules
            if rule.type == "pull_request" and rule.parameters
        ),
        default=0,
    )
    reviews = protection.required_pull_request_reviews
    put = _protect(forge, branch)
    if protection == _Protection() and "pull_request" not in kinds:
        yield found(
            "git-unprotected",
            AREA,
            name,
            opens="the branch that is built from: nothing protects it",
            to="whoever may push",
            severity="high",
            close=put,
        )
        return
    if max(asked, 0 if reviews is None else reviews.required_approving_review_count) < 1:
        yield found(
            "git-unreviewed",
            AREA,
            name,
            opens="the branch, without a second person's approval",
            to="whoever may push or merge",
            severity="high",
            close=put,
        )
    if not protection.enforce_admins.enabled and "pull_request" not in kinds:
        close = call(forge, "POST", f"{branch}/protection/enforce_admins")
        yield found(
            "git-admins-bypass",
            AREA,
            name,
            opens="the branch, past its protection",
            to="administrators of the repository",
            severity="high",
            close=close,
        )
    for there, rule, code, what in (
        (protection.allow_force_pushes.enabled, "non_fast_forward", "git-rewritable", "the history, for rewriting"),
        (protection.allow_deletions.enabled, "deletion", "git-deletable", "the branch, for deleting"),
    ):
        if there and rule not in kinds:
            yield found(code, AREA, name, opens=what, to="whoever may push", severity="medium", close=put)
    bypass = _Bypass() if reviews is None else reviews.bypass_pull_request_allowances
    names = [one.login or one.slug for one in (*bypass.users, *bypass.teams, *bypass.apps)]
    if names:
        body: dict[str, object] = {"bypass_pull_request_allowances": {"users": [], "teams": [], "apps": []}}
        close = call(forge, "PATCH", f"{branch}/protection/required_pull_request_reviews", body)
        yield found(
            "git-bypass",
            AREA,
            name,
            opens="the branch, without a review",
            to=", ".join(names),
            severity="high",
            close=close,
            mark=sorted(names),
        )


def _github_rulesets(forge: Forge, base: str, rules: tuple[_Rule, ...]) -> Iterator[Finding]:
    for number in sorted({rule.ruleset_id for rule in rules if rule.ruleset_id}):
        path = f"{base}/rulesets/{number}"
        ruleset = yield from asked(forge, path, _Ruleset, f"ruleset {number}")
        if ruleset is None:
            continue
        if ruleset.bypass_actors is None:
            yield unseen(
                AREA, f"ruleset {ruleset.name or number}", "who may bypass it is shown to those who may change it"
            )
        elif ruleset.bypass_actors:
            actors = [f"{one.actor_type} {one.actor_id}" for one in ruleset.bypass_actors]
            close = call(forge, "PUT", path, {"bypass_actors": []})
            yield found(
                "git-bypass",
                AREA,
                f"ruleset {ruleset.name or number}",
                opens="what it protects",
                to=", ".join(actors),
                severity="high",
                close=close,
                mark=sorted(actors),
            )


def _protect(forge: Forge, branch: str) -> str:
    body = {
        "required_status_checks": None,
        "enforce_admins": True,
        "required_pull_request_reviews": {"required_approving_review_count": 1},
        "restrictions": None,
    }
    return call(forge, "PUT", f"{branch}/protection", body)
