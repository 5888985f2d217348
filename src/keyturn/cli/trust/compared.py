"""The keys of an acceptance by their ids: what whoever made them, and whoever signs them into the roster, compare by another way.

Whoever can hand in an acceptance in somebody's name would be that somebody from then on.
"""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Compared", "compared", "in_words"]


class Compared(TypedDict):
    """One key: `trust`, or the kind of a member's key, and its id."""

    kind: str
    keyid: str


def compared(acceptance: bytes) -> tuple[str, list[Compared]]:
    """Who accepts, and with which keys; raises `Malformed`."""
    from keyturn.crypto.keys import PublicKey
    from keyturn.formats import dsse
    from keyturn.formats.enrolment import parse_acceptance

    made = parse_acceptance(dsse.parse_own(acceptance).payload)
    found: list[tuple[str, str]] = [(one.key.kind, one.key.public) for one in made.member_keys]
    found += [("trust", made.trust_key)] if made.trust_key is not None else []
    return made.member, [{"kind": kind, "keyid": PublicKey.from_text(key).keyid} for kind, key in found]


def in_words(keys: list[Compared]) -> str:
    """The keys as two people read them to each other."""
    return ", ".join(f"{key['kind']} {key['keyid'][:16]}" for key in keys)
