"""Records and notes for tests of the log's storage: well formed, small, all different, signed as nobody checks there."""

from __future__ import annotations

from keyturn.formats import access, dsse, statement
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats.access import GateCheckin
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature
from keyturn.formats.statement import DigestSet, Subject
from keyturn.tlog.frontier import Frontier

__all__ = ["make_record", "make_records", "note_of"]

_GATE = "keyturn://acme.example/gate/release"


def make_record(number: int, *, padding: int = 0) -> bytes:
    """The envelope of check-in `number` of a gate; `padding` makes its signature longer."""
    checkin = GateCheckin(
        lab="acme.example", nonce=f"{number:032x}", gate=_GATE, key="0" * 64, signed_at=1_790_000_000 + number
    )
    subject = Subject(digest=DigestSet(sha256=Sha256("1" * 64)), name=_GATE)
    payload = statement.make(checkin, access.GATE_CHECKIN, (subject,))
    return dsse.render(
        Envelope(
            payload_type=IN_TOTO,
            payload=payload,
            signatures=(Signature(keyid="0" * 64, sig=bytes(64 + padding)),),
        )
    )


def make_records(count: int, *, start: int = 0) -> list[bytes]:
    return [make_record(number) for number in range(start, start + count)]


def note_of(tree: Frontier) -> bytes:
    """The log's note of `tree`."""
    body = checkpoints.render_body(Checkpoint("log.acme.example", tree.size, tree.root))
    return body + b"\n" + "— log.acme.example AAAAAAAA\n".encode()
