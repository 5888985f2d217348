"""Sign what is staged, as one human, after it was shown."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from keyturn.app.trust.lab_trust import read_history
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused, Usage
from keyturn.formats import trust_version
from keyturn.formats.digest import Sha256
from keyturn.formats.trust_version import TrustVersion
from keyturn.ports import TrustStore
from keyturn.trust.metadata import RootMetadata, parse_root, signed_sha256
from keyturn.trust.signing import add_signature

__all__ = ["Signed", "sign_trust"]


@dataclass(frozen=True, slots=True)
class Signed:
    """What one human signed: (role, version, SHA-256 of what the signature is over)."""

    human: str
    versions: tuple[tuple[str, int, Sha256], ...]


def sign_trust(key: RecordSigner, *, shown: tuple[Sha256, ...], pinned_sha256: str | None, store: TrustStore) -> Signed:
    """Add signatures by the trust key `key` to the staged versions in which it counts.

    (0) a lab that has published is the one whose first root the person pinned: beside a forged history, a change looks like
    none, and would be signed unseen; (1) `shown` are the digests of what the person saw: anything else staged by now is
    refused; (2) the key is held by a human of the root in force or of the one proposed; (3) nobody else changed what is
    staged meanwhile (`Conflict`).
    """
    if store.versions() and pinned_sha256 is None:  # (0)
        raise Usage(
            "trust-root-unpinned",
            "you have pinned no root of this lab, so nobody knows what the change is held against",
            hint="compare the SHA-256 that `keyturn trust log` shows with a coworker, then `keyturn trust pin SHA256`",
        )
    staged = tuple(store.staged())
    versions = tuple(trust_version.parse(raw) for raw in staged)
    if not versions or tuple(signed_sha256(version.metadata) for version in versions) != shown:  # (1)
        raise Refused("trust-not-shown", "what is staged is not what was shown", hint="`keyturn trust show`, then sign")
    history = read_history(store, pinned_sha256=pinned_sha256)
    roots = (history.root,) if history is not None else ()
    done: list[TrustVersion] = []
    signed: list[tuple[str, int, Sha256]] = []
    human = ""
    for version in versions:
        if version.role == "root":
            roots = (*roots[-1:], parse_root(version.metadata))
        named = _human(key, version, roots)  # (2)
        if named is None:
            done.append(version)
            continue
        human = named
        done.append(msgspec.structs.replace(version, metadata=add_signature(version.metadata, key)))
        signed.append((version.role, version.version, signed_sha256(version.metadata)))
    if not signed:
        raise Refused("trust-key-unknown", f"key `{key.public.keyid[:16]}` counts for nothing that is staged")
    store.swap_staged(staged, tuple(trust_version.render(version) for version in done))  # (3)
    return Signed(human, tuple(signed))


def _human(key: RecordSigner, version: TrustVersion, roots: tuple[RootMetadata, ...]) -> str | None:
    # Targets are judged by the newest root alone; a root by itself and by the one before.
    counting = roots if version.role == "root" else roots[-1:]
    for root in reversed(counting):
        for holder in root.holders:
            if holder.key == key.public and (holder.root if version.role == "root" else holder.targets):
                return holder.human
    return None
