"""Let through only who is logged in, where the operator asks for it: by an access token, or by a certificate.

    Authorization: Bearer <JWT>             verified by `adapters.login.access_tokens`
    Client-Cert: :<base64 of the DER>:      RFC 9440, from the proxy on this machine, which ended TLS and verified it
    Client-Cert-Error: <number>             from the proxy: why it did not accept the one that it was shown (OpenSSL's number)
    Keyturn-Proxy: <secret>                 says that it is the proxy: it alone has the secret

What comes without the secret says nothing about certificates, whoever sends it: another user of this machine reaches the port,
too. The certificate must also be one of the configuration's. A handler is closed unless its `opt` says `OPEN`.

This keeps strangers from reading and from filling the log. It is NOT what anything that opens rests on: records count by their
own signatures, whoever is logged in.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from litestar.enums import ScopeType

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.login.login_files import read_secret
from keyturn.config import login as login_config
from keyturn.errors import Refused, Unavailable, Usage

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

__all__ = ["OPEN", "Login", "is_open", "read_login"]

OPEN: Final[Mapping[str, Any]] = {"open": True}
"""The `opt` of a handler that asks nobody to log in."""
_CERTIFICATE_CHARS_MAX = 32 * 1024
_SECRET_CHARS_MIN = 32
_BY_TOKEN = "keyturn login"  # noqa: S105  # what to type
_BY_CERTIFICATE = "keyturn login --certificate FILE --certificate-key FILE"
_WHY_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "7": "is signed by another key than that of the CA which it names",
        "9": "is not valid yet",
        "10": "has expired",
        "18": "is signed by itself, and by no CA that the proxy knows",
        "19": "is of a CA that the proxy does not know",
        "20": "is of a CA that the proxy does not know",
        "21": "is of a CA that the proxy does not know",
        "23": "was revoked",
    }
)
"""OpenSSL's numbers (x509_vfy.h), as HAProxy's `ssl_c_verify` gives them."""


def is_open(opt: Mapping[str, Any]) -> bool:
    """Whether a handler with this `opt` answers to anybody."""
    return opt.get("open") is True


class Login:
    """Who is let in: `verify` gives the member of a token, if it knows one; `certificates` are names by SHA-256 of the DER.

    `proxy_secret`: who says it is believed about a client's certificate. Without one, no certificate counts.
    """

    def __init__(
        self, *, verify: Callable[[str], str | None] | None, certificates: Mapping[str, str], proxy_secret: str | None
    ) -> None:
        self._verify = verify
        self._certificates = dict(certificates) if proxy_secret is not None else {}
        self._proxy_secret = proxy_secret or ""
        self._hint = ", or ".join([_BY_TOKEN] * (verify is not None) + [_BY_CERTIFICATE] * bool(self._certificates))

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
        headers = tuple(headers)
        shown = self._by_certificate(headers) if self._certificates else None
        if isinstance(shown, str):
            return shown
        said = _every(headers, b"authorization")
        scheme, _, token = (said[0] if len(said) == 1 else "").partition(" ")
        if self._verify is None or scheme.lower() != "bearer" or not token:
            raise shown or Unavailable(
                "login-needed", "this service answers only to who is logged in", hint=self._hint or _BY_TOKEN
            )
        return await anyio.to_thread.run_sync(self._verify, token.strip())

    def _by_certificate(self, headers: tuple[tuple[bytes, bytes], ...]) -> str | Unavailable | None:
        """The name of whose certificate it is; or why it lets nobody in; or `None` when there is none."""
        shown, errors = _every(headers, b"client-cert"), _every(headers, b"client-cert-error")
        if not shown and not errors:
            return None
        secrets = _every(headers, b"keyturn-proxy")
        if len(secrets) != 1 or not hmac.compare_digest(secrets[0].encode(), self._proxy_secret.encode()):
            return Unavailable(
                "login-not-the-proxy",
                "Client-Cert is believed of the proxy alone, which says its secret in Keyturn-Proxy",
                hint="come through the proxy, with your certificate; who runs it looks at `[proxy]` of login.toml",
            )
        if errors:
            why = _WHY_REFUSED.get(errors[0], f"does not verify (OpenSSL's error {errors[0][:10]})")
            return Unavailable(
                "login-certificate-refused",
                f"the certificate {why}",
                hint=f"{_BY_CERTIFICATE}, with one of the CA that whoever runs the service names",
            )
        der = _der(shown[0]) if len(shown) == 1 else None
        if der is None:
            return Unavailable(
                "login-certificate-header",
                f"expected one Client-Cert as RFC 9440 has it, got {len(shown)}",
                hint="who runs the proxy has it remove what clients send under that name, and set its own",
            )
        digest = sha256(der).hexdigest()
        return self._certificates.get(digest) or Unavailable(
            "login-certificate-unlisted",
            f"the certificate `{digest}` lets nobody in here",
            hint="whoever runs the service adds that SHA-256 to the `[certificates]` of its login.toml",
        )


def read_login(path: Path, *, behind_proxy: bool) -> Login:
    """Make what `login.toml` at `path` says; `Usage` when it says what cannot be."""
    config = login_config.parse(read_small(path), where=str(path))
    if config.certificates and not behind_proxy:
        raise Usage(
            "login-no-proxy",
            f"`{path}`: expected --behind-proxy beside `[certificates]`: only a proxy can say who has which certificate",
            hint="keyturn serve --behind-proxy --login FILE, behind a proxy that sets or removes the header Client-Cert",
        )
    secret = None if config.proxy is None else _proxy_secret(path.parent / config.proxy.secret_file)
    verify = None
    if config.tokens is not None:
        from keyturn.adapters.login.access_tokens import AccessTokens, TokenRules
        from keyturn.adapters.login.provider_keys import ProviderKeys

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
    return Login(verify=verify, certificates=names, proxy_secret=secret)


def _proxy_secret(path: Path) -> str:
    secret = read_secret(path)
    if len(secret) < _SECRET_CHARS_MIN or not secret.isascii() or not secret.isprintable():
        raise Refused(
            "login-secret",
            f"`{path}`: expected {_SECRET_CHARS_MIN} or more printable characters that nobody guesses",
            hint=f"openssl rand -hex 32 > {path}; and the same in the proxy",
        )
    return secret


def _der(said: str) -> bytes | None:
    """The bytes of a structured field (RFC 8941, section 3.3.5), if it is one."""
    if not 2 < len(said) <= _CERTIFICATE_CHARS_MAX or not said[0] == said[-1] == ":":
        return None
    try:
        return base64.b64decode(said[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return None


def _every(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> tuple[str, ...]:
    """Every header `name`: of two, nobody can say which one was meant."""
    return tuple(value.decode("latin-1") for key, value in headers if key.lower() == name)
