"""Parse and render a timestamped Ed25519 cosignature, and the message that it signs.

Follows C2SP tlog-cosignature, `cosignature/v1`: eight bytes of POSIX time, big-endian, and 64 bytes of Ed25519 over

    cosignature/v1
    time 1679315147
    <the checkpoint's body>

This is NOT verification; see `tlog.verify_checkpoint`. ML-DSA-44 cosignatures are signatures of an unknown key here.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.errors import Malformed

__all__ = ["TIME_MAX", "Cosignature", "message", "parse", "render"]

TIME_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cosignature:
    """When a witness cosigned (POSIX seconds, never 0), and its Ed25519 signature."""

    time: int
    signature: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.time <= TIME_MAX:
            raise Malformed("cosignature-time", f"cosignature: expected a time of 1 to 2^63 - 1, got {self.time}")
        if len(self.signature) != 64:
            raise Malformed(
                "cosignature-length", f"cosignature: expected a signature of 64 bytes, got {len(self.signature)}"
            )


def parse(raw: bytes) -> Cosignature:
    """Parse the signature bytes of a note line (without the key id), or raise `Malformed`."""
    if len(raw) != 72:
        raise Malformed("cosignature-length", f"cosignature: expected 72 bytes, got {len(raw)}")
    return Cosignature(int.from_bytes(raw[:8], "big"), raw[8:])


def render(cosignature: Cosignature) -> bytes:
    """Render the signature bytes of a note line."""
    return cosignature.time.to_bytes(8, "big") + cosignature.signature


def message(body: bytes, time: int) -> bytes:
    """Give what the witness signs for the checkpoint `body` at `time`.

    >>> message(b"acme.example/log\\n0\\n...\\n", 7)
    b'cosignature/v1\\ntime 7\\nacme.example/log\\n0\\n...\\n'
    """
    return b"cosignature/v1\ntime %d\n%s" % (time, body)
