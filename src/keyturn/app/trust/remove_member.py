"""Take a member out of the draft: whoever left the lab, or lost every key. It counts when the people have signed it."""

from __future__ import annotations

from keyturn.app.trust.invite_member import withdraw_invitations
from keyturn.ports import TrustStore
from keyturn.trust.draft import ROOT_FILE, Draft, leave

__all__ = ["remove_member"]


def remove_member(member: str, *, store: TrustStore) -> None:
    """Write the draft without `member`, to whom nothing is offered any more; raises what `trust.draft.leave` raises, and then
    nothing has changed."""
    files = store.draft()
    rendered = leave(Draft.parse(files), member).render()
    withdraw_invitations(member, store=store)  # first: what he accepted must not bring him back
    # Only what this changes is written anew: people's comments in the other files stay.
    store.swap_draft(files, {**files, ROOT_FILE: rendered[ROOT_FILE], "roster.toml": rendered["roster.toml"]})
