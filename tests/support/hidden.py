"""Leaves whose envelopes nobody has: what whoever had the log for a moment can leave in it."""

from __future__ import annotations

from keyturn.formats.digest import sha256
from keyturn.formats.leaf import Kind, Leaf

__all__ = ["hidden_leaf"]


def hidden_leaf(kind: Kind, *about: str, number: int, record: str | None = None, until: int | None = None) -> Leaf:
    """A leaf of nobody's record; each `number` is another."""
    nobody = sha256(b"nobody's record %d" % number)
    return Leaf(kind=kind, record=record or nobody, envelope=nobody, about=tuple(sorted(about)), until=until)
