"""A small lab's log with five witnesses, and a Merkle tree computed the slow way, straight from RFC 6962's text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import note as notes
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import NoteSignature
from keyturn.tlog import signing
from keyturn.trust.roster import Log, Witness

ORIGIN = "acme.example/log"


def slow_root(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, over leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + slow_root(hashes[:split]) + slow_root(hashes[split:])).digest()


@dataclass(frozen=True)
class SlowTree:
    leaves: tuple[bytes, ...]

    @property
    def hashes(self) -> list[bytes]:
        return [hashlib.sha256(b"\x00" + leaf).digest() for leaf in self.leaves]

    def root(self, size: int) -> bytes:
        return slow_root(self.hashes[:size])

    def read(self, level: int, start: int, end: int) -> list[bytes]:
        assert end << level <= len(self.leaves), "a reader has complete subtrees only"
        return [slow_root(self.hashes[i << level : (i + 1) << level]) for i in range(start, end)]


@dataclass(frozen=True)
class LogLab:
    log: Log
    log_key: SoftwareKey
    witness_keys: dict[str, SoftwareKey]

    def checkpoint(self, size: int = 3, root: bytes = b"\x07" * 32, origin: str = ORIGIN) -> Checkpoint:
        return Checkpoint(origin, size, root)

    def cosignature(self, checkpoint: Checkpoint, name: str, at: int) -> NoteSignature:
        return signing.cosign(checkpoint, name=name, key=self.witness_keys[name], at=at)

    def note(self, checkpoint: Checkpoint, times: dict[str, int]) -> bytes:
        """Sign `checkpoint` by the log, and by each witness at its time."""
        made = [self.cosignature(checkpoint, name, at) for name, at in times.items()]
        return notes.render(signing.sign_checkpoint(checkpoint, self.log_key).with_signatures(*made))


def seeded_key(seed: int) -> SoftwareKey:
    return SoftwareKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


@pytest.fixture(scope="session")
def log_lab() -> LogLab:
    """Five witnesses `w1`..`w5`, of which one may lie: the quorum is four."""
    witness_keys = {f"w{n}": seeded_key(10 + n) for n in range(1, 6)}
    witnesses = tuple(Witness(name, key.public, f"operator-{name}") for name, key in witness_keys.items())
    log_key = seeded_key(1)
    return LogLab(Log(ORIGIN, log_key.public, witnesses, lying_max=1), log_key, witness_keys)


@pytest.fixture(scope="session")
def slow_tree() -> Callable[[int], SlowTree]:
    """Make a tree of so many different leaves."""
    return lambda size: SlowTree(tuple(b"leaf %d" % n for n in range(size)))


@pytest.fixture(scope="session")
def new_key() -> Callable[[int], SoftwareKey]:
    """Make the Ed25519 key of a seed."""
    return seeded_key
