"""Ask a lab's service where the lab's other processes are: `GET /processes`. An address is a convenience, and never evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.adapters.over_http.http_client import Credentials, HttpClient
from keyturn.errors import Malformed
from keyturn.formats.built import built
from keyturn.formats.text import HttpUrl, Name

__all__ = ["process_addresses"]

_ANSWER_BYTES_MAX = 64 * 1024
_Addresses = Annotated[dict[Name, HttpUrl], Meta(max_length=64)]


def process_addresses(url: str, *, credentials: Credentials | None = None) -> Mapping[str, str]:
    """The base URLs that the service at `url` gives for `builder`, `gate-release` and so on."""
    raw = HttpClient(url, credentials=credentials).get("/processes", size_bytes_max=_ANSWER_BYTES_MAX)
    try:
        found: dict[str, str] = msgspec.json.decode(raw, type=built(_Addresses))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("answer-invalid", "`/processes`: expected addresses by name") from err
    return found
