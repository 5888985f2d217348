"""Ask a postgres gate over HTTP for a certificate over a session key, and hold its answer against that key.

The answer is nobody's word but the gate's: it opens nothing by itself, and libpq shows the certificate to no server but one that
proves the name which the answer gives. It is refused unless it is for this key and this role, and names a server by TCP.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.adapters.keys.session_certificates import key_in, request_for
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Malformed, Refused

__all__ = ["DatabaseGateOverHttp", "Entry", "parse"]

_ANSWER_BYTES_MAX = 64 << 10


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """As which role, by which certificate (PEM), and where to connect; `ends_at` (POSIX seconds) is when it is over."""

    role: Annotated[str, Meta(pattern=r"\Akt_[0-9a-f]{32}\Z")]
    certificate: Annotated[str, Meta(max_length=16384)]
    address: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:-]{1,253}\Z")]
    port: Annotated[int, Meta(ge=1, le=65535)]
    database: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")]
    ends_at: Annotated[int, Meta(ge=0, le=2**53)]


def parse(raw: bytes) -> Entry:
    """Parse what a postgres gate answers to a certificate request, or raise `Malformed`."""
    try:
        return msgspec.json.decode(raw, type=Entry)
    except (msgspec.MsgspecError, UnicodeError) as err:
        raise Malformed("message-invalid", f"the gate's answer: {err}") from err


class DatabaseGateOverHttp:
    """The postgres gate at `url`."""

    def __init__(self, url: str, *, timeout_s: float = 20.0) -> None:
        self._client = HttpClient(url, timeout_s=timeout_s)

    def certify(self, key: SoftwareKey, *, role: str) -> Entry:
        """A certificate for `role` over `key`, good for a minute; raises as the gate refuses."""
        said = parse(self._client.post("/certificate", request_for(key), size_bytes_max=_ANSWER_BYTES_MAX))
        if said.role != role or key_in(said.certificate.encode("utf-8")) != key.public:
            raise Refused(
                "certificate-other",
                f"expected the gate to certify this session's key for `{role}`, it answered for `{said.role}` or another key",
                hint="keyturn gate show, where the gate runs: another one may answer at its address",
            )
        return said
