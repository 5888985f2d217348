"""Name every statement about a model's chain up to a size of the log: the pack index, which people sign.

The index is a function of the log's first `size` entries, the model and `as_of`, and of nothing else: whoever has the log
computes the same bytes. Its SHA-256 is a subject of the release request beside the model's `dirHash`, so a statement
that is dropped, added or altered afterwards is another index than the one that was approved. Normative page:
docs/formats/pack-index.md.

What is in it, by leaf kind:
- `rot`, `tgt`: every trust version;
- `sus` that is live at `as_of` (its `until` is later), and every `lft` of one of those;
- `prv` of every step behind the model and behind its evaluations; `stp` that each names;
- `evd` about anything behind the model: what others signed about it, as a member took it in; `evp` that each names;
- `tst` about the model (and what it was packed from), and `stp` that asked to evaluate it, with their `crt`;
- `src` about what a step took as code.

An entry that cannot be read, and that the newest trust version among those entries declares void, is in none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import KeyturnError, Malformed
from keyturn.formats import canonical_json, dsse, leaf, provenance, statement, test_result
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import EVIDENCE, Evidence
from keyturn.formats.leaf import Kind, Leaf
from keyturn.formats.steps import STEP_REQUEST, StepRequest
from keyturn.formats.text import HexDigest, LabName, PosixTime, Size

__all__ = ["INDEX_BYTES_MAX", "Indexed", "LeafTable", "PackIndex", "make", "parse", "render"]

INDEX_BYTES_MAX = 64 << 20

Fetch = Callable[[Sha256], bytes]
"""The envelope with that SHA-256; raises `Unavailable` when it cannot be had."""


class Indexed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One statement: its place in the log, and the digests that its leaf binds."""

    index: Size
    kind: Kind
    record: HexDigest
    envelope: HexDigest


class PackIndex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="keyturn-pack-index/v1"):
    """`root` is the log's root hash at `size`; `statements` are in log order, each once."""

    lab: LabName
    model: Annotated[str, Meta(max_length=80)]
    size: Size
    root: HexDigest
    as_of: PosixTime
    statements: Annotated[tuple[Indexed, ...], Meta(max_length=1_000_000)]

    def __post_init__(self) -> None:
        ArtifactDigest.parse(self.model)
        places = [one.index for one in self.statements]
        if any(a >= b for a, b in pairwise(places)) or (places and places[-1] >= self.size):
            raise Malformed("pack-index-order", "pack index: expected rising log indices below its size")

    @property
    def digest(self) -> Sha256:
        """What the release request has as a subject."""
        return sha256(render(self))


def parse(raw: bytes) -> PackIndex:
    """Parse the one text of a pack index, or raise `Malformed`."""
    return canonical_json.decode(raw, PackIndex, what="pack index", size_bytes_max=INDEX_BYTES_MAX)


def render(value: PackIndex) -> bytes:
    """Render `value`; the bytes whose digest people sign."""
    return canonical_json.encode(value)


class LeafTable:
    """The leaves of a log that can matter to a chain, by what they are about. Read once, used for any model.

    Mutable only by `extend`; a gate that follows the log keeps one. Holds nothing about access requests.
    """

    _CHAIN: frozenset[Kind] = frozenset({"prv", "tst", "stp", "crt", "evd", "evp", "src"})
    _ALWAYS: frozenset[Kind] = frozenset({"rot", "tgt", "sus", "lft"})

    def __init__(self) -> None:
        self.size = 0
        self.leaves: dict[int, Leaf] = {}
        self.always: list[int] = []
        self.by_tag: dict[str, list[int]] = {}
        self.by_record: dict[str, int] = {}

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take the next `leaves` of the log."""
        for index, raw in enumerate(leaves, self.size):
            try:
                one = leaf.parse(raw)
            except Malformed:
                continue  # the leaf of no record: it counts in the tree, and says nothing
            self._add(index, one)
        self.size += len(leaves)

    def _add(self, index: int, one: Leaf) -> None:
        if one.kind in self._CHAIN:
            self.leaves[index] = one
            self.by_record.setdefault(one.record, index)
            for tag in one.about:
                if tag.startswith(("dirHash:", "sha256:")):
                    self.by_tag.setdefault(tag, []).append(index)
        elif one.kind in self._ALWAYS:
            self.leaves[index] = one
            self.always.append(index)

    def without(self, indices: frozenset[int]) -> LeafTable:
        """The same leaves but for those at `indices`; of the same size."""
        left = LeafTable()
        for index, one in self.leaves.items():
            if index not in indices:
                left._add(index, one)
        left.size = self.size
        return left

    def about(self, artifact: ArtifactDigest, kind: Kind) -> tuple[int, ...]:
        """Indices of the leaves of `kind` about `artifact`."""
        return tuple(i for i in self.by_tag.get(str(artifact), ()) if self.leaves[i].kind == kind)


def make(table: LeafTable, *, lab: str, model: ArtifactDigest, root: bytes, as_of: int, fetch: Fetch) -> PackIndex:
    """Compute the index of `model` over the whole of `table`, whose tree has the root hash `root`."""
    found = set(_authority(table, as_of)) | _chain(table, model, fetch)
    return PackIndex(
        lab=lab,
        model=str(model),
        size=table.size,
        root=root.hex(),
        as_of=as_of,
        statements=tuple(
            Indexed(index=i, kind=one.kind, record=one.record, envelope=one.envelope)
            for i, one in ((i, table.leaves[i]) for i in sorted(found))
        ),
    )


def _authority(table: LeafTable, as_of: int) -> Iterable[int]:
    live: set[str] = set()
    for index in table.always:
        one = table.leaves[index]
        if one.kind == "sus" and one.until is not None and one.until > as_of:
            live.add(f"suspension:{one.record}")
            yield index
        elif one.kind in ("rot", "tgt"):
            yield index
    for index in table.always:
        one = table.leaves[index]
        if one.kind == "lft" and live.intersection(one.about):
            yield index


_Role = Literal["model", "part"]


def _chain(table: LeafTable, model: ArtifactDigest, fetch: Fetch) -> set[int]:
    """Walk back from the model. A `model` is judged by evaluations, a `part` only has to have been made."""
    found: set[int] = set()
    done: set[tuple[ArtifactDigest, _Role]] = set()
    todo: list[tuple[ArtifactDigest, _Role]] = [(model, "model")]

    def record(digest: str | None) -> None:
        index = table.by_record.get(digest or "")
        if index is not None:
            found.add(index)

    while todo:
        artifact, role = todo.pop()
        if (artifact, role) in done:
            continue
        done.add((artifact, role))
        for index in table.about(artifact, "evd"):
            found.add(index)
            named = (table.by_record.get(one) for one in _parts(fetch(Sha256(table.leaves[index].envelope))))
            found.update(place for place in named if place is not None and table.leaves[place].kind == "evp")
        for index in table.about(artifact, "prv"):
            found.add(index)
            made = _provenance(fetch(Sha256(table.leaves[index].envelope)))
            if made is None:
                continue  # somebody else's format: it stands in the index, and no chain of ours goes on from it
            record(made.request)
            inner: _Role = "model" if role == "model" and made.build == "package" else "part"
            found.update(i for d in made.dependencies if d.role == "code" for i in table.about(d.digest, "src"))
            todo.extend((d.digest, inner) for d in made.dependencies if d.role == "input")
        if role == "part":
            continue
        for index in table.about(artifact, "tst"):
            found.add(index)
            result = _test_result(fetch(Sha256(table.leaves[index].envelope)))
            if result is not None:
                record(result.request)
                record(result.criteria)
                todo.append((result.measurement, "part"))
        for index in table.about(artifact, "stp"):
            if "build:evaluate" in table.leaves[index].about:
                found.add(index)
                record(_criteria(fetch(Sha256(table.leaves[index].envelope))))
    return found


def _provenance(raw: bytes) -> provenance.Provenance | None:
    try:
        return provenance.read(dsse.parse_foreign(raw).payload)
    except KeyturnError:
        return None


def _test_result(raw: bytes) -> test_result.TestResult | None:
    try:
        return test_result.read(dsse.parse_foreign(raw).payload)
    except KeyturnError:
        return None


def _parts(raw: bytes) -> tuple[str, ...]:
    return statement.parse(dsse.parse_foreign(raw).payload, Evidence, EVIDENCE).predicate.parts


def _criteria(raw: bytes) -> str | None:
    return statement.parse(dsse.parse_foreign(raw).payload, StepRequest, STEP_REQUEST).predicate.criteria
