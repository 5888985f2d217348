"""Verify Sigstore bundles, and PyPI's attestations (PEP 740), offline with sigstore-python.

1. The trusted root is the one that the caller brings, whose digest the lab pins: no TUF repository is asked.
2. The log entry comes with a proof of inclusion; a promise alone (SET) will not do.
3. sigstore-python verifies chain, SCT, entry, time and signature (`sigstore.verify.Verifier`, steps 0 to 8).
4. The certificate names the identity that the lab expects, and the issuer that vouched for it: exactly, and no other.
5. The log and the authority were those of the trusted root at the time that the log vouches for: sigstore-python takes what a
   key signs whose `validFor` is over, as that of a log that was retired since it was stolen.

A PEP 740 attestation is a bundle written otherwise: its parts are put where a bundle has them, unchanged.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import Certificate, load_der_x509_certificate
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, InvalidBundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm, TimeRange
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootMessage

from keyturn.custody.expected import SIGNATURE, found_in
from keyturn.errors import Malformed, Refused
from keyturn.formats.dsse import IN_TOTO
from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["verify"]

_V03 = "application/vnd.dev.sigstore.bundle.v0.3+json"


def verify(presented: Presented, signer: OutsideSigner) -> Found:
    """What the bundle says, signed by the identity of `signer`; raises `Refused` or `Malformed` by name."""
    if signer.method != "sigstore":
        raise Refused("evidence-method", f"`{signer.name}` signs by {signer.method}, and no bundle of an identity")
    bundle = _bundle(presented)
    root = _trusted_root(presented.trusted_root)  # (1)
    verifier = Verifier(trusted_root=root)
    policy = _Expected(signer)
    try:
        if bundle._dsse_envelope is not None:  # noqa: SLF001  # there is no other way to see which one it is
            kind, payload = verifier.verify_dsse(bundle, policy)
        else:
            kind, payload = "", b""
            if presented.artifact.algorithm != "sha256":
                raise Refused("evidence-other-subject", "a signature over bytes is about one file, and no directory")
            digest = bytes.fromhex(presented.artifact.hex)
            verifier.verify_artifact(Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest), bundle, policy)
    except (SigstoreError, ValueError) as err:
        raise Refused(
            "evidence-signature",
            f"the bundle does not verify under the pinned trusted root: {_line(err)}",
            hint="get the bundle again from where it was published; the trusted root must be the one of its time",
        ) from err
    _require_of_its_time(bundle, root)  # (5)
    if not payload:
        subjects = (str(presented.artifact),)
        return Found(signer=signer.identity, issuer=signer.issuer, statement=SIGNATURE, subjects=subjects)
    if kind != IN_TOTO:
        raise Malformed("dsse-payload-type", f"envelope: expected payloadType `{IN_TOTO}`, got `{kind[:80]}`")
    return found_in(payload, signer, by=signer.identity, issuer=signer.issuer)


def _require_of_its_time(bundle: Bundle, root: TrustedRoot) -> None:
    """Refuse an entry of a log, or a certificate of an authority, that the trusted root says was none at that time."""
    entry, leaf = bundle.log_entry._inner, bundle.signing_certificate  # noqa: SLF001  # as above
    if not entry.integrated_time:  # a timestamp authority vouched for the time, and sigstore-python judged its own
        return
    at = datetime.fromtimestamp(entry.integrated_time, UTC)
    known = root._inner  # noqa: SLF001  # as above
    logs = [one.public_key.valid_for for one in known.tlogs if one.log_id.key_id == entry.log_id.key_id]
    issuers = [
        one.valid_for
        for one in known.certificate_authorities
        if any(_issued(leaf, certificate.raw_bytes) for certificate in one.cert_chain.certificates)
    ]
    for what, times in (("transparency log", logs), ("certificate authority", issuers)):
        if not any(_covers(one, at) for one in times):
            raise Refused(
                "evidence-signature",
                f"the pinned trusted root has the {what} of the bundle, but not for {at:%Y-%m-%d %H:%M:%S} UTC",
                hint="the trusted root says from when and until when each key counts",
            )


def _covers(times: TimeRange | None, at: datetime) -> bool:
    if times is None:
        return True
    return times.start <= at and (times.end is None or at <= times.end)


def _issued(leaf: Certificate, raw: bytes) -> bool:
    try:
        leaf.verify_directly_issued_by(load_der_x509_certificate(raw))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


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
        text: Any = json.loads(presented.original)
        if presented.format == "pep740":
            text = _of_pep740(text)
        for entry in text["verificationMaterial"].get("tlogEntries") or [{}]:  # (2)
            if not entry.get("inclusionProof"):
                raise Refused(
                    "evidence-inclusion-missing",
                    "the bundle has no proof that its signature is in the transparency log",
                    hint="a bundle of version 0.1 may lack it: have it signed again",
                )
        return Bundle.from_json(json.dumps(text))
    except (InvalidBundle, SigstoreError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise Malformed("evidence-bundle", f"expected a Sigstore bundle ({presented.format}): {_line(err)}") from err


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


def _trusted_root(raw: bytes) -> TrustedRoot:
    try:
        return TrustedRoot(TrustedRootMessage.from_json(raw))
    except (SigstoreError, ValueError) as err:
        raise Malformed("evidence-trusted-root", f"expected a Sigstore trusted root: {_line(err)}") from err


def _line(err: Exception) -> str:
    return " ".join(str(err).split())[:300]
