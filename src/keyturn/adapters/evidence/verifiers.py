"""Verify evidence in any format that Keyturn takes in: `ports.EvidenceVerifier`, a module for each format behind it.

What needs the libraries of others says which extra has them, when they are not here. Nothing here opens a connection: keys, roots
and layouts are what the lab pins, and the time is the record's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

from keyturn.errors import Refused, Unavailable
from keyturn.formats.evidence import Found, Presented
from keyturn.formats.evidence_format import EvidenceFormat
from keyturn.formats.outside_statement import OMS
from keyturn.trust.outside import OutsideSigner

__all__ = ["Verifiers", "guessed"]

_MODULES: dict[EvidenceFormat, str] = {
    "cosign-signature": "by_key",
    "dsse": "by_key",
    "in-toto-links": "in_toto_links",
    "oms": "model_signature",
    "pep740": "sigstore_bundle",
    "sigstore-bundle": "sigstore_bundle",
}


class Verifiers:
    """`ports.EvidenceVerifier` with whatever is installed here."""

    def verify(self, presented: Presented, signer: OutsideSigner) -> Found:
        verify: Callable[[Presented, OutsideSigner], Found] = _module(presented.format, signer).verify
        return verify(presented, signer)

    def compare_files(self, presented: Presented, signer: OutsideSigner, path: str) -> None:
        if presented.format != "oms":
            raise Refused("evidence-files", f"evidence of the format `{presented.format}` names no files")
        compare: Callable[[Presented, OutsideSigner, str], None] = _module("oms", signer).compare_files
        compare(presented, signer, path)


def guessed(original: bytes) -> EvidenceFormat:
    """How `original` looks to be written: a guess chooses a verifier, which then reads it strictly, and proves nothing."""
    try:
        text = json.loads(original)
    except (ValueError, RecursionError):
        return "cosign-signature"
    if not isinstance(text, dict):
        return "cosign-signature"
    if "verification_material" in text:
        return "pep740"
    if "verificationMaterial" in text:
        return "oms" if _says_oms(text) else "sigstore-bundle"
    return "dsse" if "payloadType" in text else "in-toto-links"


def _says_oms(text: dict[str, Any]) -> bool:
    try:
        payload = json.loads(base64.b64decode(text["dsseEnvelope"]["payload"]))
        return bool(payload["predicateType"] == OMS)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _module(form: EvidenceFormat, signer: OutsideSigner) -> Any:
    # A bundle that a key signed has no certificate, and needs no library but the one that is always here.
    name = "by_key" if form == "sigstore-bundle" and signer.method == "key" else _MODULES.get(form)
    if signer.method == "keyturn":  # it has no key of its own here: whatever fell back to another would believe anybody
        raise Refused("evidence-method", f"`{signer.name}` is a lab: its pack comes with an input, and is no evidence")
    if name is None:
        raise Refused("evidence-method", f"evidence of the format `{form}` is not verified here")
    try:
        return import_module(f"keyturn.adapters.evidence.{name}")
    except ModuleNotFoundError as err:
        raise Unavailable(
            "evidence-not-installed",
            f"what verifies evidence of the format `{form}` is not installed here: the extra `keyturn[evidence]`",
            hint="pip install 'keyturn[evidence]'",
        ) from err
