"""Members, their keys and groups, gates, builders, log and witnesses: what one targets version says, as values.

These are the values that every other room reads. They are made by `trust.targets.parse_targets` from target files whose
signatures were verified; a constructor here refuses what contradicts itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats.uri import Uri

__all__ = [
    "Builder",
    "Gate",
    "Group",
    "KeyKind",
    "Limits",
    "Log",
    "Member",
    "MemberKey",
    "MemberKind",
    "Profile",
    "Resource",
    "Resources",
    "Roster",
    "TrustState",
    "Witness",
]

MemberKind = Literal["human", "agent", "workload"]
KeyKind = Literal["software"]
"""How a member's key signs. Passkeys, security keys and PKCS#11 join here; `software` approves in demo only."""
Profile = Literal["demo", "production"]

_VERIFIES_USER: Mapping[KeyKind, bool] = MappingProxyType({"software": False})


@dataclass(frozen=True, slots=True)
class MemberKey:
    """One signing key of a member. `verifies_user`: its holder proves presence for each signature."""

    key: PublicKey
    kind: KeyKind

    @property
    def verifies_user(self) -> bool:
        return _VERIFIES_USER[self.kind]


@dataclass(frozen=True, slots=True)
class Member:
    """A human, AI agent or workload. `responsible` names the humans that an agent or workload acts for."""

    id: str
    kind: MemberKind
    name: str
    keys: tuple[MemberKey, ...]
    responsible: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.kind == "human" and self.responsible:
            raise Malformed("member-responsible", f"member `{self.id}` is human and answers for itself")
        if self.kind != "human" and not self.responsible:
            raise Malformed("member-responsible", f"member `{self.id}` is no human and needs a responsible human")


@dataclass(frozen=True, slots=True)
class Group:
    """Members by id; `groups` nests other groups, whose members count as members of this one."""

    name: str
    members: frozenset[str]
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Roster:
    """The lab's people, agents and workloads. Look-ups raise nothing: unknown is `None`, and the caller refuses."""

    lab: str
    members: Mapping[str, Member]
    groups: Mapping[str, Group]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", MappingProxyType(dict(self.members)))
        object.__setattr__(self, "groups", MappingProxyType(dict(self.groups)))
        owner: dict[bytes, str] = {}
        for member in self.members.values():
            for held in member.keys:
                other = owner.setdefault(held.key.spki, member.id)
                if other != member.id or sum(k.key.spki == held.key.spki for k in member.keys) != 1:
                    raise Malformed(
                        "key-shared", f"key `{held.key.keyid[:16]}` is listed for `{other}` and again for `{member.id}`"
                    )
            for human in member.responsible:
                responsible = self.members.get(human)
                if responsible is None or responsible.kind != "human":
                    raise Malformed("member-responsible", f"`{human}`, responsible for `{member.id}`, is no human here")
        for group in self.groups.values():
            for name in group.members:
                if name not in self.members:
                    raise Malformed("group-member", f"group `{group.name}` lists `{name}`, who is not in the roster")
            for name in group.groups:
                if name not in self.groups:
                    raise Malformed("group-member", f"group `{group.name}` lists the unknown group `{name}`")

    def members_of(self, group: str) -> frozenset[str]:
        """Everyone in `group`, nested groups included; empty when there is no such group."""
        seen: set[str] = set()
        found: set[str] = set()
        todo = [group]
        while todo:
            name = todo.pop()
            known = self.groups.get(name)
            if known is None or name in seen:
                continue
            seen.add(name)
            found |= known.members
            todo.extend(known.groups)
        return frozenset(found)

    def key_of(self, member: str, keyid: str) -> MemberKey | None:
        """The key `keyid` of `member`, if it is enrolled for that very member."""
        known = self.members.get(member)
        if known is None:
            return None
        for held in known.keys:
            if held.key.keyid == keyid:
                return held
        return None


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that policy speaks of; `parents` are broader resources that a grant may name instead."""

    uri: Uri
    parents: tuple[Uri, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """Every resource of the lab, by the text of its URI."""

    by_uri: Mapping[str, Resource]

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_uri", MappingProxyType(dict(self.by_uri)))


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate's key, with which it checks in and reports uses. `operator` administers its machine."""

    uri: Uri
    kind: str
    key: PublicKey
    operator: str


@dataclass(frozen=True, slots=True)
class Builder:
    """A builder, the SLSA build level that its statements may claim, and its key."""

    id: str
    key: PublicKey
    level_max: Literal[1, 2, 3]
    operator: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of the log: C2SP cosigner name, Ed25519 key and operator."""

    name: str
    key: PublicKey
    operator: str


@dataclass(frozen=True, slots=True)
class Log:
    """The lab's log: C2SP origin and Ed25519 key, its witnesses, and how many of those may lie."""

    origin: str
    key: PublicKey
    witnesses: tuple[Witness, ...]
    lying_max: int

    def __post_init__(self) -> None:
        if not self.witnesses:
            raise Malformed("witness-none", "expected at least one witness, got none")
        if len({w.key.spki for w in self.witnesses} | {self.key.spki}) != len(self.witnesses) + 1:
            raise Malformed("witness-key-shared", "expected a key of its own for the log and for each witness")
        if len({w.name for w in self.witnesses}) != len(self.witnesses):
            raise Malformed("witness-name-shared", "expected a name of its own for each witness")
        if not 0 <= self.lying_max < len(self.witnesses):
            raise Malformed("witness-quorum", f"expected lying_max below {len(self.witnesses)}, got {self.lying_max}")

    @property
    def quorum(self) -> int:
        """Cosignatures that a checkpoint needs: more than (n + f) / 2."""
        return (len(self.witnesses) + self.lying_max) // 2 + 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How old and how long things may be, in seconds."""

    log_age_max_s: int = 3600
    clock_skew_max_s: int = 60
    negative_lifetime_max_s: int = 90 * 86400
    suspension_max_s: int = 86400


@dataclass(frozen=True, slots=True)
class TrustState:
    """Everything that one version of the lab's targets says, under the root that was in force with it.

    `policy` is (file name, text) in order of name. `trust_version` in records is `targets_version`.
    """

    lab: str
    profile: Profile
    root_version: int
    targets_version: int
    root_expires_at: int
    targets_expires_at: int
    publishers: frozenset[str]
    roster: Roster
    resources: Resources
    policy: tuple[tuple[str, str], ...]
    gates: Mapping[str, Gate]
    builders: Mapping[str, Builder]
    log: Log
    limits: Limits

    def __post_init__(self) -> None:
        object.__setattr__(self, "gates", MappingProxyType(dict(self.gates)))
        object.__setattr__(self, "builders", MappingProxyType(dict(self.builders)))
