"""Say what the log got after the pack index that people approved, as far as it touches the model or its release.

People approve a chain as it stood at size N of the log. `changed_since` refuses whatever was said about that chain since:
another step that made part of it, a test result, an evaluation that was asked for. Its authors can be right or wrong;
either way nobody approved with it in view, and a new request names an index that has it. `carried` says which records
after N a pack must hold, so that whoever has the leaves sees that nothing which could count against the release is left out;
`says_nothing_more` which of these it may lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from keyturn.custody.evaluations import packed_from
from keyturn.custody.evidence import Failure
from keyturn.custody.lineage import inputs_of, outputs_of
from keyturn.custody.verify import Chain
from keyturn.errors import Malformed
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf

__all__ = ["carried", "changed_since", "says_nothing_more"]

_STANDING = frozenset({"rot", "tgt", "sus", "lft"})
_OF_REQUEST = frozenset({"apr", "den", "rev", "use"})
_GIVING = frozenset({"req", "apr", "use"})


def carried(leaves: Sequence[bytes], request: Sha256, *, start: int) -> Iterator[tuple[int, Leaf]]:
    """Those of `leaves`, which the log got after the pack index from index `start` on, whose records a pack must hold."""
    for index, raw in enumerate(leaves, start):
        try:
            leaf = leaf_format.parse(raw)
        except Malformed:
            continue  # the leaf of no record
        of_request = leaf.kind in _OF_REQUEST and f"request:{request}" in leaf.about
        if leaf.kind in _STANDING or of_request or (leaf.kind, leaf.record) == ("req", request):
            yield index, leaf


def says_nothing_more(leaf: Leaf, held: Iterable[Leaf]) -> bool:
    """Whether a pack that holds records with the leaves `held` may lack the one of `leaf`, which perhaps nobody has.

    Whoever has the log writes leaves that name a real record, with an envelope of his invention. What a leaf says besides is a
    function of its record: one that says something else than the leaf of the same record is of no record at all. One that differs
    in the envelope alone may be of that record signed once more, which adds nothing when it gives; a denial or suspension could
    take away there, and not where it is held.
    """
    return any(
        (other.kind, other.record) == (leaf.kind, leaf.record)
        and (leaf.kind in _GIVING or (other.about, other.until) != (leaf.about, leaf.until))
        for other in held
        if leaf.kind not in ("rot", "tgt")
    )


def changed_since(chain: Chain, leaves: Sequence[bytes], *, start: int) -> Iterator[Failure]:
    """Name every statement about `chain` among `leaves`, the first of which is at log index `start`."""
    parts = {str(chain.model)}
    for step in chain.steps:
        parts.update(str(digest) for digest in (*inputs_of(step), *outputs_of(step)))
    models = {str(digest) for digest in packed_from(chain.model, chain.lineage)}
    for index, raw in enumerate(leaves, start):
        if not any(marker in raw for marker in (b'"kind":"prv"', b'"kind":"stp"', b'"kind":"tst"', b'"kind":"evd"')):
            continue
        try:
            leaf = leaf_format.parse(raw)
        except Malformed:
            continue
        about = set(leaf.about)
        touches = (leaf.kind in ("prv", "evd") and about & parts) or (leaf.kind == "tst" and about & models)
        if touches or (leaf.kind == "stp" and "build:evaluate" in about and about & models):
            yield Failure(
                index,
                "chain-changed-since",
                f"a `{leaf.kind}` record about the chain was logged after the pack index that people approved",
            )
