"""Parse and render OpenSSH signatures and the public keys in them.

Follows OpenSSH's PROTOCOL.sshsig (the blob that `ssh-keygen -Y sign` armours), PROTOCOL.u2f (security keys) and RFC 4253
section 6.6, RFC 5656 section 3.1 and RFC 8709 for keys and signatures. Four algorithms: Ed25519 and ECDSA P-256, each by itself
and as a security key (`sk-`). One blob has one text: lengths are exact, integers minimal, and nothing follows.

This is NOT verification: see `crypto.sshsig`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Literal

from keyturn.errors import Malformed

__all__ = [
    "GIT",
    "NAMESPACE",
    "Algorithm",
    "Namespace",
    "SshKey",
    "SshSig",
    "SshSignature",
    "dearmor",
    "parse",
    "parse_key",
    "parse_public_line",
    "parse_signature",
    "render",
    "render_key",
    "render_public_line",
    "render_signature",
    "signed_data",
]

Namespace = Literal["keyturn-dsse", "git"]

NAMESPACE: Namespace = "keyturn-dsse"
"""The namespace of every SSHSIG over a record: what was signed for anything else is no record's signature."""

GIT: Namespace = "git"
"""The namespace in which git has commits signed: such a signature says who made a commit, and is no record's."""

Algorithm = Literal[
    "ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
]

_ALGORITHMS: tuple[Algorithm, ...] = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_CURVE = b"nistp256"
_MAGIC = b"SSHSIG"
_BLOB_BYTES_MAX = 4096
_FIELD_BYTES_MAX = 1024
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_HASHES = ("sha256", "sha512")


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key as OpenSSH writes it: `point` is 32 bytes (Ed25519) or an uncompressed P-256 point of 65."""

    algorithm: Algorithm
    point: bytes
    application: str = ""

    @property
    def is_security_key(self) -> bool:
        return self.algorithm.startswith("sk-")

    @property
    def is_ed25519(self) -> bool:
        return "ed25519" in self.algorithm


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature: 64 bytes (Ed25519), or the integers `r` and `s`. Security keys add flags and their counter."""

    algorithm: Algorithm
    raw: bytes = b""
    r: int = 0
    s: int = 0
    flags: int = 0
    counter: int = 0


@dataclass(frozen=True, slots=True)
class SshSig:
    """An SSHSIG blob: who signed, for what, over which hash of the message."""

    key: SshKey
    namespace: str
    hash: Literal["sha256", "sha512"]
    signature: SshSignature


class _Reader:
    def __init__(self, raw: bytes, what: str) -> None:
        if len(raw) > _BLOB_BYTES_MAX:
            raise Malformed("sshsig-too-large", f"{what}: expected at most {_BLOB_BYTES_MAX} bytes, got {len(raw)}")
        self._raw = raw
        self._at = 0
        self._what = what

    def take(self, count: int) -> bytes:
        if count > len(self._raw) - self._at:
            raise self.wrong(f"{count} more bytes at {self._at}, and it ends")
        self._at += count
        return self._raw[self._at - count : self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        size = self.number()
        if size > _FIELD_BYTES_MAX:
            raise self.wrong(f"a field of {size} bytes")
        return self.take(size)

    def text(self) -> str:
        raw = self.string()
        if not raw.isascii() or not raw.decode("ascii").isprintable():
            raise self.wrong("a name that is not printable ASCII")
        return raw.decode("ascii")

    def integer(self) -> int:
        """An mpint (RFC 4251 section 5) that is positive and has no byte too many."""
        raw = self.string()
        value = int.from_bytes(raw, "big")
        if not 0 < value < 1 << 256 or raw != _mpint(value):
            raise self.wrong("an integer that is not minimal, or outside 1 to 2^256 - 1")
        return value

    def end(self) -> None:
        if self._at != len(self._raw):
            raise self.wrong(f"{len(self._raw) - self._at} bytes too many")

    def wrong(self, text: str) -> Malformed:
        return Malformed("sshsig-invalid", f"{self._what}: got {text}")


def parse(raw: bytes) -> SshSig:
    """Parse the blob inside the armour, or raise `Malformed`."""
    reader = _Reader(raw, "SSH signature")
    if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != 1:
        raise reader.wrong("another beginning than `SSHSIG`, version 1")
    key = parse_key(reader.string())
    namespace = reader.text()
    if reader.string():
        raise reader.wrong("something in the reserved field")
    name = reader.text()
    signature = parse_signature(reader.string())
    reader.end()
    if name not in _HASHES:
        raise reader.wrong(f"the hash `{name[:40]}`, expected sha256 or sha512")
    if signature.algorithm != key.algorithm:
        raise reader.wrong(f"a signature by {signature.algorithm} of a key for {key.algorithm}")
    return SshSig(key, namespace, "sha256" if name == "sha256" else "sha512", signature)


def render(value: SshSig) -> bytes:
    """Render the blob; `parse(render(x)) == x`."""
    return (
        _MAGIC
        + struct.pack(">I", 1)
        + _string(render_key(value.key))
        + _string(value.namespace.encode("ascii"))
        + _string(b"")
        + _string(value.hash.encode("ascii"))
        + _string(render_signature(value.signature))
    )


def signed_data(namespace: str, hash_name: str, digest: bytes) -> bytes:
    """What is signed: the namespace, and the digest of the message."""
    return (
        _MAGIC
        + _string(namespace.encode("ascii"))
        + _string(b"")
        + _string(hash_name.encode("ascii"))
        + _string(digest)
    )


def dearmor(raw: bytes) -> bytes:
    """Take the blob out of the armour that `ssh-keygen -Y sign` writes."""
    text = raw.strip()
    if not text.startswith(_BEGIN) or not text.endswith(_END) or len(text) > 2 * _BLOB_BYTES_MAX:
        raise Malformed("sshsig-armor", f"SSH signature: expected `{_BEGIN.decode()}` to `{_END.decode()}`")
    try:
        return base64.b64decode(b"".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    except binascii.Error as err:
        raise Malformed("sshsig-armor", f"SSH signature: not base64: {err}") from err


def parse_key(raw: bytes) -> SshKey:
    """Parse a public key blob, or raise `Malformed`; `ssh-key-algorithm` for RSA, DSA and other curves."""
    reader = _Reader(raw, "SSH key")
    algorithm = _algorithm(reader.text())
    if "ecdsa" in algorithm and reader.string() != _CURVE:
        raise reader.wrong("another curve than nistp256")
    point = reader.string()
    if len(point) != (32 if "ed25519" in algorithm else 65):
        raise reader.wrong(f"a point of {len(point)} bytes")
    application = reader.text() if algorithm.startswith("sk-") else ""
    reader.end()
    return SshKey(algorithm, point, application)


def render_key(key: SshKey) -> bytes:
    """Render the public key blob."""
    parts = [key.algorithm.encode("ascii")]
    if not key.is_ed25519:
        parts.append(_CURVE)
    parts.append(key.point)
    if key.is_security_key:
        parts.append(key.application.encode("ascii"))
    return b"".join(map(_string, parts))


def parse_public_line(text: str) -> SshKey:
    """Parse a line of `id_ed25519.pub` or authorized_keys without options: algorithm, base64, comment."""
    words = text.split(maxsplit=2)
    if len(words) < 2:
        raise Malformed("ssh-key-line", "SSH key: expected `<algorithm> <base64> [comment]`")
    _algorithm(words[0])  # says which are taken
    try:
        key = parse_key(base64.b64decode(words[1], validate=True))
    except binascii.Error as err:
        raise Malformed("ssh-key-line", f"SSH key: not base64: {err}") from err
    if key.algorithm != words[0]:
        raise Malformed("ssh-key-line", f"SSH key: the line says {words[0][:60]}, the key is {key.algorithm}")
    return key


def render_public_line(key: SshKey) -> str:
    """Render `<algorithm> <base64>`, without a comment."""
    return f"{key.algorithm} {base64.b64encode(render_key(key)).decode('ascii')}"


def parse_signature(raw: bytes) -> SshSignature:
    """Parse a signature blob, as agents and SSHSIG carry it."""
    reader = _Reader(raw, "SSH signature")
    algorithm = _algorithm(reader.text())
    inner = reader.string()
    flags, counter = (reader.take(1)[0], reader.number()) if algorithm.startswith("sk-") else (0, 0)
    reader.end()
    if "ed25519" in algorithm:
        if len(inner) != 64:
            raise reader.wrong(f"an Ed25519 signature of {len(inner)} bytes")
        return SshSignature(algorithm, raw=inner, flags=flags, counter=counter)
    numbers = _Reader(inner, "SSH signature")
    r, s = numbers.integer(), numbers.integer()
    numbers.end()
    return SshSignature(algorithm, r=r, s=s, flags=flags, counter=counter)


def render_signature(value: SshSignature) -> bytes:
    """Render a signature blob."""
    inner = value.raw if "ed25519" in value.algorithm else _string(_mpint(value.r)) + _string(_mpint(value.s))
    tail = struct.pack(">BI", value.flags, value.counter) if value.algorithm.startswith("sk-") else b""
    return _string(value.algorithm.encode("ascii")) + _string(inner) + tail


def _algorithm(name: str) -> Algorithm:
    for known in _ALGORITHMS:
        if name == known:
            return known
    raise Malformed(
        "ssh-key-algorithm",
        f"SSH key: expected {', '.join(_ALGORITHMS)}, got `{name[:60]}`",
        hint="ssh-keygen -t ed25519-sk -O verify-required, or -t ed25519",
    )


def _string(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def _mpint(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b""
