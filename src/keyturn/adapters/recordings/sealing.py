"""Seal a recording to a quorum of keyholders, chunk by chunk, and open it with as many of their shares.

Bytes are as docs/formats/recordings.md has them. HPKE (RFC 9180) is `cryptography`'s, Shamir's sharing PyCryptodome's, over both
halves of the data key. A share alone, or fewer than the quorum, say nothing about the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from keyturn.crypto.sealing_key import holder_key
from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import base64_text
from keyturn.formats.digest import sha256
from keyturn.formats.opened_share import OpenedShare, opened_info
from keyturn.formats.sealed_recording import HEAD_BYTES_MAX, Header, SealedShare, parse_head, share_info
from keyturn.grants.replay import VerifiedReplay
from keyturn.trust.keyholders import Keyholders

try:
    from Crypto.Protocol.SecretSharing import Shamir
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "recordings-not-installed",
        "what splits and joins the keys of recordings is not installed here",
        hint="pip install 'keyturn[server]'",
    ) from err

__all__ = [
    "CHUNK_BYTES_MAX",
    "ChunkSealer",
    "commitment_of",
    "key_from",
    "open_share",
    "opened",
    "pass_on",
    "passed_on",
    "seal_key",
]

CHUNK_BYTES_MAX = 1 << 20
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_TO_RECIPIENT = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_HALF = 16
_TAG_BYTES = 16
_CHUNK_BYTES = 128 << 10


def commitment_of(key: bytes) -> str:
    """What a header says of the one key that opens its recording."""
    return sha256(b"keyturn.dev/recording-key/v1\n" + key)


def seal_key(key: bytes, to: Keyholders, *, gate: str, request: str) -> tuple[SealedShare, ...]:
    """Split the data key `key` among the keyholders, so that a quorum of them has it together, and seal to each his share."""
    halves = [Shamir.split(to.quorum, len(to.holders), key[at : at + _HALF], False) for at in (0, _HALF)]
    found = []
    for holder, (number, first), (_, second) in zip(to.holders, *halves, strict=True):
        info = share_info(gate=gate, request=request, holder=holder.human, number=number)
        sealed = _SUITE.encrypt(bytes([number]) + first + second, holder_key(holder.spki), info)
        found.append(SealedShare(holder=holder.human, key=sha256(holder.spki), sealed=base64_text.encode(sealed)))
    return tuple(found)


def open_share(header: Header, holder: str, private: x25519.X25519PrivateKey) -> bytes:
    """The share of `holder`; `Refused` when the recording has none for him, or his key does not open it."""
    for number, share in enumerate(header.shares, start=1):
        if share.holder == holder:
            info = share_info(gate=header.gate, request=header.request, holder=holder, number=number)
            try:
                return _SUITE.decrypt(base64_text.decode(share.sealed, what="share"), private, info)
            except InvalidTag as err:
                raise Refused("share-other-key", f"this key does not open the share of `{holder}`") from err
    raise Refused("share-none", f"the recording has no share for `{holder}`")


def pass_on(share: bytes, holder: str, replay: VerifiedReplay) -> OpenedShare:
    """Seal the opened `share` of `holder` to whoever was granted the replay, and to nobody else."""
    if replay.recipient.scheme != "ecdsa-sha2-nistp256":
        raise Refused("replay-key", f"the request names a key of kind {replay.recipient.scheme}, expected ECDSA P-256")
    recipient = serialization.load_der_public_key(replay.recipient.spki)
    info = opened_info(recording=replay.recording, request=replay.request, holder=holder)
    sealed = _TO_RECIPIENT.encrypt(share, cast("ec.EllipticCurvePublicKey", recipient), info)
    return OpenedShare(
        version=1,
        recording=replay.recording,
        request=replay.request,
        holder=holder,
        sealed=base64_text.encode(sealed),
    )


def passed_on(opened_share: OpenedShare, private: ec.EllipticCurvePrivateKey, replay: VerifiedReplay) -> bytes:
    """The share that a keyholder passed on for `replay`; `Refused` when it is for another, or sealed to another key."""
    if (opened_share.recording, opened_share.request) != (replay.recording, replay.request):
        raise Refused("share-other-replay", f"the share of `{opened_share.holder}` was opened for another replay")
    info = opened_info(recording=replay.recording, request=replay.request, holder=opened_share.holder)
    try:
        return _TO_RECIPIENT.decrypt(base64_text.decode(opened_share.sealed, what="share"), private, info)
    except InvalidTag as err:
        raise Refused("share-other-key", f"the share of `{opened_share.holder}` is sealed to another key") from err


def key_from(header: Header, shares: Iterable[bytes]) -> bytes:
    """The data key out of `quorum` opened shares; `Refused` with fewer, `Tampered` when they are of another key."""
    known: Mapping[int, bytes] = {share[0]: share[1:] for share in shares if len(share) == 1 + 2 * _HALF}
    if len(known) < header.quorum:
        raise Refused(
            "share-quorum", f"the recording opens with the shares of {header.quorum} keyholders, got {len(known)}"
        )
    used = list(known.items())[: header.quorum]
    key = b"".join(Shamir.combine([(n, share[at : at + _HALF]) for n, share in used], False) for at in (0, _HALF))
    if not hmac.compare_digest(commitment_of(key), header.commitment):
        raise Tampered("share-other", "the shares together are not the key of this recording")
    return key


class ChunkSealer:
    """Seals the chunks of one recording, in order, and no other's: the key is its own."""

    def __init__(self, key: bytes, head: bytes) -> None:
        self._cipher = AESGCM(key)
        self._about = hashlib.sha256(head).digest()
        self._number = 0
        self._room = bytearray()

    def seal(self, plain: memoryview, *, last: bool = False) -> memoryview:
        """The next chunks, as they lie in the file, until the next call: their place is used again, since fresh memory costs
        several times what the cipher does. Of a write that stops in the middle, the chunks that are whole can be opened."""
        starts = range(0, len(plain) or last, _CHUNK_BYTES)
        size = len(plain) + len(starts) * (4 + _TAG_BYTES)
        if len(self._room) < size:
            self._room = bytearray(size)
        room, end = memoryview(self._room), 0
        for start in starts:
            part = plain[start : start + _CHUNK_BYTES]
            begin, end = end + 4, end + 4 + len(part) + _TAG_BYTES
            struct.pack_into(">I", room, begin - 4, end - begin)
            nonce = _nonce(self._number, last=last and start == starts[-1])
            self._cipher.encrypt_into(nonce, part, self._about, room[begin:end])
            self._number += 1
        return room[:end]


def opened(file: BinaryIO, shares: Iterable[bytes]) -> Iterator[bytes]:
    """What lies in the recording `file`, chunk by chunk. Ends with `Tampered` when it was changed, or with `Refused`
    `recording-cut` behind all that is there, when it has no last chunk."""
    start = file.read(HEAD_BYTES_MAX)
    header, begin = parse_head(start)
    cipher, about = AESGCM(key_from(header, shares)), hashlib.sha256(start[:begin]).digest()
    file.seek(begin, os.SEEK_SET)
    number = 0
    while True:
        size = file.read(4)
        (length,) = struct.unpack(">I", size) if len(size) == 4 else (0,)
        sealed = file.read(length) if 16 <= length <= CHUNK_BYTES_MAX + 16 else b""
        if not size or len(size) < 4 or (0 < len(sealed) < length):
            raise Refused("recording-cut", "the recording ends without its last chunk: the bastion ended before it did")
        for last in (False, True):
            try:
                plain = cipher.decrypt(_nonce(number, last=last), sealed, about)
            except InvalidTag:
                continue
            break
        else:
            raise Tampered("recording-changed", f"chunk {number} of the recording was changed, moved or left out")
        yield plain
        if last:
            if file.read(1):
                raise Tampered("recording-changed", "the recording goes on behind its last chunk")
            return
        number += 1


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(8, "big") + b"\0\0\0" + (b"\1" if last else b"\0")
