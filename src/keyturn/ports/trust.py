"""Where a lab's trust is kept, and how it is proved that a passkey was made for a member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from keyturn.formats.digest import Sha256
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import Registration
from keyturn.trust.attestation import Authenticator

__all__ = ["RegistrationVerifier", "TrustStore"]


class TrustStore(Protocol):
    """A lab's trust: what is published, what is staged for signing, and the draft. Nothing it returns is believed."""

    def versions(self) -> Sequence[bytes]:
        """Every published trust version (`formats.trust_version`), oldest first."""

    def add_version(self, number: int, container: bytes) -> None:
        """Publish the `number`-th version (from 1) durably; `Conflict` when another one is there. The same again is done."""

    def read_file(self, path: str) -> bytes | None:
        """One file that TUF clients read, or `None`."""

    def write_file(self, path: str, content: bytes) -> None:
        """Put one file that TUF clients read (`metadata/1.root.json`, `targets/<sha256>.<name>`), atomically."""

    def staged(self) -> Sequence[bytes]:
        """The versions that await signatures, in order; empty when there are none."""

    def swap_staged(self, old: Sequence[bytes], new: Sequence[bytes]) -> None:
        """Replace the staged versions `old` by `new` atomically, or raise `Conflict` and change nothing."""

    def draft(self) -> Mapping[str, bytes]:
        """The files of the draft by name; empty when there is none."""

    def swap_draft(self, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> None:
        """Make the draft `old` say exactly `new`, or raise `Conflict` and change nothing; each file is replaced atomically."""

    def invitation(self, digest: Sha256) -> bytes:
        """The invitation with that SHA-256, or `Refused` `invitation-unknown`."""

    def add_invitation(self, raw: bytes) -> None:
        """Remember an invitation durably."""

    def invitations(self) -> Sequence[bytes]:
        """Every invitation that is remembered, in no order."""

    def withdraw_invitation(self, digest: Sha256) -> None:
        """Forget an invitation durably: nobody accepts it any more. One that is not there is forgotten."""


class RegistrationVerifier(Protocol):
    """Verify how a passkey was made."""

    def prove(
        self, registration: Registration, *, invitation: bytes, rp_id: str, origins: frozenset[str]
    ) -> EnrolledKey:
        """The key as `registration` proves it, made for `invitation` at one of `origins`, its user verified; or `Refused`."""

    def judge(self, registration: Registration, authenticators: Mapping[str, Authenticator]) -> str:
        """The SHA-256 of the root certificate that carries its attestation, listed for its very model; or `Refused` by name."""
