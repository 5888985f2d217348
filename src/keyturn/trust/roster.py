"""Members, their keys and groups, gates, builders, log and witnesses: what one targets version says, as values.

These are the values that every other room reads. They are made by `trust.targets.parse_targets` from target files whose
signatures were verified; a constructor here refuses what contradicts itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats.enrolled_key import EnrolledKey, terminal_of
from keyturn.formats.uri import Uri
from keyturn.trust.attestation import AttestationRules
from keyturn.trust.keyholders import Keyholders
from keyturn.trust.outside import OutsideSigner

__all__ = [
    "TOMBSTONE_SIGNERS_MIN",
    "Builder",
    "Gate",
    "Group",
    "Limits",
    "Log",
    "Member",
    "MemberKind",
    "Profile",
    "Resource",
    "Resources",
    "Roster",
    "SigningPage",
    "TrustState",
    "Witness",
    "credential",
]

MemberKind = Literal["human", "agent", "workload"]
Profile = Literal["demo", "production"]

_TERMINAL = re.compile(r"keyturn:[a-z0-9][a-z0-9.-]{0,252}\Z", re.ASCII)
_ORIGIN = re.compile(r"(?:https://([a-z0-9][a-z0-9.-]{0,252})|http://localhost)(?::[1-9][0-9]{0,4})?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """A human, AI agent or workload. `responsible` names the humans that an agent or workload acts for."""

    id: str
    kind: MemberKind
    name: str
    keys: tuple[Credential, ...]
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
class SigningPage:
    """Where passkeys and security keys sign: a page, or every member's terminal (`keyturn:<lab>`, as origin and relying party).

    `operator` serves it; on `localhost`, which is each person's own machine, and in a terminal, nobody does.
    """

    origin: str
    rp_id: str
    operator: str | None

    def __post_init__(self) -> None:
        if self.is_terminal or self.rp_id.startswith("keyturn:"):
            if not self.is_terminal or self.origin != self.rp_id or self.operator is not None:
                raise Malformed(
                    "signing-page-terminal",
                    f"`{self.origin[:80]}`: expected `keyturn:<lab>` as `origin` and as `rp_id`, and no operator",
                )
            return
        found = _ORIGIN.match(self.origin)
        if found is None:
            raise Malformed(
                "signing-page-origin",
                f"expected `https://<host>[:<port>]`, `http://localhost[:<port>]` or `keyturn:<lab>`, got `{self.origin[:80]}`",
            )
        host = found[1] or "localhost"
        if host != self.rp_id and not host.endswith(f".{self.rp_id}"):
            raise Malformed("signing-page-origin", f"`{self.origin}` is no page of `{self.rp_id}`")
        if (host == "localhost") != (self.operator is None):
            raise Malformed("signing-page-operator", f"`{self.origin}`: expected an operator, and none for localhost")

    @property
    def is_terminal(self) -> bool:
        """Whether security keys sign there without a browser."""
        return _TERMINAL.match(self.origin) is not None


@dataclass(frozen=True, slots=True)
class Roster:
    """The lab's people, agents and workloads. Look-ups raise nothing: unknown is `None`, and the caller refuses."""

    lab: str
    members: Mapping[str, Member]
    groups: Mapping[str, Group]
    signing: tuple[SigningPage, ...] = ()
    attestation: AttestationRules | None = None
    _everyone_in: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", MappingProxyType(dict(self.members)))
        object.__setattr__(self, "groups", MappingProxyType(dict(self.groups)))
        for page in self.signing:
            if page.is_terminal and page.origin != terminal_of(self.lab):
                raise Malformed(
                    "signing-page-terminal",
                    f"expected the terminal `{terminal_of(self.lab)}`, got `{page.origin[:80]}`",
                )
        owner: dict[bytes, str] = {}
        for member in self.members.values():
            for held in member.keys:
                if self.attestation is not None:
                    self.attestation.require_judged(member.id, held)
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
        object.__setattr__(self, "_everyone_in", {name: self._found_in(name) for name in self.groups})

    def credential(self, enrolled: EnrolledKey) -> Credential:
        """The key that `enrolled` lists, which signs at this roster's signing pages if it is a passkey."""
        return credential(enrolled, self.signing)

    def members_of(self, group: str) -> frozenset[str]:
        """Everyone in `group`, nested groups included; empty when there is no such group."""
        return self._everyone_in.get(group, frozenset())

    def _found_in(self, group: str) -> frozenset[str]:
        seen: set[str] = set()
        found: set[str] = set()
        todo = [group]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            known = self.groups[name]
            found |= known.members
            todo.extend(known.groups)
        return frozenset(found)

    def key_of(self, member: str, keyid: str) -> Credential | None:
        """The key `keyid` of `member`, if it is enrolled for that very member."""
        known = self.members.get(member)
        if known is None:
            return None
        for held in known.keys:
            if held.key.keyid == keyid:
                return held
        return None


def credential(enrolled: EnrolledKey, signing: Iterable[SigningPage]) -> Credential:
    """The key that `enrolled` lists; a passkey signs at those of the pages `signing` that are its relying party's."""
    return Credential.of(enrolled, origins=frozenset(page.origin for page in signing if page.rp_id == enrolled.rp_id))


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


TOMBSTONE_SIGNERS_MIN = 2
"""Humans that it takes at least to erase a record's text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How old and how long things may be, in seconds. `breakglass_view_age_max_s`: the view that break-glass opens by.

    `tombstone_signers`: the humans that it takes to erase a record's text. `version_min`: of Keyturn, as MAJOR.MINOR.PATCH, in
    the lab's processes; no gate asks for it, people look (`keyturn doctor`).
    """

    log_age_max_s: int = 3600
    clock_skew_max_s: int = 60
    negative_lifetime_max_s: int = 90 * 86400
    suspension_max_s: int = 86400
    breakglass_view_age_max_s: int = 4 * 3600
    tombstone_signers: int = TOMBSTONE_SIGNERS_MIN
    version_min: str | None = None


@dataclass(frozen=True, slots=True)
class TrustState:
    """Everything that one version of the lab's targets says, under the root that was in force with it.

    `policy` is (file name, text) in order of name. `trust_version` in records is `targets_version`. `void` are log entries, in
    order, that take nothing away although nobody can read them. `recordings` are who opens what bastions record, `outside` is
    whose signatures count as evidence, by the lab's name.
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
    void: tuple[range, ...] = ()
    recordings: Keyholders | None = None
    outside: Mapping[str, OutsideSigner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outside", MappingProxyType(dict(self.outside)))
        object.__setattr__(self, "gates", MappingProxyType(dict(self.gates)))
        object.__setattr__(self, "builders", MappingProxyType(dict(self.builders)))
