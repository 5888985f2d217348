"""Keys that verify their user, in memory: what a security key, a passkey and an SSH agent give, with every bit in our hand.

Real ones (OpenSSH, Chromium's virtual authenticator, SoftHSM) are in tests/keys; these are for saying what must be refused.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import utils

from keyturn.crypto import sshsig as ssh
from keyturn.crypto import webauthn
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.crypto.webauthn import RelyingParty
from keyturn.formats import sshsig
from keyturn.formats.sshsig import SshSig, SshSignature
from keyturn.formats.webauthn import Assertion, Purpose, challenge_of

ORIGIN = "http://localhost:8722"
PARTY = RelyingParty("localhost", frozenset({ORIGIN}))


@dataclass(frozen=True)
class Passkey:
    """A passkey; each field is something that an attacker would change."""

    private: SoftwareKey
    rp_id: str = "localhost"
    origin: str = ORIGIN
    flags: int = 0x05
    purpose: Purpose = "record"
    type: str = "webauthn.get"
    cross_origin: str = "false"
    more_client_data: str = ""
    more_data: bytes = b""
    synced: bool = False

    @property
    def public(self) -> PublicKey:
        return self.private.public

    @property
    def credential(self) -> Credential:
        return Credential(self.public, "webauthn", id="Y3JlZA==", party=PARTY, synced=self.synced)

    def sign_record(self, message: bytes) -> bytes:
        return webauthn.canonical(self.answer(message), self.public)

    def answer(self, message: bytes) -> Assertion:
        challenge = base64.urlsafe_b64encode(challenge_of(self.purpose, message)).rstrip(b"=").decode()
        client = (
            f'{{"type":"{self.type}","challenge":"{challenge}","origin":"{self.origin}",'
            f'"crossOrigin":{self.cross_origin}{self.more_client_data}}}'
        ).encode()
        data = hashlib.sha256(self.rp_id.encode()).digest() + struct.pack(">BI", self.flags, 7) + self.more_data
        return Assertion(data, client, self.private.sign(data + hashlib.sha256(client).digest()))


@dataclass(frozen=True)
class SshHolder:
    """An SSH key, or a security key when `application` is given; `flags` are what it says of its user."""

    private: SoftwareKey
    application: str | None = None
    flags: int = 0x05
    namespace: str = sshsig.NAMESPACE
    hash: str = field(default="sha512")

    @property
    def public(self) -> PublicKey:
        return self.private.public

    @property
    def credential(self) -> Credential:
        return Credential(self.public, "ssh" if self.application is None else "ssh-sk", application=self.application)

    def sign_record(self, message: bytes) -> bytes:
        return ssh.canonical(self.blob(message))

    def blob(self, message: bytes, *, high_s: bool = False) -> bytes:
        key = ssh.ssh_key(self.public, application=self.application)
        data = sshsig.signed_data(self.namespace, self.hash, hashlib.new(self.hash, message).digest())
        flags, counter = (self.flags, 9) if self.application is not None else (0, 0)
        if self.application is not None:
            application = hashlib.sha256(self.application.encode()).digest()
            data = application + struct.pack(">BI", flags, counter) + hashlib.sha256(data).digest()
        raw = self.private.sign(data)
        if key.is_ed25519:
            made = SshSignature(key.algorithm, raw=raw, flags=flags, counter=counter)
        else:
            r, s = utils.decode_dss_signature(raw)
            order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
            s = max(s, order - s) if high_s else min(s, order - s)
            made = SshSignature(key.algorithm, r=r, s=s, flags=flags, counter=counter)
        return sshsig.render(SshSig(key, self.namespace, self.hash, made))  # type: ignore[arg-type]  # wrong ones too
