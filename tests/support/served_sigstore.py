"""A private Sigstore behind HTTP, for clients that sign with one: Fulcio's and Rekor's answers to what sigstore-python asks.

with served(made) as url:
    trust_config(made, url)                # what the client is told
    token("models@vendor.example", "https://login.vendor.example")
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from support.labs import NOW
from support.private_sigstore import PrivateSigstore, dsse_body
from support.tiled_sigstore import TiledSigstore, hashed_body

__all__ = ["served", "token", "trust_config"]

_YEAR_S = 365 * 86400


@contextmanager
def served(made: PrivateSigstore, tiled: TiledSigstore | None = None) -> Iterator[str]:
    """Answer as Fulcio and as Rekor at the address that is given, until it ends; whoever has a token is whom it names.

    With `tiled` as Rekor v2 and its timestamp authority too.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made, tiled))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def token(identity: str, issuer: str) -> str:
    """A token of `issuer` for `identity`, as a signer hands it to Fulcio."""
    claims = {
        "iss": issuer,
        "sub": identity,
        "aud": "sigstore",
        "iat": NOW - 3 * _YEAR_S,
        "exp": NOW + 60 * _YEAR_S,
    }
    parts = (b'{"alg":"none"}', json.dumps(claims).encode(), b"none")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def trust_config(made: PrivateSigstore, url: str, tiled: TiledSigstore | None = None) -> bytes:
    """What a Sigstore client is told to sign with this one at `url`; with `tiled`, by its log in tiles."""
    start = {"start": "2023-01-01T00:00:00Z"}
    service = {"url": url, "majorApiVersion": 1, "validFor": start, "operator": "private.example"}
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": (tiled or made).trusted_root_json(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service | {"majorApiVersion": 1 if tiled is None else 2}],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": [] if tiled is None else [service | {"url": f"{url}/stamps"}],
                "tsaConfig": {"selector": "ANY"},
            },
        }
    ).encode()


def _handler(made: PrivateSigstore, tiled: TiledSigstore | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The configuration of an OpenID issuer, which signers read, and with a token do not use."""
            self._answer(200, {"authorization_endpoint": "http://127.0.0.1:9", "token_endpoint": "http://127.0.0.1:9"})

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            if tiled is not None and self.path == "/stamps":
                self._send(tiled.stamps.answer(sent))
                return
            asked = json.loads(sent)
            if tiled is not None and self.path == "/api/v2/log/entries":
                answer = _add_to_tiles(tiled, asked["hashedRekordRequestV002"])
            elif self.path == "/api/v2/signingCert":
                answer = _issue(made, asked, self.headers["Authorization"].removeprefix("Bearer "))
            else:
                answer = _integrate(made, asked)
            self._answer(201, answer)

        def _answer(self, status: int, answer: dict[str, Any]) -> None:
            self._send(json.dumps(answer).encode(), status)

        def _send(self, raw: bytes, status: int = 201) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


def _issue(made: PrivateSigstore, asked: dict[str, Any], token: str) -> dict[str, Any]:
    request = x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"]))
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    public = request.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    leaf = made.certificate(public, identity=claims["sub"], issuer=claims["iss"])
    chain = [one.public_bytes(Encoding.PEM).decode() for one in (leaf, made.intermediate, made.root)]
    return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}


def _add_to_tiles(tiled: TiledSigstore, asked: dict[str, Any]) -> dict[str, Any]:
    signed = asked["signature"]
    der = base64.b64decode(signed["verifier"]["x509Certificate"]["rawBytes"])
    return tiled.log(hashed_body(base64.b64decode(asked["digest"]), base64.b64decode(signed["content"]), der))


def _integrate(made: PrivateSigstore, asked: dict[str, Any]) -> dict[str, Any]:
    proposed = asked["spec"]["proposedContent"]
    envelope = json.loads(proposed["envelope"])
    signed = [one["sig"] for one in envelope["signatures"]]
    body = dsse_body(
        proposed["envelope"].encode(),
        base64.b64decode(envelope["payload"]),
        list(zip(signed, proposed["verifiers"], strict=True)),
    )
    entry = made.log(body)
    proof = entry["inclusionProof"]
    return {
        "0" * 64: {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
            "logIndex": int(entry["logIndex"]),
            "verification": {
                "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                "inclusionProof": {
                    "logIndex": int(proof["logIndex"]),
                    "rootHash": base64.b64decode(proof["rootHash"]).hex(),
                    "treeSize": int(proof["treeSize"]),
                    "hashes": [base64.b64decode(one).hex() for one in proof["hashes"]],
                    "checkpoint": proof["checkpoint"]["envelope"],
                },
            },
        }
    }
