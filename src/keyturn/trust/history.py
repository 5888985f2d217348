"""Follow a lab's trust from a pinned first root through every version since, verifying each before anything reads it.

`TrustHistory.start` takes the first root and the SHA-256 that the caller learned by another way; `advance` takes one
`formats.trust_version` container, of the next root or the next targets. A history is frozen and pure: nothing in it is
ever unlearned, so a rolled-back, skipped, forked or frozen version is refused by name, whoever serves it.

`now` opens doors: with a time, expired metadata is refused. Without one, the past is proved, and nothing else:
`current(now=...)` is what a gate asks, `at(version)` what a judge of the past asks.

Follows the TUF specification 1.0, 5.3 (root walk) and 5.6 (targets); snapshot and timestamp are for other clients, since
freshness comes from the witnessed log (docs/formats/trust.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Self

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused, Tampered
from keyturn.formats.digest import Sha256, parse_sha256, sha256
from keyturn.formats.trust_version import TrustVersion
from keyturn.trust.metadata import (
    RootMetadata,
    TargetsMetadata,
    parse_root,
    parse_targets_metadata,
    require_threshold,
    signed_sha256,
    signers,
)
from keyturn.trust.roster import Log, MemberKind, Profile, Roster, TrustState
from keyturn.trust.targets import check_trust_keys, parse_targets

__all__ = ["Link", "TrustHistory", "walk"]


def _nothing() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Link:
    """One verified version: its role, number, the SHA-256 of its metadata, and the humans who signed it."""

    role: Literal["root", "targets"]
    version: int
    digest: Sha256
    signers: frozenset[str]
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustHistory:
    """Every verified version of a lab's trust, up to one point. Made by `start` and `advance` only."""

    root_sha256: Sha256
    root: RootMetadata
    links: tuple[Link, ...]
    states: tuple[TrustState, ...] = ()
    targets: TargetsMetadata | None = None
    kinds_ever: Mapping[str, MemberKind] = field(default_factory=_nothing, repr=False)
    owners_ever: Mapping[PublicKey, str] = field(default_factory=_nothing, repr=False)

    @classmethod
    def start(cls, root_json: bytes, *, pinned_sha256: str) -> Self:
        """Begin with the lab's first root, whose SHA-256 is pinned.

        Raises: Refused `trust-root-not-pinned`, `trust-root-first`, `trust-founding` (version 1 is a draft until as many
        humans signed it as it says itself), and whatever `parse_root` refuses.
        """
        digest = sha256(root_json)
        if digest != parse_sha256(pinned_sha256, what="pinned root"):
            raise Refused(
                "trust-root-not-pinned",
                f"expected the root with SHA-256 `{pinned_sha256}`, got `{digest}`",
                hint="compare the root's SHA-256 with a coworker by another way than this file came",
            )
        root = parse_root(root_json)
        if root.version != 1:
            raise Refused("trust-root-first", f"expected the lab's first root, got version {root.version}")
        try:
            require_threshold(root_json, by=root, role="root")
        except Refused as err:
            raise Refused("trust-founding", f"the lab is founding: {err.message}", hint=err.hint) from err
        return cls(root_sha256=digest, root=root, links=(_root_link(root),))

    @property
    def lab(self) -> str:
        return self.root.lab

    @property
    def profile(self) -> Profile:
        return self.root.profile

    @property
    def targets_version(self) -> int:
        """The newest targets version, 0 before the first."""
        return len(self.states)

    @property
    def newest(self) -> TrustState:
        """The newest state, expired or not; `Refused` while founding, or while targets await the newest root's keys."""
        if self.targets is None:
            raise Refused(
                "trust-founding",
                f"lab `{self.lab}` is founding: no targets version is published yet, so nothing is granted",
                hint="`keyturn trust sign` by each founder, then `keyturn trust publish`",
            )
        # A root that removed a signer closes every gate until the people that it names have signed targets again.
        try:
            require_threshold(self.targets.raw, by=self.root, role="targets")
        except Refused as err:
            raise Refused("trust-targets-unsigned", err.message, hint="keyturn trust propose, sign, publish") from err
        return self.states[-1]

    def current(self, *, now: int) -> TrustState:
        """The newest state, for whoever opens a door at `now`; `Refused` when root or targets have expired."""
        state = self.newest
        _refuse_expired("root", state.root_version, state.root_expires_at, now)
        _refuse_expired("targets", state.targets_version, state.targets_expires_at, now)
        return state

    def at(self, trust_version: int) -> TrustState | None:
        """What targets version `trust_version` said, under the root of then; `None` when the history has no such version."""
        return self.states[trust_version - 1] if 1 <= trust_version <= len(self.states) else None

    def logs_since(self, trust_version: int) -> tuple[Log, ...]:
        """Every log definition in force from targets version `trust_version` to the newest, each once, oldest first.

        A change of witnesses or log key needs the old quorum and the new: whoever moves a view from `trust_version` to
        here accepts a checkpoint only if it satisfies each of these.
        """
        return tuple(dict.fromkeys(state.log for state in self.states[max(trust_version, 1) - 1 :]))

    def advance(self, version: TrustVersion, *, now: int | None) -> TrustHistory:
        """Verify the next root or targets version, and return the history with it. The newest again changes nothing.

        (1) its structure (`trust.metadata`); (2) its number: the next one, else `trust-rollback`, `trust-version-skipped`;
        (3) signatures by the threshold of distinct humans of the newest root, and for a root of itself as well:
        `trust-threshold`; (4) one version is one text: `trust-version-twice`; (5) its content; (6) with `now`, its expiry.
        """
        if version.role == "root":
            return self._advance_root(version, now)
        return self._advance_targets(version, now)

    def followed_by(self, version: TrustVersion) -> TrustHistory:
        """The history after a version that stands in a log: as `advance`, and one that does not verify changes nothing.

        Whoever keeps the log can write what nobody signed into it. That stops no reader, and misleads none.
        """
        try:
            return self.advance(version, now=None)
        except (Malformed, Refused):
            return self

    def _advance_root(self, version: TrustVersion, now: int | None) -> TrustHistory:
        new = parse_root(version.metadata)  # (1)
        _check_number("root", version.version, new.version, self.root.version)  # (2)
        if new.version == self.root.version:
            require_threshold(new.raw, by=self.root, role="root")  # (3)
            if signed_sha256(new.raw) != signed_sha256(self.root.raw):  # (4)
                raise Tampered("trust-version-twice", f"two different texts of root version {new.version} are signed")
            _refuse_expired_now("root", new.version, new.expires_at, now)
            return self
        require_threshold(new.raw, by=self.root, role="root")  # (3)
        require_threshold(new.raw, by=new, role="root")
        if new.lab != self.lab:  # (5)
            raise Refused("trust-lab-changed", f"root: expected lab `{self.lab}`, got `{new.lab}`")
        if new.profile != self.profile:
            raise Refused(
                "trust-profile-changed",
                f"root: profile `{self.profile}` is fixed for the root's life, got `{new.profile}`",
            )
        states = self.states
        if states:
            check_trust_keys(states[-1], new)
            rerooted = replace(
                states[-1], root_version=new.version, root_expires_at=new.expires_at, publishers=new.publishers
            )
            states = (*states[:-1], rerooted)
        _refuse_expired_now("root", new.version, new.expires_at, now)  # (6)
        return replace(self, root=new, links=(*self.links, _root_link(new)), states=states)

    def _advance_targets(self, version: TrustVersion, now: int | None) -> TrustHistory:
        new = parse_targets_metadata(version.metadata)  # (1)
        _check_number("targets", version.version, new.version, self.targets_version)  # (2)
        require_threshold(new.raw, by=self.root, role="targets")  # (3)
        if self.targets is not None and new.version == self.targets.version:
            if signed_sha256(new.raw) != signed_sha256(self.targets.raw):  # (4)
                raise Tampered(
                    "trust-version-twice", f"two different texts of targets version {new.version} are signed"
                )
            _check_files(new, version.files)
            _refuse_expired_now("targets", new.version, new.expires_at, now)
            return self
        if new.lab != self.lab:  # (5)
            raise Refused("trust-lab-changed", f"targets: expected lab `{self.lab}`, got `{new.lab}`")
        _check_files(new, version.files)
        state = parse_targets(
            dict(version.files), root=self.root, targets_version=new.version, targets_expires_at=new.expires_at
        )
        if self.states and state.log.origin != self.states[-1].log.origin:
            raise Refused(
                "log-origin-changed",
                f"log.toml: the log is `{self.states[-1].log.origin}` for the lab's life, got `{state.log.origin}`",
                hint="witnesses and the log's key can change; another origin would be another log",
            )
        kinds, owners = self._check_identities(state.roster)
        _refuse_expired_now("targets", new.version, new.expires_at, now)  # (6)
        link = Link(
            "targets", new.version, sha256(new.raw), signers(new.raw, by=self.root, role="targets"), new.expires_at
        )
        return replace(
            self,
            links=(*self.links, link),
            states=(*self.states, state),
            targets=new,
            kinds_ever=MappingProxyType(kinds),
            owners_ever=MappingProxyType(owners),
        )

    def _check_identities(self, roster: Roster) -> tuple[dict[str, MemberKind], dict[PublicKey, str]]:
        # INVARIANT: an id means one member for ever, and a key signs for one member for ever, so that no record of the
        # past is ever read as somebody else's.
        kinds, owners = dict(self.kinds_ever), dict(self.owners_ever)
        present = self.states[-1].roster.members if self.states else {}
        for member in roster.members.values():
            if member.id in kinds and (member.id not in present or kinds[member.id] != member.kind):
                raise Refused("member-id-reused", f"`{member.id}` was another member before: ids are never reused")
            kinds[member.id] = member.kind
            for held in member.keys:
                owner = owners.setdefault(held.key, member.id)
                if owner != member.id:
                    raise Refused(
                        "member-key-reassigned", f"key `{held.key.keyid[:16]}` of `{member.id}` was `{owner}`'s"
                    )
        return kinds, owners


def walk(root_json: bytes, *, pinned_sha256: str, versions: Iterable[TrustVersion], now: int | None) -> TrustHistory:
    """Start from the pinned first root and advance through `versions`, in the order in which they were published.

    With `now`, only what is newest at the end must be unexpired (`TrustHistory.current`): the past may have expired.
    """
    history: TrustHistory = TrustHistory.start(root_json, pinned_sha256=pinned_sha256)
    for version in versions:
        history = history.advance(version, now=None)
    if now is not None:
        history.current(now=now)
    return history


def _root_link(root: RootMetadata) -> Link:
    return Link("root", root.version, sha256(root.raw), signers(root.raw, by=root, role="root"), root.expires_at)


def _check_number(role: str, outside: int, inside: int, known: int) -> None:
    if outside != inside:
        raise Malformed(
            "trust-version-mismatch", f"{role}: the container says version {outside}, the metadata {inside}"
        )
    if inside < known:
        raise Refused("trust-rollback", f"{role}: expected version {known} or {known + 1}, got {inside}")
    if inside > known + 1:
        raise Refused("trust-version-skipped", f"{role}: expected version {known + 1}, got {inside}")


def _check_files(metadata: TargetsMetadata, files: tuple[tuple[str, bytes], ...]) -> None:
    given = dict(files)
    for path, expected in metadata.files.items():
        content = given.get(path)
        if content is None:
            raise Refused(
                "targets-file-missing", f"targets version {metadata.version} names `{path}`, which is not here"
            )
        if len(content) != expected.size_bytes or sha256(content) != expected.sha256:
            raise Refused(
                "targets-file-hash", f"`{path}`: expected SHA-256 `{expected.sha256}`, got `{sha256(content)}`"
            )
    extra = sorted(given.keys() - metadata.files.keys())
    if extra or len(given) != len(files):
        raise Refused(
            "targets-file-extra", f"targets version {metadata.version} does not name `{', '.join(extra)[:120]}`"
        )


def _refuse_expired(role: str, version: int, expires_at: int, now: int) -> None:
    if now >= expires_at:
        raise Refused(
            "trust-expired",
            f"{role} version {version} expired at {expires_at}, now is {now}: it proves the past, and opens nothing",
            hint="`keyturn trust propose --renew`, sign, publish",
        )


def _refuse_expired_now(role: str, version: int, expires_at: int, now: int | None) -> None:
    if now is not None:
        _refuse_expired(role, version, expires_at, now)
