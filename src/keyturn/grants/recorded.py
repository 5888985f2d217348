"""Verify that the log has a recording: the bastion's own word for these very bytes, under a witnessed checkpoint.

Whoever opens a share asks this first, so that nothing is opened in a session's name but what its bastion said that it recorded,
when everybody could see it. Where in the log that word stands is found by whoever has the log (`app.records.find_recording`).

1. the statement is a `recording/v1` of the lab, of the recording's own digest, and of the request and bastion of its header;
2. its leaf, computed anew, is in the tree that the view's witnesses cosigned;
3. the bastion signed it, with a key that targets list for it in the version that the recording names, or in a later one;
4. the recording is sealed to the keyholders that this version names, each by his key, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.crypto.dsse_signing import verify_one
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.recording import Recording
from keyturn.formats.sealed_recording import Header
from keyturn.grants.view import GateView
from keyturn.tlog import merkle
from keyturn.trust.roster import TrustState

__all__ = ["LoggedWord", "require_recorded", "require_sealed_to"]


@dataclass(frozen=True, slots=True)
class LoggedWord:
    """What may be the log's word for a recording: an envelope, and the proof that its leaf is at `index`. Not verified."""

    envelope: bytes
    index: int
    proof: tuple[bytes, ...]


def require_recorded(found: Sequence[LoggedWord], view: GateView, *, recording: Sha256, header: Header) -> None:
    """Raise unless one of `found` is the word for the recording with this digest and header; the first that is counts.

    `Refused` `recording-unlogged` when there is none; else what is wrong with the last.
    """
    why: KeyturnError = Refused(
        "recording-unlogged",
        f"the witnessed log has no word of `{header.gate}` for the recording `sha256:{recording}`",
        hint="wait a minute if it is new, and compare it with the bastion's; if it stays so, somebody made it",
    )
    for one in found:
        try:
            return _require_word(one, view, recording=recording, header=header)
        except KeyturnError as err:
            why = err
    raise why


def require_sealed_to(header: Header, view: GateView) -> TrustState:
    """The trust version that the recording names; `Refused` unless it is sealed to the keyholders of that very version."""
    then = view.trust.at(header.targets_version)
    named = None if then is None else then.recordings
    if then is None or named is None:
        raise Refused(
            "recording-keyholders",
            f"trust version {header.targets_version}, which the recording names, has no keyholders",
        )
    expected = (named.quorum, [(one.human, sha256(one.spki)) for one in named.holders])
    if (header.quorum, [(share.holder, share.key) for share in header.shares]) != expected:
        found = ", ".join(share.holder for share in header.shares)
        raise Refused(
            "recording-keyholders",
            f"trust version {header.targets_version} has recordings sealed to {named.text}, by their keys there; "
            f"this one is to {header.quorum} of {found}",
            hint="its bastion does not do what the lab signed: keyturn trust suspend --gate, and find out who runs it",
        )
    return then


def _require_word(one: LoggedWord, view: GateView, *, recording: Sha256, header: Header) -> None:
    record = records.parse(one.envelope)  # (1)
    said = record.statement.predicate
    if not isinstance(said, Recording):
        raise Refused("recording-unlogged", f"entry {one.index} of the log is no word for a recording: `{record.id}`")
    expected = (header.lab, recording, header.gate, header.request, header.what, header.begun_at)
    if (said.lab, said.digest, said.gate, said.request, said.what, said.begun_at) != expected:
        raise Refused("recording-other", f"`{record.id}` in the log is for another recording, bastion or session")
    leaf = leaf_format.render(records.leaf_of_record(record, one.envelope))  # (2)
    tree = view.frontier  # INVARIANT: a view has no other tree than the one that its witnesses cosigned
    merkle.verify_inclusion(merkle.leaf_hash(leaf), index=one.index, size=tree.size, proof=one.proof, root=tree.root)
    then = require_sealed_to(header, view)  # (4)
    for state in view.trust.states[then.targets_version - 1 :]:  # (3)
        gate = state.gates.get(header.gate)
        if gate is not None and gate.key.keyid == said.key:
            verify_one(record.envelope, gate.key)
            return
    raise Refused(
        "recording-signer",
        f"key `{said.key[:16]}` of `{record.id}` is `{header.gate}`'s in no trust version from {then.targets_version} on",
    )
