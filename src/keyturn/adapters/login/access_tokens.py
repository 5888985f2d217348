"""Verify an access token of an OpenID provider: a JWT as RFC 9068 has it, or one that is not marked as such.

It shows that the provider let somebody log in for this service, and nothing more: who signed a record is its signature's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.errors import Unavailable
from keyturn.ports import Clock

try:
    from joserfc import jws, jwt
    from joserfc.errors import ExpiredTokenError, JoseError
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "joserfc-not-installed",
        "what verifies tokens is not installed here",
        hint="pip install 'keyturn[server]'",
    ) from err

from keyturn.adapters.login.provider_keys import ProviderKeys

__all__ = ["TOKEN_CHARS_MAX", "AccessTokens", "TokenRules"]

TOKEN_CHARS_MAX = 8192
_AGAIN = "keyturn login"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a token must be: of `issuer`, for `audience`, signed by one of `algorithms`, of a type; clocks differ by so much.

    `members` are ids by the value of `member_claim`, for the process log alone.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    clock_skew_s: int
    token_type: str
    member_claim: str | None
    members: Mapping[str, str]


class AccessTokens:
    """The tokens that `rules` let in. Thread-safe."""

    def __init__(self, rules: TokenRules, *, keys: ProviderKeys, clock: Clock) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock

    def verify(self, token: str) -> str | None:
        """Who is logged in, as the process log may name them: a member's id, or `None` for somebody without one.

        (1) the header names an algorithm of the rules and a key of the issuer; (2) the key signed it;
        (3) it says that it is an access token; (4) issuer, audience, subject and times are right.

        Raises `Unavailable` `login-invalid` or `login-expired`, and what `ProviderKeys.key` raises.
        """
        rules = self._rules
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise _invalid(f"expected at most {TOKEN_CHARS_MAX} characters of ASCII")
        try:
            header = jws.extract_compact(token.encode()).headers()  # (1)
            kid, algorithm = header.get("kid"), header.get("alg")
            if algorithm not in rules.algorithms or not isinstance(kid, str):
                raise _invalid("its algorithm is not one that is believed, or it names no key")
            key = self._keys.key(kid)
            if key is None:
                raise _invalid("the issuer has no such key")
            claims = jwt.decode(token, key, algorithms=list(rules.algorithms)).claims  # (2)
            self._require_type(header)  # (3)
            jwt.JWTClaimsRegistry(  # (4)
                now=self._clock.now(),
                leeway=rules.clock_skew_s,
                iss={"essential": True, "value": rules.issuer},
                aud={"essential": True, "value": rules.audience},
                sub={"essential": True},
                exp={"essential": True},
            ).validate(claims)
        except ExpiredTokenError as err:
            raise Unavailable("login-expired", "the login is over", hint=_AGAIN) from err
        except (JoseError, ValueError, TypeError, RecursionError) as err:
            raise _invalid(str(err)) from err
        return self._member(claims)

    def _require_type(self, header: Mapping[str, Any]) -> None:
        said = str(header.get("typ", "JWT")).lower().removeprefix("application/")
        if said != self._rules.token_type.lower():
            raise _invalid(f"expected the type `{self._rules.token_type}`, and no token that is for something else")

    def _member(self, claims: Mapping[str, Any]) -> str | None:
        claim = self._rules.member_claim
        said = claims.get(claim) if claim is not None else None
        return self._rules.members.get(said) if isinstance(said, str) else None


def _invalid(detail: str) -> Unavailable:
    return Unavailable(
        "login-invalid", "the token is none that this service believes", hint=_AGAIN, detail=detail[:300]
    )
