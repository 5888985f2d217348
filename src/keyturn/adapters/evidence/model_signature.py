"""Verify OpenSSF model signatures (OMS) with model-signing: by a key, a certificate, or an identity of Sigstore.

model-signing verifies the signature and that the files' digests are those of its root. What it leaves open is closed here:

1. A certificate is no identity: the signing certificate must have the name that the lab expects, and be valid at the time.
2. Roots are the lab's, never those of the operating system; keys and roots reach the library in files of a private directory.
3. The digest of the subject binds no names: `custody.expected` computes the identity from names and SHA-256s.
4. Files whose digests are no SHA-256 are compared one by one, every one of the artifact: what a signer's tool ignored (.git and
   what its user says) is signed by nobody.
"""

from __future__ import annotations

import base64
import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from model_signing import hashing
from model_signing._signing import sign_certificate, sign_ec_key, sign_sigstore_pb
from OpenSSL import crypto

from keyturn.adapters.evidence import by_key, sigstore_bundle, strict_json
from keyturn.bulk import manifest
from keyturn.custody.expected import found_in
from keyturn.errors import Malformed, Refused
from keyturn.formats import outside_statement
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import IN_TOTO
from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["compare_files", "verify"]

logging.getLogger("model_signing").setLevel(logging.CRITICAL)  # what it warns of is refused or named here

_REFUSALS = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RecursionError,
    InvalidSignature,
    crypto.Error,
)


def verify(presented: Presented, signer: OutsideSigner) -> Found:
    """What the model signature says, signed as `signer` must; raises `Refused` or `Malformed` by name."""
    if signer.method == "sigstore":
        return sigstore_bundle.verify(presented, signer)
    _bundle(presented.original)  # what the library reads, in which nothing may stand twice
    with _files(presented, signer) as (signature, trusted):
        by = _by_key(signer) if signer.method == "key" else _by_certificate(presented, signer)
        verifier = sign_ec_key.Verifier(trusted[0]) if signer.method == "key" else sign_certificate.Verifier(trusted)
        try:
            with _quiet():
                verifier.verify(sign_sigstore_pb.Signature.read(signature))
        except (*_REFUSALS, crypto.X509StoreContextError) as err:
            raise Refused("evidence-signature", f"the model signature does not verify: {_line(err)}") from err
    return found_in(_payload(presented.original), signer, by=by)


def compare_files(presented: Presented, signer: OutsideSigner, path: str) -> None:
    """Hash the files at `path` as the signature says, and refuse when any is missing, more, or another.

    Every file of the artifact is compared, those that the signature's maker ignored too: they are in the artifact's identity.
    """
    verify(presented, signer)
    payload = _payload(presented.original)
    signed = outside_statement.parse_files(payload)
    files = manifest.make(Path(path))
    if files.identity != presented.artifact:
        raise Refused(
            "evidence-other-subject", f"the files at `{path}` are `{files.identity}`, and not `{presented.artifact}`"
        )
    names = {"." if files.kind == "file" else one.path: one for one in files.files}
    if signed.method == "files" and signed.algorithms == {"blake3"}:  # the manifest has both digests, of the same bytes
        found = {name: ("blake3", one.blake3) for name, one in names.items()}
    else:
        found = _hashed_as_signed(Path(path), payload, signer)
        _require_every_file(names, found, signed.method, signer)
    if found != signed.digests:
        other = sorted(name for name in {*found, *signed.digests} if found.get(name) != signed.digests.get(name))
        raise Refused(
            "evidence-other-subject",
            f"the files at `{path}` are not those that `{signer.name}` signed: `{other[0][:200]}` and {len(other) - 1} more",
            hint="what was ignored when it was signed (as .git) is in the artifact: keep it outside",
        )


def _require_every_file(names: Iterable[str], found: Iterable[str], method: str, signer: OutsideSigner) -> None:
    """Refuse what the library left out: shards of a file are `name:start:end`, and files without bytes have none."""
    hashed = {name.rsplit(":", 2)[0] if method == "shards" else name for name in found}
    if missing := sorted(set(names) - hashed):
        raise Refused(
            "evidence-other-subject",
            f"`{signer.name}` signed nothing of `{missing[0][:200]}`, which is in the artifact",
        )


def _hashed_as_signed(path: Path, payload: bytes, signer: OutsideSigner) -> dict[str, tuple[str, str]]:
    """The digests of the files at `path` as model-signing makes them, by what `payload` says of how: it ignores nothing."""
    try:
        said = json.loads(payload)["predicate"]["serialization"]
        config = hashing.Config()  # type: ignore[no-untyped-call]  # its constructor says no types
        hashed = {"blake2b": "blake2"}.get(said["hash_type"], said["hash_type"])  # as it writes it, and as it reads it
        if said["method"] == "shards":
            size = int(said["shard_size"])  # the library takes a number of JSON for a float
            config.use_shard_serialization(hashing_algorithm=hashed, shard_size=size)
        else:
            config.use_file_serialization(hashing_algorithm=hashed)
        config.set_ignored_paths(paths=(), ignore_git_paths=False)
        with _quiet():
            made = config.hash(path)
        return {one.identifier: (one.digest.algorithm, one.digest.digest_hex) for one in made.resource_descriptors()}
    except (OSError, *_REFUSALS) as err:
        raise Refused(
            "evidence-other-subject", f"the files at `{path}` cannot be hashed as `{signer.name}` says: {_line(err)}"
        ) from err


@contextmanager
def _quiet() -> Iterator[None]:
    """It prints, of older signatures, and calls what Python has deprecated, of certificates."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _files(presented: Presented, signer: OutsideSigner) -> Iterator[tuple[Path, list[Path]]]:
    with TemporaryDirectory(prefix="keyturn-evidence-") as place:
        signature = Path(place, "signature")
        signature.write_bytes(presented.original)
        trusted = []
        for number, content in enumerate(_trusted(signer)):
            path = Path(place, f"{number}.pem")
            path.write_bytes(content)
            trusted.append(path)
        yield signature, trusted


def _trusted(signer: OutsideSigner) -> Iterator[bytes]:
    if signer.method == "key":
        key = by_key.load_key(signer)
        yield key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for der in signer.roots:
        try:
            yield x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
        except ValueError as err:
            raise Malformed("outside-key", f"`evidence.toml`: a root of `{signer.name}` is none: {_line(err)}") from err


def _by_key(signer: OutsideSigner) -> str:
    return f"key:{sha256(signer.public)}"


def _by_certificate(presented: Presented, signer: OutsideSigner) -> str:
    try:
        chain = _bundle(presented.original)["verificationMaterial"]["x509CertificateChain"]["certificates"]
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0]["rawBytes"]))
        names = {certificate.subject.rfc4514_string(), *_alternatives(certificate)}
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except _REFUSALS as err:
        raise Malformed("evidence-bundle", f"expected a model signature with a certificate: {_line(err)}") from err
    if signer.identity not in names:
        raise Refused(
            "evidence-signer-other",
            f"expected a certificate of `{signer.identity}`, it is of {', '.join(f'`{name[:200]}`' for name in sorted(names))}",
            hint="who is expected stands in the lab's evidence.toml, which keyholders sign",
        )
    at = datetime.fromtimestamp(presented.at, UTC)
    if not first <= at <= last:
        raise Refused(
            "evidence-certificate-expired",
            f"the certificate of `{signer.identity}` is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
            f"and this counts at {at:%Y-%m-%d}",
            hint="have it signed again: nothing vouches for the time of a signature by certificate",
        )
    return signer.identity


def _alternatives(certificate: x509.Certificate) -> Iterator[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for kind in (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName):
        yield from found.get_values_for_type(kind)


def _payload(original: bytes) -> bytes:
    envelope = _bundle(original)["dsseEnvelope"]
    if envelope["payloadType"] != IN_TOTO:
        raise Malformed("dsse-payload-type", f"envelope: expected payloadType `{IN_TOTO}`")
    return base64.b64decode(envelope["payload"])


def _bundle(original: bytes) -> Any:
    try:
        return strict_json.loads(original)
    except (ValueError, RecursionError) as err:
        raise Malformed("evidence-bundle", f"expected a model signature: {_line(err)}") from err


def _line(err: Exception) -> str:
    return (" ".join(str(err).split()) or type(err).__name__)[:300]
