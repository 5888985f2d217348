"""Make a recovery grant in a file: one holder of a root key after another signs what he was shown, until they are enough.

It needs no log: the file goes from hand to hand, and to the gate. It is logged afterwards, so that everybody knows.
"""

from __future__ import annotations

from keyturn.app.records.sign_record import about
from keyturn.crypto.dsse_signing import RecordSigner, sign
from keyturn.errors import Refused
from keyturn.formats import dsse, statement
from keyturn.formats.dsse import Envelope
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.formats.recovery import RECOVERY_GRANT, RecoveryGrant
from keyturn.formats.uri import Uri
from keyturn.grants.recovery import require_one
from keyturn.trust.metadata import RootMetadata

__all__ = ["add_signature", "holder_of", "payload_of", "recovery_in", "shown", "signers_of"]


def payload_of(made: RecoveryGrant) -> bytes:
    """What is signed: `made`, about its resource; `Refused` when no gate would take it."""
    require_one(made)
    return statement.make(made, RECOVERY_GRANT, about(Uri.parse(made.resource).digest, name=made.resource))


def recovery_in(raw: bytes) -> tuple[Envelope, RecoveryGrant]:
    """The recovery grant in the file `raw`, to be shown whole; its signatures are not looked at."""
    envelope = dsse.parse_own(raw)
    return envelope, statement.parse(envelope.payload, RecoveryGrant, RECOVERY_GRANT).predicate


def holder_of(key: RecordSigner, root: RootMetadata) -> str:
    """The human who holds `key` as a root key of `root`; `Refused` when nobody does."""
    for holder in root.holders:
        if holder.root and holder.key == key.public:
            return holder.human
    raise Refused(
        "recovery-signer",
        f"key `{key.public.keyid[:16]}` is no root key of root version {root.version}",
        hint="sign with the trust key that root lists for you: --trust-key FILE",
    )


def add_signature(payload: bytes, envelope: Envelope | None, key: RecordSigner, *, root: RootMetadata) -> Envelope:
    """`envelope`, over `payload`, with the signature of `key` among its signatures; a new one when there is none yet."""
    human = holder_of(key, root)
    before = () if envelope is None else envelope.signatures
    if any(one.keyid == key.public.keyid for one in before):
        raise Refused("recovery-signed", f"`{human}` has signed it already", hint="hand the file on to another holder")
    signatures = (*before, *sign(payload, key).signatures)
    ordered = tuple(sorted(signatures, key=lambda one: one.keyid))
    return Envelope(payload_type=dsse.IN_TOTO, payload=payload, signatures=ordered)


def signers_of(envelope: Envelope, root: RootMetadata) -> tuple[str, ...]:
    """The humans whose root keys the signatures name; whether they hold is for the gate."""
    named = {one.keyid for one in envelope.signatures}
    return tuple(sorted(h.human for h in root.holders if h.root and h.key.keyid in named))


def shown(made: RecoveryGrant) -> tuple[tuple[str, str], ...]:
    """Every field that is signed, in words."""
    return (
        ("RECOVERY", "opens without the log, whoever is suspended"),
        ("for whom", made.beneficiary),
        ("action", made.action),
        ("resource", made.resource),
        ("at gate", made.gate),
        ("why", made.justification),
        ("not before", rfc3339(made.not_before)),
        ("not after", f"{rfc3339(made.not_after)} ({duration(made.not_after - made.not_before)})"),
        ("signed at", rfc3339(made.signed_at)),
        ("session key", made.session_key),
        ("lab", made.lab),
        ("root version", str(made.root_version)),
        ("nonce", made.nonce),
    )
