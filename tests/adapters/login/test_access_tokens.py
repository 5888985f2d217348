"""Access tokens of a real provider: which are believed, and each way in which one is not."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.login.access_tokens import TOKEN_CHARS_MAX, AccessTokens, TokenRules
from keyturn.adapters.login.provider_keys import FRESH_S, OLD_S, PAUSE_S, ProviderKeys
from keyturn.errors import Unavailable
from support.openid import AUDIENCE, OpenIdProvider, running_provider

SKEW_S = 60


@dataclass
class Hands:
    """A clock whose hands are moved."""

    at: float

    def now(self) -> int:
        return int(self.at)

    def __call__(self) -> float:
        return self.at


def rules(provider: OpenIdProvider) -> TokenRules:
    return TokenRules(
        issuer=provider.issuer,
        audience=AUDIENCE,
        algorithms=("ES256",),
        clock_skew_s=SKEW_S,
        token_type="at+jwt",
        member_claim="email",
        members={"ada@acme.example": "ada"},
    )


@pytest.fixture(scope="module")
def keys(provider: OpenIdProvider) -> ProviderKeys:
    return ProviderKeys(provider.issuer)


@pytest.fixture(scope="module")
def ada(provider: OpenIdProvider) -> dict[str, str]:
    return provider.person_tokens("ada")


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Unavailable) as raised:
        call()
    return raised.value.code


def claims_of(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def head_of(token: str) -> dict[str, str]:
    part = token.split(".", maxsplit=1)[0]
    found: dict[str, str] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_a_token_names_the_member_that_the_operator_mapped(
    provider: OpenIdProvider, keys: ProviderKeys, ada: dict
) -> None:
    tokens = AccessTokens(rules(provider), keys=keys, clock=SystemClock())
    assert tokens.verify(ada["access_token"]) == "ada"
    assert tokens.verify(provider.machine_token("gate")) is None
    unmapped = AccessTokens(replace(rules(provider), members={}, member_claim=None), keys=keys, clock=SystemClock())
    assert unmapped.verify(ada["access_token"]) is None


def test_tokens_that_are_for_something_else_are_refused(
    provider: OpenIdProvider, keys: ProviderKeys, ada: dict
) -> None:
    token, said = ada["access_token"], rules(provider)

    def refused(token: str, **other: object) -> bool:
        tokens = AccessTokens(replace(said, **other), keys=keys, clock=SystemClock())  # type: ignore[arg-type]
        return code_of(lambda: tokens.verify(token)) == "login-invalid"

    assert refused(token, audience="https://other.example")
    assert refused(provider.machine_token("gate", "https://other.example"))
    assert refused(token, issuer="https://id.other.example")
    assert refused(token, algorithms=("RS256",))
    assert refused(token, token_type="JWT")
    # An ID token says who somebody is to the program that asked, and is no ticket to this service, whatever its audience.
    assert refused(ada["id_token"], algorithms=("RS256",), audience="keyturn")
    assert refused(ada["id_token"], algorithms=("RS256",), token_type="JWT")
    assert refused(ada["refresh_token"])


def test_a_provider_that_does_not_mark_access_tokens_is_believed_if_the_operator_says_so(
    provider: OpenIdProvider, keys: ProviderKeys, ada: dict
) -> None:
    said = replace(rules(provider), algorithms=("RS256",), token_type="JWT", audience="keyturn")
    assert AccessTokens(said, keys=keys, clock=SystemClock()).verify(ada["id_token"]) is None


def test_algorithms_are_pinned(provider: OpenIdProvider, keys: ProviderKeys) -> None:
    tokens = AccessTokens(rules(provider), keys=keys, clock=SystemClock())
    assert code_of(lambda: tokens.verify(provider.machine_token("rsa"))) == "login-invalid"
    assert code_of(lambda: tokens.verify(provider.machine_token("shared"))) == "login-invalid"
    both = AccessTokens(replace(rules(provider), algorithms=("ES256", "RS256")), keys=keys, clock=SystemClock())
    both.verify(provider.machine_token("rsa"))


def test_what_the_provider_did_not_sign_is_refused(provider: OpenIdProvider, keys: ProviderKeys, ada: dict) -> None:
    tokens = AccessTokens(rules(provider), keys=keys, clock=SystemClock())
    token = ada["access_token"]
    head, body, signature = token.split(".")
    claims, header = claims_of(token), head_of(token)
    own = ECKey.generate_key("P-256")

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    longer = part({**claims, "exp": 4_000_000_000})
    public = keys.key(header["kid"])
    assert public is not None
    as_text = f"{part({**header, 'alg': 'HS256'})}.{longer}"  # and the library makes no such token: by hand
    with_secret = hmac.digest(public.as_pem(private=False), as_text.encode(), "sha256")  # type: ignore[union-attr]
    forged = {
        "other claims": f"{head}.{longer}.{signature}",
        "no signature": f"{head}.{longer}.",
        "alg none": f"{part({**header, 'alg': 'none'})}.{longer}.",
        "the public key as a secret": f"{as_text}.{base64.urlsafe_b64encode(with_secret).rstrip(b'=').decode()}",
        "a key of the forger's own": jwt.encode({**header, "alg": "ES256"}, claims, own, ["ES256"]),
        "a key that the token brings": jwt.encode(
            {**header, "alg": "ES256", "jwk": own.as_dict(private=False)}, claims, own, ["ES256"]
        ),
        "a key that nobody has": jwt.encode({**header, "alg": "ES256", "kid": "x"}, claims, own, ["ES256"]),
        "no key's name": jwt.encode({"alg": "ES256", "typ": "at+jwt"}, claims, own, ["ES256"]),
        "the bytes of another": f"{head}.{body}.{'A' * len(signature)}",
        "nothing": "",
        "not a token": "..",
        "not ASCII": token + "\u00e9",
        "too long": token + "A" * TOKEN_CHARS_MAX,
    }
    assert {name: code_of(lambda: tokens.verify(one)) for name, one in forged.items()} == dict.fromkeys(
        forged, "login-invalid"
    )


def test_a_token_is_good_until_it_expires_and_clocks_may_differ_a_little(
    provider: OpenIdProvider, keys: ProviderKeys, ada: dict
) -> None:
    claims = claims_of(ada["access_token"])
    start, end = int(str(claims["iat"])), int(str(claims["exp"]))
    clock = Hands(end + SKEW_S - 1)
    tokens = AccessTokens(rules(provider), keys=keys, clock=clock)
    assert tokens.verify(ada["access_token"]) == "ada"
    clock.at = end + SKEW_S
    assert code_of(lambda: tokens.verify(ada["access_token"])) == "login-expired"
    clock.at = start - SKEW_S
    assert tokens.verify(ada["access_token"]) == "ada"
    clock.at = start - SKEW_S - 1
    assert code_of(lambda: tokens.verify(ada["access_token"])) == "login-invalid"


def test_new_keys_are_found_and_old_ones_forgotten_and_nobody_makes_the_provider_be_asked_without_end() -> None:
    clock = Hands(1000.0)
    with running_provider() as first:
        keys = ProviderKeys(first.issuer, clock=clock)
        tokens = AccessTokens(rules(first), keys=keys, clock=SystemClock())
        old = first.machine_token("gate")
        tokens.verify(old)
    with running_provider(port=int(first.issuer.rpartition(":")[2])) as second:
        new = second.machine_token("gate")
        assert code_of(lambda: tokens.verify(new)) == "login-invalid"  # asked a moment ago
        tokens.verify(old)
        clock.at += PAUSE_S
        tokens.verify(new)
        assert code_of(lambda: tokens.verify(old)) == "login-invalid"
    clock.at += FRESH_S  # nobody answers any more
    tokens.verify(new)
    clock.at += OLD_S
    assert code_of(lambda: tokens.verify(new)) == "login-keys-unknown"


def test_without_the_providers_keys_nobody_is_let_in(provider: OpenIdProvider) -> None:
    token = provider.machine_token("gate")
    with running_provider() as gone:
        pass
    for issuer in (gone.issuer, provider.issuer + "/other", provider.issuer.replace("127.0.0.1", "localhost")):
        tokens = AccessTokens(rules(provider), keys=ProviderKeys(issuer), clock=SystemClock())
        assert code_of(lambda: tokens.verify(token)) == "login-keys-unknown"
