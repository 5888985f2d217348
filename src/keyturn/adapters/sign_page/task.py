"""What the signing page is given to show and sign, and what it may say."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

import msgspec

from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats import webauthn

__all__ = ["ANSWER_WITHIN_S", "Outcome", "Task"]

ANSWER_WITHIN_S: Final = 300.0
"""A person reads a request whole, and finds his passkey."""


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the page shows and signs; base64. `request` comes with an authorization, `credential` with every record."""

    purpose: webauthn.Purpose
    payload: str
    rp_id: str
    request: str | None = None
    credential: str | None = None


@dataclass
class Outcome:
    """What the page said, once: `answer`, `decline`, `refuse` or `closed`, with a body."""

    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    verdict: str = ""
    body: bytes = b""

    def take(self, verdict: str, body: bytes) -> bool:
        with self.lock:
            if self.verdict:
                return False
            self.verdict, self.body = verdict, body
            return True

    def answer(self) -> bytes:
        """The body of the answer; `Refused` when the person or the page declined, `Unavailable` when nobody answered in time."""
        match self.verdict:
            case "answer":
                return self.body
            case "decline":
                raise Usage(
                    "not-confirmed",
                    "you declined on the signing page, and nothing was signed",
                    hint="run it again to sign it",
                )
            case "refuse":
                raise Refused(
                    "signing-page-refused",
                    "the signing page refused what it was given: it says why",
                    hint="do not sign it elsewhere: what was to be shown is not what was to be signed",
                )
            case "closed":
                raise Unavailable(
                    "signing-page-closed", "the signing page was closed before anything was signed", hint="run it again"
                )
            case _:
                raise Unavailable(
                    "signing-page-timeout",
                    "nobody signed on the signing page in time",
                    hint="run it again; the page must stay open",
                )
