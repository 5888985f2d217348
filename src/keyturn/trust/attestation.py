"""Which makers' attestations of keys a lab believes: authenticators by AAGUID, each with the root certificates that speak for it.

    [attestation]
    required = true
    [[attestation.authenticators]]
    aaguid = "2fc0579f811347eab116bb5a8db9202a"
    name = "YubiKey 5 Series with NFC"
    roots = ["<base64 of a certificate's DER>"]

This is what a roster may list. Whether an attestation holds is judged once, when its holder joins (`adapters.keys.attestation`),
and the roster then names the root that carried it: a key that was enrolled before there were rules was judged by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keyturn.crypto.credentials import Credential
from keyturn.errors import Malformed
from keyturn.formats.digest import sha256

__all__ = ["AttestationRules", "Authenticator"]


@dataclass(frozen=True, slots=True)
class Authenticator:
    """A model of passkey or security key. A root speaks for the models that list it, and for no other of its maker."""

    aaguid: str
    name: str
    roots: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.aaguid == "0" * 32 or not self.roots:
            raise Malformed(
                "attestation-authenticator",
                f"authenticator `{self.aaguid}`: expected a model's AAGUID, and at least one root certificate",
                hint="keyturn trust authenticator AAGUID --root FILE writes it into the draft",
            )

    @property
    def root_digests(self) -> frozenset[str]:
        """The SHA-256 of each root's DER, as the roster names the one that carried a key."""
        return frozenset(sha256(root) for root in self.roots)


@dataclass(frozen=True, slots=True)
class AttestationRules:
    """What the roster asks of attestations. With `required`, every key that verifies its user has one that holds."""

    required: bool
    authenticators: Mapping[str, Authenticator]

    def __post_init__(self) -> None:
        object.__setattr__(self, "authenticators", MappingProxyType(dict(self.authenticators)))

    def require_judged(self, member: str, key: Credential) -> None:
        """Refuse `key` of `member` unless its attestation was judged by what is listed now; `Malformed` by name."""
        if not key.attestation:
            if self.required and key.can_verify_user:
                raise Malformed(
                    "attestation-missing",
                    f"key `{key.keyid[:16]}` of `{member}`, of kind `{key.kind}`, has no attestation by its maker, and the "
                    f"roster asks for one of every key that verifies its user",
                    hint="a passkey or fido2 key of an authenticator that `[attestation]` in roster.toml lists",
                )
            return
        known = self.authenticators.get(key.aaguid)
        if known is None:
            raise Malformed(
                "attestation-unlisted",
                f"key `{key.keyid[:16]}` of `{member}` is in an authenticator `{key.aaguid}`, which the roster does not list",
                hint=f"keyturn trust authenticator {key.aaguid} --root FILE; or a key in another",
            )
        if key.attestation_root not in known.root_digests:
            raise Malformed(
                "attestation-unjudged",
                f"the attestation of key `{key.keyid[:16]}` of `{member}` was judged by no root that stands for `{known.name}`",
                hint=f"enrol the key anew: keyturn trust invite {member} --new-keys instead",
            )
