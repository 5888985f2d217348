"""Read `login.toml`: who may read from the lab's service and write to it at all. It decides nothing else.

    version = 1
    [tokens]                                         # access tokens of an OpenID provider; absent: none is believed
    issuer = "https://id.acme.example"
    audience = "https://keyturn.acme.example"        # what the provider writes into tokens that are for this service
    algorithms = ["ES256", "RS256"]                  # a token signed in another way is refused
    clock_skew_s = 60
    token_type = "at+jwt"                            # RFC 9068; "JWT" for a provider that does not mark access tokens
    member_claim = "email"                           # for the process log alone: which claim says who it is,
    [tokens.members]                                 # and whom its values stand for
    "ada@acme.example" = "ada"
    [certificates]                                   # of clients, which a proxy on this machine has verified (RFC 9440)
    gate-release = "<sha256 of the certificate's DER>"
    [proxy]                                          # what that proxy says in Keyturn-Proxy, and nobody else can
    secret_file = "proxy.secret"                     # beside this file, mode 0600; 32 characters or more

The file belongs to whoever operates the service. Approvals, requests and everything else count by the keys of the signed roster:
somebody who is logged in as Ada signs nothing for her.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.config import toml
from keyturn.formats.text import HexDigest, MemberId, Name

__all__ = ["LoginConfig", "ProxyConfig", "TokenConfig", "parse"]

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"
]  # signatures alone: with an HMAC whoever can verify can sign
_HTTP_HERE = r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?"
_Issuer = Annotated[str, Meta(pattern=rf"\A(https://[!-?A-~]{{1,400}}|{_HTTP_HERE}(/[!-?A-~]{{0,400}})?)\Z")]
"""HTTPS, or on this machine: the keys are fetched from there."""
_Text = Annotated[str, Meta(pattern=r"\A[!-~]{1,500}\Z")]


class TokenConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which access tokens are believed: by issuer, audience, algorithms, and clocks that differ by at most `clock_skew_s`."""

    issuer: _Issuer
    audience: _Text
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1, max_length=8)]
    clock_skew_s: Annotated[int, Meta(ge=0, le=300)]
    token_type: Literal["at+jwt", "JWT"] = "at+jwt"  # noqa: S105  # a media type, and no secret
    member_claim: _Text | None = None
    members: Annotated[dict[Annotated[str, Meta(min_length=1, max_length=200)], MemberId], Meta(max_length=10_000)] = {}

    def __post_init__(self) -> None:
        if (self.member_claim is None) != (not self.members):
            raise ValueError("expected `member_claim` and `members` together, or neither")


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the proxy is known: by what stands in `secret_file`."""

    secret_file: Annotated[str, Meta(min_length=1, max_length=4096)]


class LoginConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is let in: by `tokens`, by `certificates` (name -> SHA-256 of the DER) that `proxy` verified, or by either."""

    version: Literal[1]
    tokens: TokenConfig | None = None
    certificates: Annotated[dict[Name, HexDigest], Meta(max_length=1000)] = {}
    proxy: ProxyConfig | None = None

    def __post_init__(self) -> None:
        if bool(self.certificates) != (self.proxy is not None):
            raise ValueError("expected `[certificates]` and `[proxy]` together, or neither")
        if self.tokens is None and not self.certificates:
            raise ValueError("expected `[tokens]`, `[certificates]` or both: otherwise nobody could log in")


def parse(raw: bytes, *, where: str = "login.toml") -> LoginConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    return toml.parse(raw, LoginConfig, where=where)
