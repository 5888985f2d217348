"""What `keyturn login` keeps in a person's home for each service: the access token, and how the next one is got.

    <home>/logins/<begin of the SHA-256 of the service's URL>.json        mode 0600, and refused with another

A token is sent to the service at that very URL and to nobody else. One that is about to expire is replaced: by the refresh token,
or by a machine's own secret, which stays in the file that was named. Processes of one home take turns, since a provider may take
a refresh token once only.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.adapters.files.config_files import read_small, replace_file, unreadable
from keyturn.adapters.login.openid_provider import post_form, read_metadata
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats.built import built
from keyturn.formats.digest import sha256
from keyturn.ports import Clock

__all__ = ["KeptLogin", "LoginFile", "TokenAnswer", "parse", "parse_tokens", "read_private", "read_secret"]

_EARLY_S = 30
_AGAIN = "keyturn login"
_OF_PEOPLE = frozenset({"openid", "offline_access"})
"""Scopes that make no sense for a machine."""
_Token = Annotated[str, Meta(pattern=r"\A[!-~]{1,8192}\Z")]
_Text = Annotated[str, Meta(min_length=1, max_length=4096)]
_Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's token endpoint gives; it has more members."""

    access_token: _Token
    token_type: Annotated[str, Meta(max_length=100)]
    expires_in: Annotated[int, Meta(ge=0, le=10 * 365 * 86400)] | None = None
    refresh_token: _Token | None = None


class KeptLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A login at `service`. `expires_at` is POSIX seconds, absent when the provider did not say."""

    version: Literal[1]
    service: _Text
    issuer: _Text
    client: _Text
    audience: _Text
    scope: _Text
    access_token: _Token
    expires_at: _Seconds | None = None
    refresh_token: _Token | None = None
    secret_file: _Text | None = None

    def __repr__(self) -> str:
        return f"KeptLogin(service={self.service!r})"


def parse(raw: bytes) -> KeptLogin:
    """Parse a kept login, or raise `Malformed`."""
    try:
        return msgspec.json.decode(raw, type=built(KeptLogin))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("login-file", "expected what `keyturn login` wrote", hint=_AGAIN) from err


def parse_tokens(raw: bytes) -> TokenAnswer:
    """Parse the answer of a token endpoint, or raise `Malformed`."""
    try:
        found = msgspec.json.decode(raw, type=built(TokenAnswer))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("login-provider-answer", "expected a token of the provider") from err
    if found.token_type.lower() != "bearer":
        raise Malformed("login-provider-answer", "expected a bearer token of the provider")
    return found


class LoginFile:
    """The login that the home at `home` has for the service at `url`. Thread-safe."""

    def __init__(self, home: Path, url: str, *, clock: Clock) -> None:
        self.path = home / "logins" / f"{sha256(url.rstrip('/').encode())[:32]}.json"
        self._url = url.rstrip("/")
        self._clock = clock

    def keep(self, login: KeptLogin) -> None:
        """Write `login` in place of what there was."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.path, msgspec.json.encode(login), mode=0o600)

    def read(self) -> KeptLogin | None:
        """What is kept, or `None`; `Refused` when others can read it."""
        raw = read_private(self.path, needed=False)
        login = parse(raw) if raw is not None else None
        if login is not None and login.service != self._url:
            raise Malformed("login-file", f"`{self.path}`: expected a login at `{self._url}`", hint=_AGAIN)
        return login

    def token(self) -> str | None:
        """A token to send, replaced when it is about to expire; `None` without a login. `Unavailable` when the login is over."""
        login = self.read()
        if login is None or not self._is_over(login):
            return login.access_token if login is not None else None
        with self._turn():
            login = self.read()
            if login is not None and self._is_over(login):
                login = self._renewed(login)
                self.keep(login)
        return login.access_token if login is not None else None

    def _is_over(self, login: KeptLogin) -> bool:
        return login.expires_at is not None and self._clock.now() + _EARLY_S >= login.expires_at

    def _renewed(self, login: KeptLogin) -> KeptLogin:
        if login.secret_file is not None:
            return self.by_secret(login)
        if login.refresh_token is None:
            raise _over(login)
        answer = _ask(
            login, {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "resource": login.audience}
        )
        return self.with_tokens(login, answer)

    def by_secret(self, login: KeptLogin) -> KeptLogin:
        """`login` with a token that a machine gets for its secret: OAuth 2.0's client credentials."""
        secret = read_secret(Path(login.secret_file or ""))
        scope = " ".join(one for one in login.scope.split() if one not in _OF_PEOPLE)
        fields = {"grant_type": "client_credentials", "client_secret": secret, "resource": login.audience}
        return self.with_tokens(login, _ask(login, fields | ({"scope": scope} if scope else {})))

    def with_tokens(self, login: KeptLogin, answer: TokenAnswer) -> KeptLogin:
        """`login` with the tokens of `answer`."""
        return msgspec.structs.replace(
            login,
            access_token=answer.access_token,
            expires_at=None if answer.expires_in is None else self._clock.now() + answer.expires_in,
            refresh_token=answer.refresh_token or login.refresh_token,
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def read_secret(path: Path) -> str:
    """A machine's secret at the provider, in a file that only its owner reads."""
    raw = read_private(path, needed=True) or b""
    secret = raw.strip().decode("latin-1")
    if not secret or len(secret) > 1000:
        raise Refused(
            "login-secret", f"`{path}`: expected a secret of up to 1000 characters", hint=f"write it to {path}"
        )
    return secret


def _ask(login: KeptLogin, fields: dict[str, str]) -> TokenAnswer:
    where = read_metadata(login.issuer).token_endpoint
    status, raw = post_form(where or "", fields | {"client_id": login.client})
    if status in (400, 401):
        raise _over(login)
    if status != 200:
        raise Unavailable("login-provider-silent", f"`{login.issuer}` gives no token: HTTP {status}", hint="try again")
    return parse_tokens(raw)


def _over(login: KeptLogin) -> Unavailable:
    return Unavailable("login-over", f"the login at `{login.service}` is over", hint=_AGAIN)


def read_private(path: Path, *, needed: bool) -> bytes | None:
    """The content of a file of the user's own that nobody else can read; `None` when it is neither there nor `needed`."""
    try:
        status = path.stat()
    except OSError as err:
        if isinstance(err, FileNotFoundError) and not needed:
            return None
        raise unreadable(path, err) from err
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0):
        raise Refused("login-exposed", f"`{path}` can be read by others: expected mode 0600", hint=f"chmod 600 {path}")
    return read_small(path)
