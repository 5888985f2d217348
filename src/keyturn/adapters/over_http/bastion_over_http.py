"""Ask a bastion for the key that it would prove to a host. The answer is verified (`grants.bastion`) before it is signed."""

from __future__ import annotations

import msgspec

from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats.session_terms import BastionTerms

__all__ = ["bastion_terms"]

_ANSWER_BYTES_MAX = 4096
_WITHIN_S = 10.0


def bastion_terms(url: str, session_key: PublicKey) -> BastionTerms:
    """What a request says of the bastion at `url`, for a session that proves `session_key`."""
    answer = HttpClient(url, timeout_s=_WITHIN_S).post(
        "/bastion-key", session_key.text.encode("ascii"), size_bytes_max=_ANSWER_BYTES_MAX
    )
    try:
        return msgspec.json.decode(answer, type=BastionTerms)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Malformed) as err:
        raise Malformed("answer-invalid", "`/bastion-key`: expected a bastion's key, its gate and its proof") from err
