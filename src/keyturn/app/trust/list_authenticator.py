"""List an authenticator in the draft, with the roots by which its attestations are judged. It counts when people signed it."""

from __future__ import annotations

from dataclasses import replace

from keyturn.ports import TrustStore
from keyturn.trust.attestation import AttestationRules, Authenticator
from keyturn.trust.draft import Draft

__all__ = ["list_authenticator"]


def list_authenticator(authenticator: Authenticator, *, required: bool | None, store: TrustStore) -> AttestationRules:
    """Write `authenticator` into the draft, in the place of an earlier one of its AAGUID; `required` `None` stays as it is.

    Raises `Malformed` by name, and changes nothing, when a key in the draft would have no right to be there any more.
    """
    files = store.draft()
    draft = Draft.parse(files)
    before = draft.contents.roster.attestation or AttestationRules(required=False, authenticators={})
    rules = AttestationRules(
        required=before.required if required is None else required,
        authenticators={**before.authenticators, authenticator.aaguid: authenticator},
    )
    contents = replace(draft.contents, roster=replace(draft.contents.roster, attestation=rules))
    rendered = Draft(draft.root, contents).render()
    Draft.parse(rendered)  # what could not be read back is not written
    # Only what this changes is written anew: people's comments in the other files stay.
    store.swap_draft(files, {**files, "roster.toml": rendered["roster.toml"]})
    return rules
