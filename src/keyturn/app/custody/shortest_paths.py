"""Say what a walk reached, and by which shortest path: of a few nodes at a time, when somebody asks for them.

A bad dataset can lead to hundreds of thousands of models, of which a person looks at some, and a script at one after the other.
To count them takes the walk alone. So what they are called and how they were reached is read from the graph as it is asked for,
and the graph has to be open until then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import msgspec

from keyturn.custody.descent import Walk
from keyturn.custody.linked import MODEL_BUILDS
from keyturn.formats.leaf import Kind
from keyturn.ports import LineageGraph

__all__ = ["AffectedModel", "AffectedModels", "Hop", "Makers", "Paths"]

_ARTIFACTS = ("dirHash:", "sha256:")
_AT_ONCE = 4096


class Hop(msgspec.Struct, frozen=True, gc=False):
    """One thing on a path: an artifact by its digest, or a statement by its place in the log, its kind and what it is of."""

    artifact: str | None = None
    index: int | None = None
    kind: Kind | None = None
    label: str = ""


class AffectedModel(msgspec.Struct, frozen=True, gc=False):
    """A model or checkpoint, by which steps it was made, and a shortest path to it."""

    artifact: str
    made_at: tuple[int, ...]
    build: str
    path: tuple[Hop, ...]


Made = tuple[int, int, str]
"""An artifact, a step that made it, and that step's build: `LineageGraph.made_by`."""


class Makers:
    """By which steps artifacts were made, in log order; one that was made by several may be a model by one of them alone."""

    def __init__(self, made: Iterable[Made]) -> None:
        self._first: dict[int, Made] = {}
        self._several: dict[int, list[Made]] = {}
        for one in made:
            first = self._first.setdefault(one[0], one)
            if first is not one:
                self._several.setdefault(one[0], [first]).append(one)

    @property
    def artifacts(self) -> Collection[int]:
        """What was made, in the order in which it came."""
        return self._first.keys()

    @cached_property
    def builds(self) -> Mapping[int, str]:
        """The build of each step."""
        several = (one for made in self._several.values() for one in made)
        return {index: build for made in (self._first.values(), several) for _, index, build in made}

    def of_model(self, node: int) -> tuple[tuple[int, ...], str]:
        """By which steps that make models `node` was made, and the build of the first; no steps if it is no model."""
        made = self._several.get(node)
        if made is None:
            _, index, build = self._first[node]
            return ((index,) if build in MODEL_BUILDS else ()), build
        models = [(index, build) for _, index, build in made if build in MODEL_BUILDS]
        return tuple(index for index, _ in models), models[0][1] if models else ""

    def models(self) -> list[int]:
        """What a step made that makes models."""
        several = {node for node in self._several if self.of_model(node)[0]}
        return [node for node, made in self._first.items() if made[2] in MODEL_BUILDS or node in several]


@dataclass(frozen=True, slots=True)
class Paths:
    """The shortest paths of a walk through `graph`, which reached what `makers` made."""

    graph: LineageGraph
    found: Walk
    makers: Makers

    def to(self, nodes: Sequence[int]) -> Iterator[tuple[Hop, ...]]:
        """A shortest path to each of `nodes`, without names that only link."""
        via, hops = self.found.via, self._hops(nodes)
        said: dict[int, tuple[Hop, ...]] = {}
        for node in nodes:
            maker = via[node]
            stem = via[maker]
            if (path := said.get(stem)) is None:  # many share it: all that one artifact went into
                said[stem] = path = tuple([hop for one in self.found.path(stem) if (hop := hops[one]) is not None])
            yield (*path, *[hop for one in (maker, node) if one != stem and (hop := hops[one]) is not None])

    def _hops(self, nodes: Sequence[int]) -> dict[int, Hop | None]:
        """Everything on the way to `nodes`; None is a name that only links."""
        via, builds = self.found.via, self.makers.builds
        hops: dict[int, Hop | None] = {}
        for node in nodes:
            one = node
            while one not in hops:
                hops[one] = Hop(None, one, "prv", builds[one]) if one in builds else None
                one = via[one]
        for said in self.graph.statements([one for one in hops if one >= 0 and one not in builds]):
            hops[said.index] = Hop(None, said.index, said.kind, said.label)
        named = [one for one in hops if one < 0]
        for one, name in zip(named, self.graph.names(named), strict=True):
            if name.startswith(_ARTIFACTS):
                hops[one] = Hop(name)
        return hops


class AffectedModels(Sequence[AffectedModel]):
    """The models at `nodes`, nearest first, each said when it is asked for."""

    def __init__(self, nodes: Sequence[int], paths: Paths) -> None:
        self._nodes = nodes
        self._paths = paths

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, at: int) -> AffectedModel: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[AffectedModel]: ...
    def __getitem__(self, at: int | slice) -> AffectedModel | Sequence[AffectedModel]:
        if isinstance(at, slice):
            return AffectedModels(self._nodes[at], self._paths)
        return next(self._said([self._nodes[at]]))

    def __iter__(self) -> Iterator[AffectedModel]:
        for start in range(0, len(self._nodes), _AT_ONCE):
            yield from self._said(self._nodes[start : start + _AT_ONCE])

    def _said(self, nodes: Sequence[int]) -> Iterator[AffectedModel]:
        of_model = self._paths.makers.of_model
        for node, path in zip(nodes, self._paths.to(nodes), strict=True):
            yield AffectedModel(path[-1].artifact or "", *of_model(node), path)
