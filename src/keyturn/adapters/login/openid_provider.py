"""Ask an OpenID provider what it says of itself, and for tokens: OpenID Connect Discovery 1.0, RFC 8628, RFC 6749.

A provider is asked over HTTPS, or on this machine; nothing is redirected. Whoever believes what comes back says so: the service
believes the keys (`access_tokens`), and a person's own command shows the person where to log in (`device_login`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Meta

from keyturn.adapters.over_http.bounded_http import BoundedHttp, TooLate, TooLong
from keyturn.errors import Malformed, Unavailable
from keyturn.formats.built import built

__all__ = ["ProviderMetadata", "ask_provider", "is_private", "post_form", "read_metadata"]

WITHIN_S = 5.0
_ANSWER_BYTES_MAX = 256 * 1024
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_Endpoint = Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,1000}\Z")]


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of a provider's metadata; it has more members."""

    issuer: str
    jwks_uri: _Endpoint
    token_endpoint: _Endpoint | None = None
    device_authorization_endpoint: _Endpoint | None = None


def read_metadata(issuer: str) -> ProviderMetadata:
    """The metadata of `issuer`, which must say that it is its own; `Unavailable` or `Malformed` otherwise."""
    where = issuer.rstrip("/") + "/.well-known/openid-configuration"
    status, raw = ask_provider("GET", where, None)
    if status != 200:
        raise _unreachable(where, f"HTTP {status}")
    try:
        found = msgspec.json.decode(raw, type=built(ProviderMetadata))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("login-provider-answer", f"`{where}`: expected a provider's metadata") from err
    if found.issuer != issuer:  # otherwise one provider could speak for another: OpenID Connect Discovery, section 4.3
        raise Malformed(
            "login-provider-answer", f"`{where}`: expected the issuer `{issuer}`, found `{found.issuer[:200]}`"
        )
    return found


def is_private(url: str) -> bool:
    """Whether nobody between here and `url` reads or alters what is said: HTTPS, or an address of this machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _HERE)
    except ValueError:
        return False


def post_form(url: str, fields: Mapping[str, str]) -> tuple[int, bytes]:
    """POST `fields` as a form."""
    return ask_provider("POST", url, urlencode(fields).encode())


def ask_provider(method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
    """One exchange with a provider: status and answer."""
    if not is_private(url):
        raise Malformed("login-provider-insecure", f"expected an address with https, got `{url[:200]}`")
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    parts = urlsplit(url)
    path = url[len(f"{parts.scheme}://{parts.netloc}") :]
    http = BoundedHttp(f"{parts.scheme}://{parts.netloc}", within_s=WITHIN_S, connections=1)
    try:
        return http.exchange(method, path, body, size_bytes_max=_ANSWER_BYTES_MAX, headers=headers)
    except (TooLate, TooLong) as err:
        raise _unreachable(url, str(err)) from err


def _unreachable(url: str, detail: str) -> Unavailable:
    return Unavailable(
        "login-provider-silent",
        f"the OpenID provider does not answer at `{url[:200]}`",
        hint="try again; if it stays, ask whoever runs the provider",
        detail=detail[:300],
    )
