"""What a gate takes from leaves alone, before it has any envelope: which matter, which are over, and which envelopes to get.

Kinds that do not matter to a gate are passed over without parsing them. What a record does, once its envelope is here, or when
nobody has it: `grants.following`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from keyturn.errors import Malformed
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import NEGATIVES, Leaf
from keyturn.grants.negatives import PAIR_REST_S

__all__ = ["is_over", "needed", "watched"]

_KIND = b'"kind":"'
_WATCHED = frozenset(
    kind.encode()
    for kind in ("apr", "brk", "chk", "den", "lft", "ofr", "req", "rev", "rot", "rvw", "sus", "tgt", "tmb", "use")
)
_THAT_END = NEGATIVES | {"req", "apr", "ofr"}
"""Of those, the kinds whose leaves say until when."""


def needed(live: Iterable[str], leaves: Sequence[bytes], *, now: int) -> tuple[Sha256, ...]:
    """The digests of the envelopes that reading `leaves` will look for, in order, with requests `live` before them."""
    alive = set(live)
    found = []
    for _, leaf in watched(0, leaves):
        if leaf.kind == "chk" or is_over(leaf, now):
            continue
        if leaf.kind == "req":
            alive.add(leaf.record)
        if leaf.kind not in ("apr", "ofr", "use") or leaf.tagged("request") in alive:
            found.append(Sha256(leaf.envelope))
    return tuple(found)


def watched(start: int, leaves: Sequence[bytes]) -> Iterator[tuple[int, Leaf]]:
    """Those of `leaves`, the first of which is entry `start` of the log, that matter to a gate, each with its index."""
    # In a leaf's canonical text `"kind":"` occurs once: inside a tag its quotes would be escaped. A text that is not
    # canonical is the leaf of no record, so passing it over loses nothing.
    for index, raw in [
        (index, raw)
        for index, raw in enumerate(leaves, start)
        if raw[(place := raw.rfind(_KIND) + 8) : place + 3] in _WATCHED
    ]:
        try:
            leaf = leaf_format.parse(raw)
        except Malformed:
            continue
        if (leaf.until is not None) == (leaf.kind in _THAT_END):  # any other is the leaf of no record
            yield index, leaf


def is_over(leaf: Leaf, now: int) -> bool:
    """Whether the record is of no concern any more at `now`, whatever it says."""
    if leaf.until is None or leaf.kind == "apr":  # who approved a live request is remembered until that is over
        return False
    rest = PAIR_REST_S if leaf.kind == "sus" else 0
    return leaf.until + rest <= now
