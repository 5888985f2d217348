"""Give the log another key: make it, and put its public key into the trust draft for people to see, sign and publish.

Nothing signs with it before targets name it; the log then signs with both until the old file is deleted, so that gates can
move (docs/decisions/0021-changing-witnesses.md).
"""

from __future__ import annotations

from dataclasses import replace

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.ports import KeyStore, TrustStore
from keyturn.trust.draft import Draft

__all__ = ["new_log_key"]


def new_log_key(name: str, *, keys: KeyStore, store: TrustStore) -> PublicKey:
    """Make the key `name` and change the draft; `Refused` `trust-no-draft` when there is none, `key-exists`."""
    files = store.draft()
    if not files:
        raise Refused("trust-no-draft", "there is no draft that could name the log's key", hint="keyturn init")
    draft = Draft.parse(files)  # before the key is made: a draft that does not parse makes none
    public = keys.create(name).public
    log = replace(draft.contents.log, key=public)
    store.swap_draft(files, replace(draft, contents=replace(draft.contents, log=log)).render())
    return public
