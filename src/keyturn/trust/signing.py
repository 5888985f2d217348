"""Make root, targets, snapshot and timestamp metadata, and add signatures to them.

Everything is made with `tuf.api`, so that any TUF client can follow a lab. What is made here is read back by
`trust.metadata` before anybody is asked to sign it: a root with a weird key or a shared one is never produced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from securesystemslib.signer import Signature
from tuf.api.metadata import Key, Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats.digest import sha256
from keyturn.trust.metadata import X_KEYTURN, Holder, parse_root, parse_targets_metadata
from keyturn.trust.roster import Profile

__all__ = ["add_signature", "make_root", "make_snapshot", "make_targets", "make_timestamp", "next_snapshot_version"]

SPEC_VERSION = "1.0.34"


def make_root(
    *,
    lab: str,
    profile: Profile,
    version: int,
    expires_at: int,
    threshold: int,
    targets_threshold: int,
    holders: Iterable[Holder],
    online: PublicKey,
) -> bytes:
    """Make an unsigned root version; `Malformed` or `Refused` if `parse_root` would refuse it."""
    held = tuple(holders)
    keys: dict[str, Key] = {key.keyid: key.to_tuf() for key in (*(holder.key for holder in held), online)}
    if len(keys) != len(held) + 1:
        raise Malformed("key-shared", "root: expected a key of their own for each human and for the online roles")
    root = Root(
        version=version,
        spec_version=SPEC_VERSION,
        expires=_date(expires_at),
        keys=keys,
        roles={
            "root": Role([holder.key.keyid for holder in held if holder.root], threshold),
            "targets": Role([holder.key.keyid for holder in held if holder.targets], targets_threshold),
            "snapshot": Role([online.keyid], 1),
            "timestamp": Role([online.keyid], 1),
        },
        consistent_snapshot=True,
        unrecognized_fields={
            X_KEYTURN: {
                "lab": lab,
                "profile": profile,
                "holders": {holder.key.keyid: holder.human for holder in held},
                "recovery": sorted(holder.key.keyid for holder in held if holder.recovery),
            }
        },
    )
    raw = _bytes(root)
    parse_root(raw)
    return raw


def make_targets(files: Mapping[str, bytes], *, lab: str, version: int, expires_at: int) -> bytes:
    """Make an unsigned targets version that names `files`."""
    targets = Targets(
        version=version,
        spec_version=SPEC_VERSION,
        expires=_date(expires_at),
        targets={
            path: TargetFile(length=len(content), hashes={"sha256": sha256(content)}, path=path)
            for path, content in sorted(files.items())
        },
        unrecognized_fields={X_KEYTURN: {"lab": lab}},
    )
    raw = _bytes(targets)
    parse_targets_metadata(raw)
    return raw


def make_snapshot(targets_metadata: bytes, *, targets_version: int, version: int, expires_at: int) -> bytes:
    """Make an unsigned snapshot, for other TUF clients."""
    meta = {"targets.json": _meta_file(targets_metadata, targets_version)}
    return _bytes(Snapshot(version=version, spec_version=SPEC_VERSION, expires=_date(expires_at), meta=meta))


def make_timestamp(snapshot_metadata: bytes, *, version: int, expires_at: int) -> bytes:
    """Make an unsigned timestamp, for other TUF clients. Its version is the snapshot's."""
    meta = _meta_file(snapshot_metadata, version)
    return _bytes(Timestamp(version=version, spec_version=SPEC_VERSION, expires=_date(expires_at), snapshot_meta=meta))


def next_snapshot_version(timestamp: bytes | None) -> int:
    """The version after that of the `timestamp` in force; 1 when there is none."""
    if timestamp is None:
        return 1
    metadata: Metadata[Timestamp] = Metadata.from_bytes(timestamp)
    return metadata.signed.version + 1


def add_signature(raw: bytes, key: RecordSigner) -> bytes:
    """Sign the metadata `raw`, beside the signatures that it has; the same key again replaces its own.

    `key` is in software or on a token: keys that sign something around what they are given (SSH, passkeys) sign no metadata.
    """
    metadata: Metadata[Any] = Metadata.from_bytes(raw)
    signed = metadata.signed_bytes
    signature = key.sign_record(signed)
    key.public.verify(signature, signed)
    metadata.signatures[key.public.keyid] = Signature(key.public.keyid, signature.hex())
    return metadata.to_bytes()


def _meta_file(raw: bytes, version: int) -> MetaFile:
    return MetaFile(version=version, length=len(raw), hashes={"sha256": sha256(raw)})


def _bytes(signed: Root | Targets | Snapshot | Timestamp) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    return metadata.to_bytes()


def _date(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
