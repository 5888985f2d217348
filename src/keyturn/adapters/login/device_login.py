"""Log in by a code that a person types at the provider's page, in any browser on any machine: RFC 8628.

The person sees which page it is, and the provider asks there for whatever it asks for. No password comes here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.adapters.login.login_files import TokenAnswer, parse_tokens
from keyturn.adapters.login.openid_provider import is_private, post_form, read_metadata
from keyturn.errors import Malformed, Refused, Unavailable, Usage
from keyturn.formats.built import built

__all__ = ["log_in_by_code", "parse_code"]

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER_S = 5
_Shown = Annotated[str, Meta(pattern=r"\A[!-~]{1,1000}\Z")]


class DeviceCode(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider answers to whoever begins; it has more members."""

    device_code: Annotated[str, Meta(min_length=1, max_length=4096)]
    user_code: _Shown
    verification_uri: _Shown
    verification_uri_complete: _Shown | None = None
    expires_in: Annotated[int, Meta(ge=1, le=86400)]
    interval: Annotated[int, Meta(ge=0, le=300)] = 5


class _Problem(msgspec.Struct, frozen=True):
    error: Annotated[str, Meta(max_length=200)]


def parse_code(raw: bytes) -> DeviceCode:
    """Parse the answer of the device authorization endpoint, or raise `Malformed`."""
    try:
        found = msgspec.json.decode(raw, type=built(DeviceCode))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("login-provider-answer", "expected a code of the provider") from err
    if not is_private(found.verification_uri):
        raise Malformed("login-provider-insecure", "expected a page with https, at which to enter the code")
    return found


def log_in_by_code(
    issuer: str, *, client: str, audience: str, scope: str, show: Callable[[str, str], None]
) -> TokenAnswer:
    """Begin, `show` the page and the code to the person, and wait until the person has said yes or no there."""
    provider = read_metadata(issuer)
    if provider.device_authorization_endpoint is None or provider.token_endpoint is None:
        raise Usage(
            "login-no-device-flow",
            f"`{issuer}` logs nobody in by a code (RFC 8628)",
            hint="whoever runs the provider turns it on; for machines: keyturn login --secret-file FILE",
        )
    asked = {"client_id": client, "scope": scope, "resource": audience}
    status, raw = post_form(provider.device_authorization_endpoint, asked)
    if status != 200:
        raise _refused(issuer, raw, status)
    code = parse_code(raw)
    show(code.verification_uri_complete or code.verification_uri, code.user_code)
    left, pause = float(code.expires_in), float(max(code.interval, 1))
    waiting = threading.Event()
    while left > 0:
        waiting.wait(pause)
        left -= pause
        form = {"grant_type": _GRANT, "device_code": code.device_code, "client_id": client}
        status, raw = post_form(provider.token_endpoint, form)
        if status == 200:
            return parse_tokens(raw)
        match _problem(raw):
            case "authorization_pending":
                pass
            case "slow_down":
                pause += _SLOWER_S
            case _:
                raise _refused(issuer, raw, status)
    raise Unavailable("login-code-expired", "the code was not entered in time", hint="keyturn login")


def _problem(raw: bytes) -> str:
    try:
        return msgspec.json.decode(raw, type=built(_Problem)).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""


def _refused(issuer: str, raw: bytes, status: int) -> Refused:
    return Refused(
        "login-refused",
        f"`{issuer}` refuses the login: `{_problem(raw)[:100] or f'HTTP {status}'}`",
        hint="look at --client, --audience and --scope: whoever runs the provider knows them; then keyturn login",
    )
