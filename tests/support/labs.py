"""Found a lab in memory: real keys, a signed root and targets, the containers that the log would hold, the history.

lab = make_lab(humans=("ada", "bob"), policy={"release": "..."})
lab.state.roster, lab.member_keys["ada"].sign(...), lab.history, lab.containers
later = lab.publish(policy={"release": "..."})          # the next targets version
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from keyturn.crypto.credentials import Credential
from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import trust_version
from keyturn.formats.digest import sha256
from keyturn.formats.trust_version import TrustVersion
from keyturn.formats.uri import Uri
from keyturn.trust import signing
from keyturn.trust.history import TrustHistory
from keyturn.trust.keyholders import Keyholder, Keyholders
from keyturn.trust.metadata import Holder
from keyturn.trust.outside import OutsideSigner
from keyturn.trust.render import render_contents
from keyturn.trust.roster import (
    Builder,
    Gate,
    Group,
    Limits,
    Log,
    Member,
    Profile,
    Resource,
    Resources,
    Roster,
    SigningPage,
    TrustState,
    Witness,
)
from keyturn.trust.targets import Contents

__all__ = ["NOW", "Lab", "holder_key", "keyholders", "make_key", "make_lab"]

NOW = 1_790_000_000
"""The time at which test labs are founded."""
DAY_S = 86_400


@cache
def make_key(name: str) -> SoftwareKey:
    """The test key called `name`: always the same, and of course no secret."""
    seed = hashlib.sha256(b"keyturn test key: " + name.encode("utf-8")).digest()
    return SoftwareKey(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


@cache
def holder_key(name: str) -> x25519.X25519PrivateKey:
    """The key of the keyholder `name`, to whom recordings are sealed: always the same."""
    seed = hashlib.sha256(b"keyturn test keyholder: " + name.encode("utf-8")).digest()
    return x25519.X25519PrivateKey.from_private_bytes(seed)


def keyholders(*names: str, quorum: int = 2) -> Keyholders:
    """Whom a lab's targets name for its recordings."""
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Keyholders(
        quorum, tuple(Keyholder(name, holder_key(name).public_key().public_bytes(*spki)) for name in names)
    )


@dataclass(frozen=True)
class Lab:
    """A founded lab with every private key at hand. `containers` are the rot and tgt records in order."""

    name: str
    profile: Profile
    member_keys: Mapping[str, SoftwareKey]
    trust_keys: Mapping[str, SoftwareKey]
    gate_keys: Mapping[str, SoftwareKey]
    builder_keys: Mapping[str, SoftwareKey]
    witness_keys: Mapping[str, SoftwareKey]
    log_key: SoftwareKey
    online_key: SoftwareKey
    contents: Contents
    root_json: bytes
    containers: tuple[bytes, ...]
    history: TrustHistory

    @property
    def root_sha256(self) -> str:
        return self.history.root_sha256

    @property
    def state(self) -> TrustState:
        return self.history.newest

    def gate_uri(self, name: str) -> Uri:
        return Uri(self.name, "gate", name)

    def with_contents(
        self,
        contents: Contents,
        *,
        now: int = NOW,
        signers: tuple[str, ...] | None = None,
        lifetime_s: int = 90 * DAY_S,
    ) -> Lab:
        """Publish `contents` as the next targets version, signed by `signers` (all humans unless said)."""
        files = render_contents(contents)
        version = self.history.targets_version + 1
        raw = signing.make_targets(files, lab=self.name, version=version, expires_at=now + lifetime_s)
        for human in signers if signers is not None else tuple(self.trust_keys):
            raw = signing.add_signature(raw, self.trust_keys[human])
        container = TrustVersion(role="targets", version=version, metadata=raw, files=tuple(sorted(files.items())))
        return replace(
            self,
            contents=contents,
            containers=(*self.containers, trust_version.render(container)),
            history=self.history.advance(container, now=now),
        )

    def publish(
        self,
        *,
        policy: Mapping[str, str] | None = None,
        roster: Roster | None = None,
        gates: Mapping[str, Gate] | None = None,
        log: Log | None = None,
        limits: Limits | None = None,
        void: tuple[range, ...] | None = None,
        recordings: Keyholders | None = None,
        outside: tuple[OutsideSigner, ...] | None = None,
        now: int = NOW,
    ) -> Lab:
        """Publish the next targets version, with what is given changed."""
        contents = self.contents
        if policy is not None:
            contents = replace(contents, policy=_policy(policy))
        if roster is not None:
            contents = replace(contents, roster=roster)
        if gates is not None:
            contents = replace(contents, gates=gates)
        if log is not None:
            contents = replace(contents, log=log)
        if limits is not None:
            contents = replace(contents, limits=limits)
        if void is not None:
            contents = replace(contents, void=void)
        if recordings is not None:
            contents = replace(contents, recordings=recordings)
        if outside is not None:
            contents = replace(contents, outside={one.name: one for one in outside})
        return self.with_contents(contents, now=now)

    def make_root(
        self, *, version: int, humans: tuple[str, ...] | None = None, now: int = NOW, profile: Profile | None = None
    ) -> bytes:
        """An unsigned root version held by `humans` (those of now unless said)."""
        return _root(
            self.name,
            profile or self.profile,
            version,
            humans or tuple(self.trust_keys),
            self.online_key,
            now,
            self.trust_keys,
        )

    def with_root(self, *, humans: tuple[str, ...], now: int = NOW) -> Lab:
        """Publish the next root version, held by `humans`, signed by everyone old and new."""
        trust_keys = dict(self.trust_keys) | {human: make_key(f"{self.name} trust {human}") for human in humans}
        version = self.history.root.version + 1
        raw = _root(self.name, self.profile, version, humans, self.online_key, now, trust_keys)
        for key in trust_keys.values():
            raw = signing.add_signature(raw, key)
        container = TrustVersion(role="root", version=version, metadata=raw)
        return replace(
            self,
            trust_keys={human: trust_keys[human] for human in humans},
            containers=(*self.containers, trust_version.render(container)),
            history=self.history.advance(container, now=now),
        )


def make_lab(
    *,
    name: str = "acme.example",
    profile: Profile = "demo",
    humans: tuple[str, ...] = ("ada", "bob"),
    agents: Mapping[str, tuple[str, ...]] | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    nested_groups: Mapping[str, tuple[str, ...]] | None = None,
    resources: Mapping[str, tuple[str, ...]] | None = None,
    policy: Mapping[str, str] | None = None,
    gates: tuple[tuple[str, str], ...] = (("release", "release"),),
    builders: tuple[str, ...] = ("builder",),
    builder_operators: Mapping[str, str] | None = None,
    witnesses: tuple[str, ...] = ("north",),
    lying_max: int = 0,
    limits: Limits | None = None,
    recordings: Keyholders | None = None,
    now: int = NOW,
    credentials: Mapping[str, Credential] | None = None,
    pages: tuple[SigningPage, ...] = (),
    outside: tuple[OutsideSigner, ...] = (),
) -> Lab:
    """Found a lab at `now`: root v1 and targets v1 are signed by every human.

    `agents` is id -> responsible humans; `groups` name -> members; `nested_groups` name -> groups in it; `resources`
    `<type>/<name>` -> parents of the same form; `policy` file stem -> Cedar text; `gates` (name, kind). Production needs
    at least three humans (the last one's trust key is the recovery key) and witnesses by operators of their own, which
    they have: each witness, gate and builder is operated by `op-<its name>`.
    """
    agents, groups, nested = agents or {}, groups or {}, nested_groups or {}
    member_keys = {member: make_key(f"{name} member {member}") for member in (*humans, *agents)}
    trust_keys = {human: make_key(f"{name} trust {human}") for human in humans}
    gate_keys = {gate: make_key(f"{name} gate {gate}") for gate, _ in gates}
    builder_keys = {builder: make_key(f"{name} builder {builder}") for builder in builders}
    witness_keys = {witness: make_key(f"{name} witness {witness}") for witness in witnesses}
    log_key, online_key = make_key(f"{name} log"), make_key(f"{name} online")
    members = {
        member: Member(
            id=member,
            kind="human" if member in humans else "agent",
            name=member.title(),
            keys=((credentials or {}).get(member) or Credential(key=key.public, kind="software"),),
            responsible=frozenset(agents.get(member, ())),
        )
        for member, key in member_keys.items()
    }
    contents = Contents(
        roster=Roster(
            lab=name,
            members=members,
            groups={
                group: Group(group, frozenset(groups.get(group, ())), frozenset(nested.get(group, ())))
                for group in (*groups, *(group for group in nested if group not in groups))
            },
            signing=pages,
        ),
        resources=Resources(
            by_uri={
                f"keyturn://{name}/{path}": Resource(
                    Uri.parse(f"keyturn://{name}/{path}"), tuple(Uri.parse(f"keyturn://{name}/{p}") for p in parents)
                )
                for path, parents in (resources or {}).items()
            }
        ),
        policy=_policy(policy or {}),
        gates={
            str(Uri(name, "gate", gate)): Gate(Uri(name, "gate", gate), kind, gate_keys[gate].public, f"op-{gate}")
            for gate, kind in gates
        },
        builders={
            builder: Builder(
                id=builder,
                key=builder_keys[builder].public,
                level_max=2,
                operator=(builder_operators or {}).get(builder, f"op-{builder}"),
            )
            for builder in builders
        },
        log=Log(
            origin=f"log.{name}",
            key=log_key.public,
            witnesses=tuple(Witness(w, witness_keys[w].public, f"op-{w}") for w in witnesses),
            lying_max=lying_max,
        ),
        log_operator="op-service",
        limits=limits or Limits(),
        recordings=recordings,
        outside={one.name: one for one in outside},
    )
    raw = _root(name, profile, 1, humans, online_key, now, trust_keys)
    for key in trust_keys.values():
        raw = signing.add_signature(raw, key)
    lab = Lab(
        name=name,
        profile=profile,
        member_keys=member_keys,
        trust_keys=trust_keys,
        gate_keys=gate_keys,
        builder_keys=builder_keys,
        witness_keys=witness_keys,
        log_key=log_key,
        online_key=online_key,
        contents=contents,
        root_json=raw,
        containers=(trust_version.render(TrustVersion(role="root", version=1, metadata=raw)),),
        history=TrustHistory.start(raw, pinned_sha256=sha256(raw)),
    )
    return lab.with_contents(contents, now=now)


def _policy(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((f"policy/{stem}.cedar", text) for stem, text in texts.items()))


def _root(
    name: str,
    profile: Profile,
    version: int,
    humans: tuple[str, ...],
    online: SoftwareKey,
    now: int,
    trust_keys: Mapping[str, SoftwareKey],
) -> bytes:
    return signing.make_root(
        lab=name,
        profile=profile,
        version=version,
        expires_at=now + 365 * DAY_S,
        threshold=2,
        targets_threshold=2,
        holders=tuple(
            Holder(
                human=human,
                key=trust_keys[human].public,
                root=True,
                targets=profile == "demo" or human != humans[-1],
                recovery=profile == "production" and human == humans[-1],
            )
            for human in humans
        ),
        online=online.public,
    )
