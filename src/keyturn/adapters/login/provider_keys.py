"""The keys that an OpenID provider signs with: fetched from its `jwks_uri`, and kept for a while.

Keys are fetched again once they are `FRESH_S` old, or when a token names one that is not there, and at most once in `PAUSE_S`:
tokens that nobody signed make nobody ask the provider without end. A provider that does not answer is waited for until its keys
are `OLD_S` old; from then on nobody is let in, since it may have withdrawn them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from keyturn.adapters import process_log
from keyturn.adapters.login.openid_provider import ask_provider, read_metadata
from keyturn.errors import KeyturnError, Malformed, Unavailable

__all__ = ["FRESH_S", "OLD_S", "PAUSE_S", "ProviderKeys"]

FRESH_S: Final = 600.0
OLD_S: Final = 3600.0
PAUSE_S: Final = 10.0
_KEYS_MAX = 64
_RSA_BITS_MIN = 2048


class ProviderKeys:
    """The keys of `issuer`. Thread-safe; `clock` gives seconds that never go back."""

    def __init__(self, issuer: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, Key] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None

    def key(self, kid: str) -> Key | None:
        """The key named `kid`, or `None` when the provider has none; `Unavailable` when that cannot be found out."""
        with self._lock:
            fresh = self._read_at is not None and self._clock() - self._read_at < FRESH_S
            if not (fresh and kid in self._keys) and self._may_ask():
                self._fetch()
            if self._read_at is None or self._clock() - self._read_at >= OLD_S:
                raise Unavailable(
                    "login-keys-unknown",
                    f"the keys of `{self._issuer}` could not be fetched, so nobody can be let in by its tokens",
                    hint="try again; if it stays, ask whoever runs the service or the provider",
                )
            return self._keys.get(kid)

    def _may_ask(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= PAUSE_S

    def _fetch(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = _read_keys(read_metadata(self._issuer).jwks_uri)
            self._read_at = self._clock()
        except KeyturnError as err:
            process_log.say("warning", "login-keys-not-fetched", err=err)


def _read_keys(url: str) -> Mapping[str, Key]:
    status, raw = ask_provider("GET", url, None)
    try:
        listed: list[dict[str, Any]] = msgspec.json.decode(raw, type=dict[str, Any])["keys"]
        found = [one for one in listed if one.get("use", "sig") == "sig" and isinstance(one.get("kid"), str)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError, TypeError, AttributeError) as err:
        raise Malformed("login-provider-answer", f"`{url}`: expected a JSON Web Key Set, HTTP {status}") from err
    if status != 200 or len(listed) > _KEYS_MAX:
        raise Malformed("login-provider-answer", f"`{url}`: expected at most {_KEYS_MAX} keys, HTTP {status}")
    return {one["kid"]: key for one in found if (key := _public(one)) is not None}


def _public(listed: dict[str, Any]) -> Key | None:
    """The key, or `None` for one of a kind that signs no token here: a provider may list those."""
    try:
        key = import_key(listed)
    except (JoseError, ValueError, TypeError):
        return None
    if isinstance(key, RSAKey):
        return key if key.raw_value.key_size >= _RSA_BITS_MIN else None
    return key if isinstance(key, ECKey | OKPKey) else None
