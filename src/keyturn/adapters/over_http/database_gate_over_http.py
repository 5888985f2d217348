"""Ask a postgres gate over HTTP for a certificate over a session key, and verify its answer.

What is believed is what the gate's key in targets signed just now, for this very key and role (`formats.gate_entry`): whoever
answers in its place, and whoever says where it is, leads nobody to another server.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.adapters.keys.session_certificates import key_in, request_for
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.crypto.dsse_signing import verify_one
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Malformed, Refused
from keyturn.formats import gate_entry
from keyturn.formats.built import built
from keyturn.formats.gate_entry import GateEntry
from keyturn.ports import Clock
from keyturn.trust.roster import Gate

__all__ = ["DatabaseGateOverHttp", "parse"]

_ANSWER_BYTES_MAX = 64 << 10


class _Answer(msgspec.Struct, frozen=True):
    signed: Annotated[str, Meta(max_length=_ANSWER_BYTES_MAX)]


def parse(raw: bytes) -> bytes:
    """The signed entry in what a postgres gate answers to a certificate request, or raise `Malformed`."""
    try:
        return msgspec.json.decode(raw, type=built(_Answer)).signed.encode("utf-8")
    except (msgspec.MsgspecError, UnicodeError) as err:
        raise Malformed("message-invalid", f"the gate's answer: {err}") from err


class DatabaseGateOverHttp:
    """The postgres gate `gate`, as targets list it, at `url`; its clock is `skew_max_s` from ours at most."""

    def __init__(self, url: str, gate: Gate, *, clock: Clock, skew_max_s: int, timeout_s: float = 20.0) -> None:
        self._client = HttpClient(url, timeout_s=timeout_s)
        self._gate = gate
        self._clock = clock
        self._skew_max_s = skew_max_s

    def certify(self, key: SoftwareKey, *, role: str) -> GateEntry:
        """A certificate for `role` over `key`, good for a minute, and where it is good; raises as the gate refuses."""
        answer = self._client.post("/certificate", request_for(key), size_bytes_max=_ANSWER_BYTES_MAX)
        envelope, said = gate_entry.parse(parse(answer))
        verify_one(envelope, self._gate.key)
        if (said.lab, said.gate, said.key) != (
            self._gate.uri.lab,
            str(self._gate.uri),
            self._gate.key.keyid,
        ) or abs(said.signed_at - self._clock.now()) > self._skew_max_s:
            raise Refused(
                "certificate-gate",
                f"expected what `{self._gate.uri}` says now, the answer is of `{said.gate}` or of another time",
                hint="something else answers in the gate's place, or a clock is wrong: keyturn doctor",
            )
        if said.role != role or key_in(said.certificate.encode("utf-8")) != key.public:
            raise Refused(
                "certificate-other",
                f"expected the gate to certify this session's key for `{role}`, it answered for `{said.role}` or another key",
                hint="something else answers in the gate's place: keyturn doctor",
            )
        return said
