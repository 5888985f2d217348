"""Show what a proposed version changes, whole and in lines that a person can read, before anyone signs it.

Root metadata is shown as the facts that it states (who holds which key, thresholds, dates), target files as their text.
What is shown is computed from the bytes that would be signed, never from the draft beside them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from keyturn.errors import Malformed, Refused
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.trust_version import TrustVersion
from keyturn.trust.history import TrustHistory
from keyturn.trust.metadata import (
    RootMetadata,
    parse_root,
    parse_targets_metadata,
    signed_sha256,
    signers,
)
from keyturn.trust.roster import TrustState
from keyturn.trust.targets import parse_targets

__all__ = ["FileChange", "ProposedVersion", "describe", "root_lines"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file as it was and as it would be: unified diff lines, all context kept."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProposedVersion:
    """One version before it is signed. `signed_by` and `needs` count humans of the roots that must agree.

    `needs` is (what, how many more): a new root needs the old root's threshold and its own. `state` is what targets would
    say, and is believed for nothing but showing it.
    """

    role: Literal["root", "targets"]
    version: int
    digest: Sha256
    expires_at: int
    changes: tuple[FileChange, ...]
    signed_by: frozenset[str]
    needs: tuple[tuple[str, int], ...]
    state: TrustState | None


def describe(
    versions: tuple[TrustVersion, ...], history: TrustHistory | None, files_before: Mapping[str, bytes]
) -> tuple[ProposedVersion, ...]:
    """Describe staged `versions` against what is in force; refuses what could not be published once signed.

    Only the next version is shown as a change: held against an older one, what was withdrawn since would look unchanged.
    """
    current = history.root if history is not None else None
    shown = []
    for version in versions:
        _check_next(version, history)
        if version.role == "root":
            new = parse_root(version.metadata)
            shown.append(_root(version, new, current))
            current = new
        else:
            if current is None:
                raise Refused("trust-founding", "expected a root version before the first targets version, got none")
            shown.append(_targets(version, current, files_before))
    return tuple(shown)


def _check_next(version: TrustVersion, history: TrustHistory | None) -> None:
    if version.role == "root":
        known = (history.root.version, history.root.raw) if history is not None else (0, b"")
        number = parse_root(version.metadata).version
    else:
        targets = history.targets if history is not None else None
        known = (targets.version, targets.raw) if targets is not None else (0, b"")
        number = parse_targets_metadata(version.metadata).version
    published = number == known[0] and signed_sha256(version.metadata) == signed_sha256(known[1])
    if number != version.version or (number != known[0] + 1 and not published):
        raise Refused(
            "trust-version-skipped", f"{version.role}: expected version {known[0] + 1} to be staged, got {number}"
        )


def root_lines(root: RootMetadata) -> tuple[str, ...]:
    """Say in lines what `root` says, in a stable order."""
    return (
        f"lab {root.lab}",
        f"profile {root.profile}",
        f"version {root.version}",
        f"expires {rfc3339(root.expires_at)}",
        f"root needs {root.threshold} humans",
        f"targets need {root.targets_threshold} humans",
        *(
            f"{holder.human} holds {holder.key.keyid} for "
            + " and ".join(role for role, has in (("root", holder.root), ("targets", holder.targets)) if has)
            + (", offline for recovery" if holder.recovery else "")
            for holder in root.holders
        ),
        *(f"online key {key.keyid} for snapshot and timestamp" for key in root.online),
    )


def _root(version: TrustVersion, new: RootMetadata, current: RootMetadata | None) -> ProposedVersion:
    needs, signed = [], signers(new.raw, by=new, role="root")
    needs.append((f"root version {new.version}", max(0, new.threshold - len(signed))))
    if current is not None:
        before = signers(new.raw, by=current, role="root")
        needs.insert(0, (f"root version {current.version}", max(0, current.threshold - len(before))))
        signed |= before
    old = root_lines(current) if current is not None else ()
    return ProposedVersion(
        role="root",
        version=new.version,
        digest=signed_sha256(version.metadata),
        expires_at=new.expires_at,
        changes=(FileChange("root", _diff(old, root_lines(new))),),
        signed_by=signed,
        needs=tuple(needs),
        state=None,
    )


def _targets(version: TrustVersion, root: RootMetadata, before: Mapping[str, bytes]) -> ProposedVersion:
    new = parse_targets_metadata(version.metadata)
    files = dict(version.files)
    if {path: (f.size_bytes, f.sha256) for path, f in new.files.items()} != {
        path: (len(content), sha256(content)) for path, content in files.items()
    }:
        raise Malformed("targets-file-hash", "the staged files are not those that the staged metadata names")
    state = parse_targets(files, root=root, targets_version=new.version, targets_expires_at=new.expires_at)
    changes = tuple(
        FileChange(path, _diff(_lines(before.get(path, b"")), _lines(files.get(path, b""))))
        for path in sorted(before.keys() | files.keys())
        if before.get(path) != files.get(path)
    )
    signed = signers(new.raw, by=root, role="targets")
    return ProposedVersion(
        role="targets",
        version=new.version,
        digest=signed_sha256(version.metadata),
        expires_at=new.expires_at,
        changes=changes,
        signed_by=signed,
        needs=((f"root version {root.version}", max(0, root.targets_threshold - len(signed))),),
        state=state,
    )


def _lines(content: bytes) -> tuple[str, ...]:
    return tuple(content.decode("utf-8").split("\n")) if content else ()


def _diff(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    lines = difflib.unified_diff(before, after, lineterm="", n=max(len(before), len(after)))
    return tuple(lines)[3:]  # without the `---`, `+++` and `@@` lines: every line is context
