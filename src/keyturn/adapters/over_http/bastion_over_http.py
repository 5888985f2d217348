"""Ask a bastion for the key that it would prove to a host, and for that of its SSH server; and tell it who watches.

The first answer is verified (`grants.bastion`) before it is signed; the second is, here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats import base64_text
from keyturn.formats.built import built
from keyturn.formats.session_terms import BastionTerms, host_key_words

__all__ = ["bastion_host_key", "bastion_terms", "will_watch"]

_ANSWER_BYTES_MAX = 4096
_WITHIN_S = 10.0


class _HostKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host_key: Annotated[str, Meta(pattern=r"\Assh-ed25519 [A-Za-z0-9+/]{1,200}={0,2}\Z")]
    proof: Annotated[str, Meta(max_length=200)]


def bastion_host_key(url: str, *, gate: str, key: PublicKey) -> str:
    """The public key of the SSH server of the bastion `gate` at `url`, which its gate's `key` signed, as ssh writes it."""
    answer = HttpClient(url, timeout_s=_WITHIN_S).get("/host-key", size_bytes_max=_ANSWER_BYTES_MAX)
    try:
        said = msgspec.json.decode(answer, type=built(_HostKey))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("answer-invalid", "`/host-key`: expected an Ed25519 key and its proof") from err
    key.verify(base64_text.decode(said.proof, what="proof"), host_key_words(gate=gate, host_key=said.host_key))
    return said.host_key


def will_watch(url: str, signed: bytes) -> None:
    """Give the bastion at `url` the statement `signed`, or raise what it refuses."""
    HttpClient(url, timeout_s=_WITHIN_S).post("/watch", signed, size_bytes_max=_ANSWER_BYTES_MAX)


def bastion_terms(url: str, session_key: PublicKey) -> BastionTerms:
    """What a request says of the bastion at `url`, for a session that proves `session_key`."""
    answer = HttpClient(url, timeout_s=_WITHIN_S).post(
        "/bastion-key", session_key.text.encode("ascii"), size_bytes_max=_ANSWER_BYTES_MAX
    )
    try:
        return msgspec.json.decode(answer, type=built(BastionTerms))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Malformed) as err:
        raise Malformed("answer-invalid", "`/bastion-key`: expected a bastion's key, its gate and its proof") from err
