"""Verify Sigstore bundles, and PyPI's attestations (PEP 740), offline with sigstore-python.

1. The trusted root is the one that the caller brings, whose digest the lab pins: no TUF repository is asked.
2. The log entry comes with a proof of inclusion; a promise alone (SET) will not do.
3. sigstore-python verifies chain, SCT, entry, time and signature (`sigstore.verify.Verifier`, steps 0 to 8).
4. The certificate names the identity that the lab expects, and the issuer that vouched for it: exactly, and no other.
5. Logs and authorities count at the times that are vouched for, as the trusted root says: sigstore-python takes what a key signs
   whose `validFor` is over, as that of a log that was retired since it was stolen, and tries every key of the root where an id
   names none. So it verifies under the part of the root that counts at every one of these times.

The time is the log's (Rekor v1, by its promise), or a timestamp authority's (RFC 3161, over the signature): logs in tiles
(Rekor v2) promise none. A bundle for whose time nobody vouches is refused, and so is one that is in no log, whoever stamped it.

A PEP 740 attestation is a bundle written otherwise: its parts are put where a bundle has them, unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import Certificate, ExtensionNotFound
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm, TimeRange
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootMessage

from keyturn.adapters.evidence import strict_json
from keyturn.custody.expected import SIGNATURE, found_in
from keyturn.errors import Malformed, Refused
from keyturn.formats.dsse import IN_TOTO
from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["verify"]

_REFUSALS = (
    SigstoreError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    InvalidSignature,
    ExtensionNotFound,
    UnsupportedAlgorithm,
)
"""What the libraries raise for what others wrote."""

_V03 = "application/vnd.dev.sigstore.bundle.v0.3+json"


def verify(presented: Presented, signer: OutsideSigner) -> Found:
    """What the bundle says, signed by the identity of `signer`; raises `Refused` or `Malformed` by name."""
    if signer.method != "sigstore":
        raise Refused("evidence-method", f"`{signer.name}` signs by {signer.method}, and no bundle of an identity")
    bundle = _bundle(presented)
    root = _trusted_root(presented.trusted_root)  # (1)
    policy = _Expected(signer)
    if _envelope_of(bundle) is None and presented.artifact.algorithm != "sha256":
        raise Refused("evidence-other-subject", "a signature over bytes is about one file, and no directory")
    try:
        times = _times(bundle, root)
    except _REFUSALS as err:
        raise _refused(f"under the pinned trusted root: {_line(err)}") from err
    counting = _at(root, times)  # (5)
    try:
        kind, payload = _verified(bundle, presented, counting, policy)
    except _REFUSALS as err:
        if counting != root and _holds(bundle, presented, root, policy):
            at = " and ".join(f"{one:%Y-%m-%d %H:%M:%S} UTC" for one in sorted(set(times)))
            raise _refused(f"by a key that the pinned trusted root has, but not for {at}") from err
        raise _refused(f"under the pinned trusted root: {_line(err)}") from err
    if not payload:
        subjects = (str(presented.artifact),)
        return Found(signer=signer.identity, issuer=signer.issuer, statement=SIGNATURE, subjects=subjects)
    if kind != IN_TOTO:
        raise Malformed("dsse-payload-type", f"envelope: expected payloadType `{IN_TOTO}`, got `{kind[:80]}`")
    return found_in(payload, signer, by=signer.identity, issuer=signer.issuer)


def _verified(bundle: Bundle, presented: Presented, root: TrustedRootMessage, policy: _Expected) -> tuple[str, bytes]:
    verifier = Verifier(trusted_root=TrustedRoot(root))
    if _envelope_of(bundle) is not None:
        return verifier.verify_dsse(bundle, policy)
    digest = bytes.fromhex(presented.artifact.hex)
    verifier.verify_artifact(Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest), bundle, policy)
    return "", b""


def _holds(bundle: Bundle, presented: Presented, root: TrustedRootMessage, policy: _Expected) -> bool:
    try:
        _verified(bundle, presented, root, policy)
    except _REFUSALS:
        return False
    return True


def _refused(why: str) -> Refused:
    return Refused(
        "evidence-signature",
        f"the bundle does not verify {why}",
        hint="get the bundle again from where it was published; the trusted root says from when and until when each key counts",
    )


def _envelope_of(bundle: Bundle) -> object:
    return bundle._dsse_envelope  # noqa: SLF001  # there is no other way to see which one it is


def _times(bundle: Bundle, root: TrustedRootMessage) -> list[datetime]:
    """Every time that is vouched for; of a log's it is verified with the bundle whether a log that counts then promised it."""
    found = Verifier(trusted_root=TrustedRoot(root))._establish_time(bundle)  # noqa: SLF001  # as above
    if not found:
        raise Refused(
            "evidence-time-missing",
            "nobody whom the pinned trusted root names vouches for the time at which the bundle was signed",
            hint="a log in tiles (Rekor v2) promises no time: have it signed again with a timestamp of an authority in the root",
        )
    return [one.time for one in found]


def _at(root: TrustedRootMessage, times: Sequence[datetime]) -> TrustedRootMessage:
    """The part of `root` that counts at every one of `times`."""
    return root.model_copy(
        update={
            "tlogs": [one for one in root.tlogs if _counts(one.public_key.valid_for, times)],
            "certificate_authorities": [one for one in root.certificate_authorities if _counts(one.valid_for, times)],
            "ctlogs": [one for one in root.ctlogs if _counts(one.public_key.valid_for, times)],
        }
    )


def _counts(during: TimeRange | None, times: Sequence[datetime]) -> bool:
    return all(_covers(during, one) for one in times)


def _covers(times: TimeRange | None, at: datetime) -> bool:
    if times is None:
        return True
    return times.start <= at and (times.end is None or at <= times.end)


class _Expected:
    """sigstore-python's `VerificationPolicy`: one identity by one issuer, refused in our own words."""

    def __init__(self, signer: OutsideSigner) -> None:
        self._signer = signer
        self._policy = Identity(identity=signer.identity, issuer=signer.issuer)

    def verify(self, cert: Certificate) -> None:
        try:
            self._policy.verify(cert)  # (4)
        except VerificationError as err:
            raise Refused(
                "evidence-signer-other",
                f"expected a signature by `{self._signer.identity}`, vouched for by `{self._signer.issuer}`: {_line(err)}",
                hint="who is expected stands in the lab's evidence.toml, which keyholders sign",
            ) from err


def _bundle(presented: Presented) -> Bundle:
    try:
        text: Any = strict_json.loads(presented.original)
        if presented.format == "pep740":
            text = _of_pep740(text)
        for entry in text["verificationMaterial"].get("tlogEntries") or [{}]:  # (2)
            if not entry.get("inclusionProof"):
                raise Refused(
                    "evidence-inclusion-missing",
                    "the bundle has no proof that its signature is in the transparency log",
                    hint="a bundle of version 0.1 may lack it: have it signed again",
                )
        if not _says_a_time(text["verificationMaterial"]):
            raise Refused(
                "evidence-time-missing",
                "the bundle has neither the promise of a log nor a timestamp: nobody vouches for the time at which it was signed",
                hint="a log in tiles (Rekor v2) promises no time: have it signed again with a timestamp",
            )
        bundle = Bundle.from_json(json.dumps(text))
        _envelope_of(bundle)  # which is read where it is asked for, and may be none
    except _REFUSALS as err:
        raise Malformed("evidence-bundle", f"expected a Sigstore bundle ({presented.format}): {_line(err)}") from err
    return bundle


def _says_a_time(material: dict[str, Any]) -> bool:
    stamped = (material.get("timestampVerificationData") or {}).get("rfc3161Timestamps")
    return bool(stamped) or any(entry.get("inclusionPromise") for entry in material["tlogEntries"])


def _of_pep740(text: dict[str, Any]) -> dict[str, Any]:
    material, envelope = text["verification_material"], text["envelope"]
    if text["version"] != 1 or len(material["transparency_entries"]) != 1:
        raise ValueError("expected version 1 and one transparency entry")
    return {
        "mediaType": _V03,
        "verificationMaterial": {
            "certificate": {"rawBytes": material["certificate"]},
            "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payload": envelope["statement"],
            "payloadType": IN_TOTO,
            "signatures": [{"sig": envelope["signature"]}],
        },
    }


def _trusted_root(raw: bytes) -> TrustedRootMessage:
    try:
        strict_json.loads(raw)
        root = TrustedRootMessage.from_json(raw)
        TrustedRoot(root)
    except (SigstoreError, ValueError, RecursionError) as err:
        raise Malformed("evidence-trusted-root", f"expected a Sigstore trusted root: {_line(err)}") from err
    return root


def _line(err: Exception) -> str:
    return " ".join(str(err).split())[:300]
