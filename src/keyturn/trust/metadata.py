"""Read root and targets metadata strictly, and count the humans who signed them.

Follows the TUF specification 1.0 (python-tuf's `tuf.api` checks each signature over its canonical JSON) and adds what TUF
lacks: one key has one encoding and one id (the SHA-256 of its SubjectPublicKeyInfo DER), one human has one key, and a
threshold counts distinct humans. Root carries `x-keyturn`: lab, profile, the human who holds each root and targets key,
and which of the keys are kept offline for recovery; targets carry the lab (docs/formats/trust.md).

This is NOT the history: whether a version may follow another one is `trust.history`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from msgspec import Meta
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused
from keyturn.formats.built import built
from keyturn.formats.digest import Sha256, check_path, sha256
from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId
from keyturn.trust.roster import Profile

__all__ = [
    "METADATA_BYTES_MAX",
    "X_KEYTURN",
    "Holder",
    "RootMetadata",
    "TargetFile",
    "TargetsMetadata",
    "parse_root",
    "parse_targets_metadata",
    "require_threshold",
    "signed_sha256",
    "signers",
]

METADATA_BYTES_MAX = 512 * 1024
X_KEYTURN = "x-keyturn"

SigningRole = Literal["root", "targets"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Holder:
    """A human's trust key, and the roles that it counts for. `recovery`: kept offline, signs root only."""

    human: str
    key: PublicKey
    root: bool
    targets: bool
    recovery: bool


@dataclass(frozen=True, slots=True)
class RootMetadata:
    """One root version whose structure was checked; that it is signed is `require_threshold`'s affair."""

    raw: bytes
    version: int
    lab: str
    profile: Profile
    expires_at: int
    threshold: int
    targets_threshold: int
    holders: tuple[Holder, ...]
    online: tuple[PublicKey, ...]

    @property
    def publishers(self) -> frozenset[str]:
        """Everyone whose signature counts for root or targets."""
        return frozenset(holder.human for holder in self.holders)


@dataclass(frozen=True, slots=True)
class TargetFile:
    """What targets metadata says of one file."""

    size_bytes: int
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class TargetsMetadata:
    """One targets version whose structure was checked; that it is signed is `require_threshold`'s affair."""

    raw: bytes
    version: int
    lab: str
    expires_at: int
    files: Mapping[str, TargetFile]


Version = Annotated[int, Meta(ge=1, le=2**31)]
SpecVersion = Annotated[str, Meta(pattern=r"\A1\.0(\.[0-9]{1,3})?\Z")]
Expires = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: KeyId
    sig: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2}){0,512}\Z")]


class _KeyValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    public: Annotated[str, Meta(max_length=1000)]


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keytype: str
    scheme: str
    keyval: _KeyValue


class _Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyids: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    threshold: Annotated[int, Meta(ge=1, le=64)]


class _Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    root: _Role
    targets: _Role
    snapshot: _Role
    timestamp: _Role


class _Keyturn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lab: LabName
    profile: Profile
    holders: Annotated[dict[str, MemberId], Meta(max_length=128)]
    recovery: Annotated[tuple[str, ...], Meta(max_length=64)]


class _Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type_: Literal["root"] = msgspec.field(name="_type")
    spec_version: SpecVersion
    version: Version
    expires: Expires
    consistent_snapshot: bool
    keys: Annotated[dict[str, _Key], Meta(max_length=128)]
    roles: _Roles
    keyturn: _Keyturn = msgspec.field(name=X_KEYTURN)


class _Hashes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: HexDigest


class _TargetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    length: Annotated[int, Meta(ge=0, le=2**31)]
    hashes: _Hashes


class _TargetsKeyturn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lab: LabName


class _Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type_: Literal["targets"] = msgspec.field(name="_type")
    spec_version: SpecVersion
    version: Version
    expires: Expires
    targets: Annotated[dict[str, _TargetFile], Meta(max_length=256)]
    keyturn: _TargetsKeyturn = msgspec.field(name=X_KEYTURN)


def parse_root(raw: bytes) -> RootMetadata:
    """Parse a root version and check everything that TUF leaves open, or raise `Malformed` or `Refused` by name.

    (1) strict JSON, no duplicate and no unknown fields; (2) each key in its one encoding, once, under its own id;
    (3) every key is held: root and targets keys by exactly one human each, one key per human, snapshot and timestamp by
    nobody; (4) thresholds of at least two humans that can be met; (5) what `production` asks for.
    """
    wire = _parse(raw, _Root, what="root")  # (1)
    if not wire.consistent_snapshot:
        raise Refused("trust-consistent-snapshot", "root: expected consistent_snapshot, got false")
    keys = _keys(wire)  # (2)
    holders = _holders(wire, keys)  # (3)
    online = tuple(keys[keyid] for keyid in dict.fromkeys(wire.roles.snapshot.keyids + wire.roles.timestamp.keyids))
    root = RootMetadata(
        raw=raw,
        version=wire.version,
        lab=wire.keyturn.lab,
        profile=wire.keyturn.profile,
        expires_at=_expires_at(raw, what="root"),
        threshold=wire.roles.root.threshold,
        targets_threshold=wire.roles.targets.threshold,
        holders=holders,
        online=online,
    )
    _check_thresholds(root)  # (4)
    if root.profile == "production":  # (5)
        _check_production(root)
    return root


def parse_targets_metadata(raw: bytes) -> TargetsMetadata:
    """Parse a targets version, or raise `Malformed`. Delegations, custom fields and other hashes are refused."""
    wire = _parse(raw, _Targets, what="targets")
    files = {check_path(path): TargetFile(f.length, Sha256(f.hashes.sha256)) for path, f in wire.targets.items()}
    return TargetsMetadata(
        raw=raw,
        version=wire.version,
        lab=wire.keyturn.lab,
        expires_at=_expires_at(raw, what="targets"),
        files=files,
    )


def signers(raw: bytes, *, by: RootMetadata, role: SigningRole) -> frozenset[str]:
    """Name the humans whose key under root `by` has validly signed the metadata `raw` in `role`."""
    metadata: Metadata[Any] = Metadata.from_bytes(raw)
    root: Root = Metadata[Root].from_bytes(by.raw).signed
    result = root.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    human_of = {holder.key.keyid: holder.human for holder in by.holders}
    return frozenset(human_of[keyid] for keyid in result.signed)


def signed_sha256(raw: bytes) -> Sha256:
    """Digest what the signatures of `raw` are over: equal for two copies that differ in their signatures only."""
    metadata: Metadata[Any] = Metadata.from_bytes(raw)
    return sha256(metadata.signed_bytes)


def require_threshold(raw: bytes, *, by: RootMetadata, role: SigningRole) -> None:
    """Check that enough distinct humans of root `by` signed `raw`, or raise `Refused`."""
    needed = by.threshold if role == "root" else by.targets_threshold
    signed = signers(raw, by=by, role=role)
    if len(signed) < needed:
        raise Refused(
            "trust-threshold",
            f"{role}: expected signatures of {needed} humans of root version {by.version}, "
            f"got {len(signed)} ({', '.join(sorted(signed)) or 'nobody'})",
            hint="`keyturn trust show`, then `keyturn trust sign`",
        )


def _parse(raw: bytes, kind: type[T], *, what: str) -> T:
    if len(raw) > METADATA_BYTES_MAX:
        raise Malformed("trust-metadata-too-large", f"{what}: expected at most {METADATA_BYTES_MAX} bytes")
    try:
        document = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant
        )
        outer = msgspec.convert(document, built(_Document))
        if "delegations" in outer.signed:
            raise Refused("trust-delegations", f"{what}: expected no delegations, got some")
        return msgspec.convert(outer.signed, built(kind))
    except (ValueError, RecursionError, msgspec.ValidationError) as err:
        raise Malformed(
            "trust-metadata-invalid",
            f"{what}: expected TUF metadata in JSON: {str(err)[:300]}",
            hint="a lab's first root is its trust/root.json",
        ) from err


def _expires_at(raw: bytes, *, what: str) -> int:
    # tuf reads the same bytes: what it would refuse when signatures are checked is refused here, by name.
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(raw)
    except DeserializationError as err:
        raise Malformed("trust-metadata-invalid", f"{what}: {str(err.__cause__ or err)[:300]}") from err
    return int(metadata.signed.expires.timestamp())


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signed: dict[str, Any]
    signatures: Annotated[tuple[_Signature, ...], Meta(max_length=64)]


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("trust-json-duplicate", "metadata: expected each JSON field once, got one twice")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"expected JSON, got `{text}`")


def _keys(wire: _Root) -> dict[str, PublicKey]:
    keys = {keyid: _key(key) for keyid, key in wire.keys.items()}
    first: dict[bytes, str] = {}
    for keyid, key in keys.items():
        other = first.setdefault(key.spki, keyid)
        if other != keyid:
            humans = {wire.keyturn.holders.get(other), wire.keyturn.holders.get(keyid)}
            if len(humans) == 2 and None not in humans:
                raise Refused("trust-key-two-humans", f"root: key `{key.keyid[:16]}` is listed for two humans")
            raise Refused("trust-key-two-ids", f"root: key `{key.keyid[:16]}` is listed under two key ids")
    for keyid, key in keys.items():
        if keyid != key.keyid:
            raise Refused(
                "trust-keyid", f"root: expected key id `{key.keyid[:16]}` (SHA-256 of its DER), got `{keyid[:16]}`"
            )
    for role in (wire.roles.root, wire.roles.targets, wire.roles.snapshot, wire.roles.timestamp):
        if len(set(role.keyids)) != len(role.keyids) or not keys.keys() >= set(role.keyids):
            raise Refused("trust-role-keys", "root: expected each role to list known keys, each once")
    return keys


def _key(wire: _Key) -> PublicKey:
    text = wire.keyval.public
    try:
        match wire.keytype, wire.scheme:
            case "ed25519", "ed25519":
                key = PublicKey.from_ed25519(bytes.fromhex(text))
            case "ecdsa", "ecdsa-sha2-nistp256":
                public = serialization.load_pem_public_key(text.encode("ascii"))
                key = PublicKey.from_spki(
                    public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
                )
            case _:
                raise Refused(
                    "trust-key-type",
                    f"root: expected an Ed25519 or ECDSA P-256 key, got `{wire.keytype[:40]}`, `{wire.scheme[:40]}`",
                )
    except (ValueError, UnsupportedAlgorithm) as err:
        raise Malformed("key-invalid", "root: a public key does not parse", detail=str(err)) from err
    canonical = key.to_tuf()
    if canonical.keytype != wire.keytype or canonical.keyval["public"] != text:
        raise Refused(
            "trust-key-not-canonical",
            f"root: key `{key.keyid[:16]}` is written in another way than its one (lower-case hex, or PEM as OpenSSL has it)",
        )
    return key


def _holders(wire: _Root, keys: Mapping[str, PublicKey]) -> tuple[Holder, ...]:
    root_ids, targets_ids = frozenset(wire.roles.root.keyids), frozenset(wire.roles.targets.keyids)
    online_ids = frozenset(wire.roles.snapshot.keyids + wire.roles.timestamp.keyids)
    held, recovery = wire.keyturn.holders, frozenset(wire.keyturn.recovery)
    if online_ids & (root_ids | targets_ids):
        raise Refused("trust-online-key-shared", "root: expected no root or targets key to sign snapshot or timestamp")
    if held.keys() != root_ids | targets_ids:
        raise Refused("trust-holders", "root: expected the holder of each root and targets key, and of no other key")
    if keys.keys() != held.keys() | online_ids:
        raise Refused("trust-key-unused", "root: expected no key without a role")
    if len(set(held.values())) != len(held):
        raise Refused("trust-human-two-keys", "root: expected one key per human, got a human with two")
    if not recovery <= root_ids - targets_ids or len(recovery) != len(wire.keyturn.recovery):
        raise Refused(
            "trust-recovery-key", "root: expected recovery keys to sign root and nothing else, each listed once"
        )
    return tuple(
        Holder(human, keys[keyid], root=keyid in root_ids, targets=keyid in targets_ids, recovery=keyid in recovery)
        for keyid, human in sorted(held.items(), key=lambda item: item[1])
    )


def _check_thresholds(root: RootMetadata) -> None:
    for role, threshold, keys in (
        ("root", root.threshold, sum(holder.root for holder in root.holders)),
        ("targets", root.targets_threshold, sum(holder.targets for holder in root.holders)),
    ):
        if threshold < 2:
            raise Refused("trust-threshold-one", f"{role}: expected a threshold of at least 2 humans, got {threshold}")
        if threshold > keys:
            raise Refused(
                "trust-threshold-unreachable",
                f"{role}: expected at least {threshold} humans with a trust key, got {keys}",
                hint="keyturn trust invite MEMBER, who accepts; then keyturn trust propose --acceptance FILE",
            )


def _check_production(root: RootMetadata) -> None:
    if sum(holder.root for holder in root.holders) < 3:
        raise Refused("production-root-keys", "root: expected at least 3 humans in production, got fewer")
    if not any(holder.recovery for holder in root.holders):
        raise Refused("production-recovery-key", "root: expected an offline recovery key in production, got none")
