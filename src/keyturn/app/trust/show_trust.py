"""Show what is staged: every change whole, who has signed, who is still needed, and who could then open what."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.trust.lab_policy import coalition_changes
from keyturn.app.trust.lab_trust import published_files, read_history
from keyturn.errors import Refused
from keyturn.formats import trust_version
from keyturn.ports import TrustStore
from keyturn.trust.metadata import parse_root
from keyturn.trust.proposal import ProposedVersion, describe

__all__ = ["Shown", "show_trust"]


@dataclass(frozen=True, slots=True)
class Shown:
    """The staged versions, and what they change in who can get through which permit, in sentences."""

    versions: tuple[ProposedVersion, ...]
    coalitions: tuple[str, ...]


def show_trust(*, pinned_sha256: str | None, store: TrustStore) -> Shown:
    """Describe the staged versions, from the bytes that would be signed; `Refused` when nothing is staged.

    What they change is only as true as what lies in force beside them: `pinned_sha256` says whose it is.
    """
    staged = tuple(trust_version.parse(raw) for raw in store.staged())
    if not staged:
        raise Refused(
            "trust-nothing-staged",
            "nothing awaits signatures: nothing was proposed since what is in force"
            if store.versions()
            else "nothing awaits signatures: the lab is founding, and nothing was proposed yet",
            hint="`keyturn trust invite` who is missing, edit trust/draft in the lab, then `keyturn trust propose`",
        )
    history = read_history(store, pinned_sha256=pinned_sha256)
    versions = describe(staged, history, published_files(store))
    before = history.at(history.targets_version) if history is not None else None
    after = next((version.state for version in versions if version.state is not None), None)
    lines = coalition_changes(before, after)
    if after is not None:
        root = next((parse_root(v.metadata) for v in staged if v.role == "root"), history.root if history else None)
        assert root is not None  # `describe` refused targets without a root
        targets = ", ".join(holder.human for holder in root.holders if holder.targets)
        if after.recordings is not None:
            lines += (f"recordings of bastions, together: any {after.recordings.text}",)
        roots = ", ".join(holder.human for holder in root.holders if holder.root)
        lines += (
            f"everything, by publishing targets again: any {root.targets_threshold} of {targets}",
            f"everything, by publishing another root: any {root.threshold} of {roots}",
        )
    return Shown(versions, lines)
