"""Sign records with a passkey through the signing page, which shows each before it is signed."""

from __future__ import annotations

import re
import sys
import webbrowser
from collections.abc import Callable
from typing import Final

from keyturn.adapters.sign_page.elsewhere import answer_elsewhere
from keyturn.adapters.sign_page.here import LOCAL, answer_here
from keyturn.adapters.sign_page.task import ANSWER_WITHIN_S, Task
from keyturn.crypto import webauthn as verifier
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Unavailable, Usage
from keyturn.formats import access, base64_text, dsse, statement, webauthn

__all__ = ["PasskeySigner", "answer_to", "make_in_browser", "open_in_browser"]

_PAGE: Final = re.compile(r"https://[a-z0-9][a-z0-9.-]{0,252}(?::[1-9][0-9]{0,4})?\Z", re.ASCII)

RequestOf = Callable[[str], bytes | None]
"""The payload of the request with this SHA-256, or None: an authorization is not shown, and not signed, without it."""


class PasskeySigner:
    """`RecordSigner` by a passkey: shows each record on the page before it is signed, an authorization with its request."""

    def __init__(
        self,
        credential: Credential,
        *,
        request_of: RequestOf,
        open_page: Callable[[str], None],
        within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        assert credential.party is not None  # a passkey has one
        self._credential = credential
        self._rp_id = credential.party.id
        self._origin = _origin_of(credential.party.origins)
        self._request_of = request_of
        self._open_page = open_page
        self._within_s = within_s
        self.public: PublicKey = credential.key

    def sign_record(self, message: bytes) -> bytes:
        payload = _payload_of(message)
        task = Task(
            purpose="record",
            payload=base64_text.encode(payload),
            request=self._request_for(payload),
            rp_id=self._rp_id,
            credential=self._credential.id,
        )
        raw = answer_to(task, origin=self._origin, open_page=self._open_page, within_s=self._within_s)
        signature = verifier.canonical(webauthn.parse(raw), self.public)
        self._credential.verify(signature, message, user_verified=True)
        return signature

    def _request_for(self, payload: bytes) -> str | None:
        if statement.peek(payload) != access.HUMAN_AUTHORIZATION:
            return None
        about = statement.parse(payload, access.HumanAuthorization, access.HUMAN_AUTHORIZATION).predicate.request
        request = self._request_of(about)
        if request is None:
            raise Unavailable(
                "request-unread", f"the request `{about[:16]}` could not be had, and is signed for by nobody"
            )
        return base64_text.encode(request)


def answer_to(task: Task, *, origin: str, open_page: Callable[[str], None], within_s: float) -> bytes:
    """Have `task` answered on the page at `origin`: this machine's, or another operator's; raises as `Outcome.answer`."""
    if LOCAL.match(origin):
        return answer_here(task, origin=origin, open_page=open_page, within_s=within_s)
    if not _PAGE.match(origin):
        raise Usage(
            "signing-page-elsewhere",
            f"expected `http://localhost:PORT` or `https://HOST[:PORT]` as a signing page, got `{origin[:120]}`",
        )
    return answer_elsewhere(task, origin=origin, open_page=open_page, within_s=within_s)


def open_in_browser(url: str) -> None:
    """Print where the page is at which a passkey signs, and open it in the person's browser if there is one."""
    _open("sign with your passkey", url)


def make_in_browser(url: str) -> None:
    """As `open_in_browser`, for a passkey that is still to be made."""
    _open("make your passkey", url)


def _open(what: str, url: str) -> None:
    sys.stderr.write(f"{what} at {url}\n")
    sys.stderr.flush()
    webbrowser.open(url)


def _origin_of(origins: frozenset[str]) -> str:
    """The page at which this passkey signs: this machine's own, if it is one of them."""
    if not origins:
        raise Usage(
            "signing-page-elsewhere",
            "the roster pins no signing page for this passkey",
            hint="a [[signing]] page of its relying party in roster.toml, or another key: --key",
        )
    return min(origins, key=lambda origin: (LOCAL.match(origin) is None, origin))


def _payload_of(message: bytes) -> bytes:
    parts = message.split(b" ", 4)
    if len(parts) != 5 or dsse.pae(dsse.IN_TOTO, parts[4]) != message:
        raise Malformed("record-encoding", "expected the DSSE encoding of an in-toto statement")
    return parts[4]
