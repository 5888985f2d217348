"""One enrolled key of a member: how it signs records, and what must hold around the bare signature.

| kind | who holds it | a record's signature is | verifies its user |
|---|---|---|---|
| `software` | a file | over the DSSE encoding itself | never |
| `pkcs11` | a token, which takes a PIN for each signature | the same | always, as the people who enrolled it say |
| `ssh` | a file or an agent | SSHSIG in namespace `keyturn-dsse` | never |
| `ssh-sk` | a security key, through OpenSSH | the same | as each signature's flags say |
| `webauthn` | a passkey, through a browser | an assertion, as canonical JSON (formats.webauthn) | as its flags say |
| `fido2` | a security key, through a terminal | the same, for a relying party that is no domain | the same |

Keys that do not verify their user ask, and take away; in production they never approve (`grants.approvers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from keyturn.crypto import sshsig, webauthn
from keyturn.crypto.keys import PublicKey, canonical_signature
from keyturn.crypto.webauthn import RelyingParty
from keyturn.errors import Malformed, Refused
from keyturn.formats.enrolled_key import EnrolledKey, KeyKind
from keyturn.formats.sshsig import NAMESPACE
from keyturn.formats.webauthn import Purpose

__all__ = ["Credential"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A public key and how it signs. `id`, `party` and `synced` are those of a passkey or of a terminal's security key,
    `application` is an SSH security key's.

    `attestation` says what was recorded when it was enrolled: the format and model (AAGUID), or nothing; `attestation_root` by
    which root certificate it was judged, if it was.
    """

    key: PublicKey
    kind: KeyKind
    application: str | None = None
    id: str = ""
    party: RelyingParty | None = None
    synced: bool = False
    attestation: str = ""
    attestation_root: str = ""

    def __post_init__(self) -> None:
        if (self.application is not None) != (self.kind == "ssh-sk"):
            raise Malformed("key-application", f"key `{self.keyid[:16]}`: expected `application` for `ssh-sk` alone")
        asserts = self.kind in ("webauthn", "fido2")
        if asserts != (self.party is not None and bool(self.id)):
            raise Malformed(
                "key-passkey",
                f"key `{self.keyid[:16]}`: expected `credential` and `rp_id` for `webauthn` and `fido2` alone",
            )
        if not asserts and (self.synced or self.attestation):
            raise Malformed(
                "key-passkey",
                f"key `{self.keyid[:16]}`: expected `synced` and `attestation` for `webauthn` and `fido2` alone",
            )
        if self.attestation_root and not self.attestation:
            raise Malformed("key-passkey", f"key `{self.keyid[:16]}`: expected `attestation` with `attestation_root`")
        if self.party is not None and self.party.id.startswith("keyturn:") != (self.kind == "fido2"):
            raise Malformed(
                "key-passkey", f"key `{self.keyid[:16]}`: expected `rp_id` to be a lab's terminal for `fido2` alone"
            )

    @classmethod
    def of(cls, enrolled: EnrolledKey, *, origins: frozenset[str]) -> Self:
        """Make the key that `enrolled` lists; a passkey or terminal's key signs at `origins` alone, which must not be empty."""
        party = None
        if enrolled.rp_id is not None:
            party = RelyingParty(enrolled.rp_id, origins)
            if not origins:
                raise Malformed(
                    "signing-page-missing",
                    f"expected a signing page for the keys of `{enrolled.rp_id}`",
                    hint="a [[signing]] table in trust/draft/roster.toml: docs/formats/key-signatures.md",
                )
        return cls(
            key=PublicKey.from_text(enrolled.public),
            kind=enrolled.kind,
            application=enrolled.application,
            id=enrolled.credential or "",
            party=party,
            synced=enrolled.synced,
            attestation=enrolled.attestation or "",
            attestation_root=enrolled.attestation_root or "",
        )

    @property
    def enrolled(self) -> EnrolledKey:
        """The key as roster.toml lists it."""
        return EnrolledKey(
            kind=self.kind,
            public=self.key.text,
            application=self.application,
            credential=self.id or None,
            rp_id=self.party.id if self.party is not None else None,
            synced=self.synced,
            attestation=self.attestation or None,
            attestation_root=self.attestation_root or None,
        )

    @property
    def keyid(self) -> str:
        return self.key.keyid

    @property
    def aaguid(self) -> str:
        """The model of its authenticator, as its attestation says; empty without one."""
        return self.attestation.partition(":")[2]

    @property
    def can_verify_user(self) -> bool:
        """Whether a signature by it can count as an approval in production."""
        return self.kind in ("pkcs11", "ssh-sk", "webauthn", "fido2")

    @property
    def device_bound(self) -> bool:
        """Whether the private key cannot leave the device that made it, as far as was said when it was enrolled."""
        return self.can_verify_user and not self.synced

    def verify(self, signature: bytes, message: bytes, *, user_verified: bool, purpose: Purpose = "record") -> None:
        """Check `signature` over `message`, in its canonical form; or raise `Malformed` or `Refused`.

        With `user_verified`, the key must have verified who uses it, for this very signature.
        """
        if self.party is not None:
            webauthn.verify(
                signature,
                message,
                key=self.key,
                party=self.party,
                synced=self.synced,
                purpose=purpose,
                user_verified=user_verified,
            )
        elif self.kind in ("ssh", "ssh-sk"):
            sshsig.verify(
                signature,
                message,
                key=self.key,
                application=self.application,
                user_verified=user_verified,
                namespace=NAMESPACE,
            )
        else:
            self._verify_bare(signature, message, user_verified=user_verified)

    def _verify_bare(self, signature: bytes, message: bytes, *, user_verified: bool) -> None:
        if user_verified and self.kind != "pkcs11":
            raise Refused("signature-user-unverified", f"key `{self.keyid[:16]}` does not verify who uses it")
        if canonical_signature(self.key.scheme, signature) != signature:
            raise Refused(
                "signature-not-canonical",
                f"signature by key `{self.keyid[:16]}`: expected its canonical encoding, got another",
            )
        self.key.verify(signature, message)
