"""Stage the next root and targets versions from the draft, for people to see and sign."""

from __future__ import annotations

from keyturn.app.trust.lab_policy import check_policy
from keyturn.app.trust.lab_trust import published_files, read_history
from keyturn.errors import Refused
from keyturn.formats import trust_version
from keyturn.ports import Clock, TrustStore
from keyturn.trust.draft import propose
from keyturn.trust.proposal import ProposedVersion, describe

__all__ = ["propose_trust"]


def propose_trust(*, renew: bool, replace: bool, store: TrustStore, clock: Clock) -> tuple[ProposedVersion, ...]:
    """Make unsigned versions of the draft and stage them; what was staged with signatures goes only when `replace` says so."""
    staged = tuple(store.staged())
    history = read_history(store, pinned_sha256=None)
    before = published_files(store)
    if staged and not replace:
        shown = describe(tuple(trust_version.parse(raw) for raw in staged), history, before)
        signed = sorted(frozenset().union(*(version.signed_by for version in shown)))
        if signed:
            raise Refused(
                "trust-staged",
                f"a proposal awaits signatures, and has those of {', '.join(signed)}",
                hint="`keyturn trust show`; `--replace` throws the signatures away",
            )
    versions = propose(store.draft(), history, now=clock.now(), renew=renew)
    shown = describe(versions, history, before)
    for version in shown:
        if version.state is not None:
            check_policy(version.state)
    store.swap_staged(staged, tuple(trust_version.render(version) for version in versions))
    return shown
