"""Link verified steps by the digests of what went in and came out, and walk the graph both ways.

An artifact is its digest: names link nothing. What no step made is a source; behind an artifact are the steps that made
it and, on and on, what they took; ahead of it the steps that took it. Walks keep their own stack, so that a chain of any
length is followed.

This is NOT a verdict: `custody.verify` says which links must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keyturn.custody.evidence import Logged
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.provenance import Provenance

__all__ = ["Lineage", "Step", "inputs_of", "link", "outputs_of"]

Step = Logged[Provenance]
_Onward = Callable[[Step], tuple[ArtifactDigest, ...]]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which steps made and which took each artifact, in log order. Made by `link`."""

    makers: Mapping[ArtifactDigest, tuple[Step, ...]]
    takers: Mapping[ArtifactDigest, tuple[Step, ...]]

    def behind(self, *artifacts: ArtifactDigest) -> tuple[Step, ...]:
        """Every step behind any of `artifacts`, in log order."""
        return self._closure(artifacts, self.makers, inputs_of)

    def ahead(self, artifact: ArtifactDigest) -> tuple[Step, ...]:
        """Every step that took `artifact` or something that was made from it, in log order."""
        return self._closure((artifact,), self.takers, outputs_of)

    def sources(self, artifact: ArtifactDigest) -> tuple[ArtifactDigest, ...]:
        """What no step made among everything that went in behind `artifact`, sorted: where custody begins."""
        taken = {digest for step in self.behind(artifact) for digest in inputs_of(step)}
        return tuple(sorted(digest for digest in taken if digest not in self.makers))

    def cycle(self) -> tuple[ArtifactDigest, ...]:
        """Artifacts of one cycle (an artifact that went into its own making), or nothing."""
        if not self._made_after_taken():
            return ()
        state: dict[ArtifactDigest, bool] = {}  # True while on the path that is being walked
        for start in sorted(self.makers):
            path: list[ArtifactDigest] = []
            stack: list[tuple[ArtifactDigest, bool]] = [(start, False)]
            while stack:
                artifact, leaving = stack.pop()
                if leaving:
                    state[artifact] = False
                    path.pop()
                    continue
                if artifact in state:
                    if state[artifact]:
                        return tuple(path[path.index(artifact) :])
                    continue
                state[artifact] = True
                path.append(artifact)
                stack.append((artifact, True))
                stack.extend((digest, False) for step in self.makers.get(artifact, ()) for digest in inputs_of(step))
        return ()

    def _made_after_taken(self) -> bool:
        """Whether any step made what it or one before it took: on a cycle, not every link leads back in the log."""
        for artifact, made in self.makers.items():
            taken = self.takers.get(artifact)
            if taken is not None and made[-1].index >= taken[0].index:
                return True
        return False

    @staticmethod
    def _closure(
        starts: Iterable[ArtifactDigest], links: Mapping[ArtifactDigest, tuple[Step, ...]], onward: _Onward
    ) -> tuple[Step, ...]:
        found: dict[int, Step] = {}
        todo = list(starts)
        seen = set(todo)
        while todo:
            for step in links.get(todo.pop(), ()):
                if step.index in found:
                    continue
                found[step.index] = step
                fresh = [digest for digest in onward(step) if digest not in seen]
                seen.update(fresh)
                todo.extend(fresh)
        return tuple(found[index] for index in sorted(found))


def inputs_of(step: Step) -> tuple[ArtifactDigest, ...]:
    """What went into `step` as artifacts of the chain: not its code, parameters or runtime."""
    return tuple([d.digest for d in step.value.dependencies if d.role == "input"])


def outputs_of(step: Step) -> tuple[ArtifactDigest, ...]:
    """What came out of `step`."""
    return tuple([output.digest for output in step.value.outputs])


def link(steps: Iterable[Step]) -> Lineage:
    """Link `steps` by digest."""
    makers, takers = _Links({}, {}), _Links({}, {})
    for step in steps:
        alone = (step,)  # one tuple for all that a step is the only maker or taker of
        for output in step.value.outputs:
            makers.add(output.digest, alone)
        for dependency in step.value.dependencies:
            if dependency.role == "input":
                takers.add(dependency.digest, alone)
    return Lineage(makers.sealed(), takers.sealed())


@dataclass(frozen=True, slots=True)
class _Links:
    """Steps by artifact while they are gathered: most artifacts have one, and no list is made for it."""

    first: dict[ArtifactDigest, tuple[Step, ...]]
    many: dict[ArtifactDigest, list[Step]]

    def add(self, digest: ArtifactDigest, alone: tuple[Step, ...]) -> None:
        known = self.first.setdefault(digest, alone)
        if known is not alone:
            self.many.setdefault(digest, [*known]).extend(alone)

    def sealed(self) -> Mapping[ArtifactDigest, tuple[Step, ...]]:
        return MappingProxyType(self.first | {digest: tuple(found) for digest, found in self.many.items()})
