"""Let through only who is logged in, where the operator asks for it: by an access token, or by a certificate.

    Authorization: Bearer <JWT>             verified by `adapters.access_tokens`
    Client-Cert: :<base64 of the DER>:      RFC 9440, from a proxy on this machine, which ended TLS and verified it

`Client-Cert` is read only behind a proxy, which must leave out what clients send under that name; then the certificate must also
be one of the configuration's. A handler is closed unless its `opt` says `OPEN`.

This keeps strangers from reading and from filling the log. It is NOT what anything that opens rests on: records count by their
own signatures, whoever is logged in.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from litestar.enums import ScopeType

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.config_files import read_small
from keyturn.config import login as login_config
from keyturn.errors import Unavailable, Usage

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

__all__ = ["OPEN", "Login", "is_open", "read_login"]

OPEN: Final[Mapping[str, Any]] = {"open": True}
"""The `opt` of a handler that asks nobody to log in."""
_CERTIFICATE_CHARS_MAX = 32 * 1024


def is_open(opt: Mapping[str, Any]) -> bool:
    """Whether a handler with this `opt` answers to anybody."""
    return opt.get("open") is True


class Login:
    """Who is let in: `verify` gives the member of a token, if it knows one; `certificates` are names by SHA-256 of the DER.

    `behind_proxy`: what a proxy on this machine says of a client's certificate is believed.
    """

    def __init__(
        self, *, verify: Callable[[str], str | None] | None, certificates: Mapping[str, str], behind_proxy: bool
    ) -> None:
        self._verify = verify
        self._certificates = dict(certificates) if behind_proxy else {}

    @property
    def ways(self) -> tuple[str, ...]:
        """The security schemes of the service, as OpenAPI names them."""
        return ("token",) * (self._verify is not None) + ("certificate",) * bool(self._certificates)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Let through to `app` who is logged in, and everybody to what is open."""

        async def closed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.HTTP and not is_open(scope["route_handler"].opt):
                scope["user"] = await self._who(scope["headers"])
            await app(scope, receive, send)

        return closed

    async def _who(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The name of who is logged in, if there is one; raises `Unavailable` when nobody is."""
        name = self._by_certificate(_only(headers, b"client-cert")) if self._certificates else None
        if name is not None:
            return name
        said = _only(headers, b"authorization")
        scheme, _, token = (said or "").partition(" ")
        if self._verify is None or scheme.lower() != "bearer" or not token:
            raise Unavailable("login-needed", "this service answers only to who is logged in", hint="keyturn login")
        return await anyio.to_thread.run_sync(self._verify, token.strip())

    def _by_certificate(self, said: str | None) -> str | None:
        if said is None or len(said) > _CERTIFICATE_CHARS_MAX or not (said[:1] == said[-1:] == ":"):
            return None
        try:
            der = base64.b64decode(said[1:-1], validate=True)
        except (binascii.Error, ValueError):
            return None
        return self._certificates.get(sha256(der).hexdigest())


def read_login(path: Path, *, behind_proxy: bool) -> Login:
    """Make what `login.toml` at `path` says; `Usage` when it says what cannot be."""
    config = login_config.parse(read_small(path), where=str(path))
    if config.certificates and not behind_proxy:
        raise Usage(
            "login-no-proxy",
            f"`{path}`: expected --behind-proxy beside `[certificates]`: only a proxy can say who has which certificate",
            hint="keyturn serve --behind-proxy --login FILE, behind a proxy that sets or removes the header Client-Cert",
        )
    verify = None
    if config.tokens is not None:
        from keyturn.adapters.access_tokens import AccessTokens, TokenRules
        from keyturn.adapters.provider_keys import ProviderKeys

        said = config.tokens
        rules = TokenRules(
            issuer=said.issuer,
            audience=said.audience,
            algorithms=said.algorithms,
            clock_skew_s=said.clock_skew_s,
            token_type=said.token_type,
            member_claim=said.member_claim,
            members=said.members,
        )
        verify = AccessTokens(rules, keys=ProviderKeys(said.issuer), clock=SystemClock()).verify
    names = {digest: name for name, digest in config.certificates.items()}
    return Login(verify=verify, certificates=names, behind_proxy=behind_proxy)


def _only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The header `name`; `None` when it is not there, or more than once: then nobody can say which one was meant."""
    found = [value for key, value in headers if key.lower() == name]
    return found[0].decode("latin-1") if len(found) == 1 else None
