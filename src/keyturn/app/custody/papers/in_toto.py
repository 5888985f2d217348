"""Render the chain of a release as in-toto links and the layout that they satisfy, signed by a key that its owner names.

Follows https://github.com/in-toto/specification (1.0, with DSSE envelopes). An artifact is its digest: its path in links is
`sha256/<hex>` or `dirHash/<hex>`, so that rules compare digests and names link nothing. The layout is of this one release:

1. Every step behind the model is a step of the layout, in log order, with what made the model last: its products are the verdict.
2. What a step takes is a product of another step (`MATCH`), or what custody begins with (`ALLOW`); nothing else goes in.
3. What a step makes is required, and nothing else comes out.
4. There are no inspections: whoever verifies runs no command of ours.
5. It does not expire: it says what was. Whether the release still stands is for `keyturn release check`.

This is NOT the builders' word: they signed provenance, whose record and signer each link names. Who signs these verified it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import serialization

from keyturn.app.custody.papers.release_facts import ReleaseFacts, told
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.custody.lineage import Step, outputs_of
from keyturn.formats import base64_text, canonical_json, dsse
from keyturn.formats.digest import ArtifactDigest

__all__ = ["LAYOUT", "render"]

LAYOUT = "root.layout"
_NEVER = "9999-12-31T23:59:59Z"


def render(facts: ReleaseFacts, key: RecordSigner) -> Mapping[str, bytes]:
    """The layout and a link for each step, by the names of files under which in-toto looks for them."""
    keyid, public = _key(key.public)
    ordered = sorted(facts.steps, key=lambda step: (facts.model in outputs_of(step), step.index))  # (1)
    names = _names(ordered)
    makers: dict[ArtifactDigest, str] = {}
    for step in reversed(facts.steps):  # of several makers the first: what they made is the same
        makers |= dict.fromkeys(outputs_of(step), names[step.index])
    steps: list[dict[str, Any]] = []
    papers: dict[str, bytes] = {}
    for step in ordered:
        name = names[step.index]
        steps.append(
            {
                "_type": "step",
                "name": name,
                "pubkeys": [keyid],
                "threshold": 1,
                "expected_command": list(step.value.command),
                "expected_materials": [*_taken(step, makers), ["DISALLOW", "*"]],
                "expected_products": [*_made(step), ["DISALLOW", "*"]],
            }
        )
        papers[f"{name}.{keyid[:8]}.link"] = _signed(_link(step, name), key, keyid)
    layout = {
        "_type": "layout",
        "steps": steps,
        "inspect": [],  # (4)
        "keys": {keyid: {"keyid": keyid, **public}},
        "expires": _NEVER,  # (5)
        "readme": "\n".join(f"{name}: {value}" for name, value in told(facts)),
    }
    return {LAYOUT: _signed(layout, key, keyid), **papers}


def _names(steps: Sequence[Step]) -> Mapping[int, str]:
    """The steps' names; the log index behind those that several have."""
    said = [step.value.step for step in steps]
    return {
        step.index: step.value.step if said.count(step.value.step) == 1 else f"{step.value.step}-{step.index}"
        for step in steps
    }


def _taken(step: Step, makers: Mapping[ArtifactDigest, str]) -> Iterator[list[str]]:
    for digest in sorted({one.digest for one in step.value.dependencies}):  # (2)
        yield ["REQUIRE", _path(digest)]
        maker = makers.get(digest)
        yield ["ALLOW", _path(digest)] if maker is None else ["MATCH", _path(digest), "WITH", "PRODUCTS", "FROM", maker]


def _made(step: Step) -> Iterator[list[str]]:
    for digest in sorted(set(outputs_of(step))):  # (3)
        yield ["REQUIRE", _path(digest)]
        yield ["ALLOW", _path(digest)]


def _link(step: Step, name: str) -> dict[str, Any]:
    made = step.value
    return {
        "_type": "link",
        "name": name,
        "command": list(made.command),
        "materials": {_path(one.digest): _hashes(one.digest) for one in made.dependencies},
        "products": {_path(one.digest): _hashes(one.digest) for one in made.outputs},
        "byproducts": {one.name: str(one.digest) for one in made.byproducts},
        "environment": {
            "build_type": made.build,
            "builder": str(made.builder),
            "level": made.level,
            "log_index": step.index,
            "names": {f"{one.role}:{one.name}": _path(one.digest) for one in made.dependencies}
            | {f"output:{one.name}": _path(one.digest) for one in made.outputs},
            "provenance": f"sha256:{step.digest}",
            "provenance_key": step.keyid,
        },
    }


def _path(digest: ArtifactDigest) -> str:
    return f"{digest.algorithm}/{digest.hex}"


def _hashes(digest: ArtifactDigest) -> dict[str, str]:
    return {digest.algorithm: digest.hex}


def _signed(value: dict[str, Any], key: RecordSigner, keyid: str) -> bytes:
    payload = canonical_json.encode(value)
    signature = key.sign_record(dsse.pae(dsse.IN_TOTO, payload))
    envelope = {
        "payload": base64_text.encode(payload),
        "payloadType": dsse.IN_TOTO,
        "signatures": [{"keyid": keyid, "sig": base64_text.encode(signature)}],
    }
    return (json.dumps(envelope) + "\n").encode()


def _key(key: PublicKey) -> tuple[str, dict[str, Any]]:
    """The key as in-toto's metadata has it, and its id: the SHA-256 of that in canonical JSON, which escapes no line feed."""
    loaded = serialization.load_der_public_key(key.spki)
    if key.scheme == "ed25519":
        raw = loaded.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        kind, public = "ed25519", raw.hex()
    else:
        pem = loaded.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        kind, public = "ecdsa", pem.decode()
    canonical = f'{{"keytype":"{kind}","keyval":{{"public":"{public}"}},"scheme":"{key.scheme}"}}'
    return sha256(canonical.encode()).hexdigest(), {
        "keytype": kind,
        "scheme": key.scheme,
        "keyval": {"public": public},
    }
