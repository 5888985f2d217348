"""Show where an artifact came from and what became of it, from the witnessed log.

Which steps those are is said by the graph of whoever asks (`follow_lineage`), nearest first and up to a bound; each that
is shown is read from the log and verified again, under the trust of then. How many more there are is counted. What others
signed about any of these artifacts is verified again too, and shown under their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyturn.app.custody.follow_lineage import Followed, follow_lineage, records_of, requests_of_attempts
from keyturn.bulk.threads import on_all_cores
from keyturn.custody.descent import Walk, walk
from keyturn.custody.evidence import Entry, Failure, read
from keyturn.custody.lineage import Lineage, Step, link, outputs_of
from keyturn.custody.outside import Outside, Verify, read_outside
from keyturn.errors import Refused, Tampered
from keyturn.formats import dsse, statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.evidence import EVIDENCE, Evidence
from keyturn.ports import LineageGraph, LogReader, StatementNode

__all__ = ["Bounds", "ShownLineage", "Side", "show_lineage"]

_NODES_MAX = 500_000
"""Up to how many nodes it is counted what is left out."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many steps far, and how many steps on each side; which sides."""

    depth_max: int
    steps_max: int
    behind: bool = True
    ahead: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """The steps on one side of an artifact, nearest first in the graph and in log order here, and how many were left out.

    `counted`: whether `left_out` is all that is there, and not only at least that.
    """

    steps: tuple[Step, ...] = ()
    left_out: int = 0
    counted: bool = True
    releases: tuple[tuple[StatementNode, ArtifactDigest], ...] = ()
    """Release statements and which model each is of."""


@dataclass(frozen=True, slots=True)
class ShownLineage:
    """The lineage of `artifact`, as of a checkpoint of `log_size` that was cosigned at `as_of`; `lineage` links what is
    shown.
    """

    artifact: ArtifactDigest
    bounds: Bounds
    lineage: Lineage
    behind: Side
    ahead: Side
    sources: tuple[ArtifactDigest, ...]
    failures: tuple[Failure, ...]
    log_size: int
    as_of: int
    outside: tuple[Outside, ...] = ()
    """Evidence about what is shown. What does not hold is among the failures; `outside_left_out` is how much more there is."""
    outside_left_out: int = 0
    disposals: tuple[tuple[StatementNode, str], ...] = ()
    """Disposals of artifacts that are shown, and of which each is."""


def show_lineage(
    log: LogReader,
    graph: LineageGraph,
    *,
    root_json: bytes,
    pinned_sha256: str,
    artifact: ArtifactDigest,
    bounds: Bounds,
    now: int,
    verify: Verify,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ShownLineage:
    """Bring `graph` up to date, and show the steps around `artifact` within `bounds`.

    Raises `Refused` `artifact-unknown` when no step that verifies made it or took it: that says nothing of where it came from.
    """
    followed = follow_lineage(log, graph, root_json=root_json, pinned_sha256=pinned_sha256, now=now, progress=progress)
    node = graph.node(str(artifact))
    if node is None:
        raise Refused(
            "artifact-unknown",
            f"no step in the log made or took `{artifact}`",
            hint="keyturn step digest PATH gives the digest of files; keyturn log show what was logged",
        )
    behind, ahead = Side(), Side()
    sources: tuple[ArtifactDigest, ...] = ()
    if bounds.behind:
        back = walk([node], lambda nodes: graph.links(nodes, back=True, chain=True), nodes_max=_NODES_MAX)
        behind = _side(log, graph, followed, back, bounds)
        sources = tuple(ArtifactDigest.parse(name) for name in sorted(graph.names(_sources(back, node))))
    if bounds.ahead:
        on = walk([node], lambda nodes: graph.links(nodes, back=False, chain=True), nodes_max=_NODES_MAX)
        ahead = _side(log, graph, followed, on, bounds)
    steps = sorted({one.index: one for one in (*behind.steps, *ahead.steps)}.values(), key=lambda one: one.index)
    about = {artifact, *(digest for step in steps for digest in (*_taken(step), *outputs_of(step)))}
    signed = _about(graph, sorted(about))
    outside, failures = _verify_again(log, graph, followed, signed[: bounds.steps_max], verify)
    return ShownLineage(
        artifact,
        bounds,
        link(steps),
        behind,
        ahead,
        sources,
        (*graph.failures, *failures),
        followed.checkpoint.checkpoint.size,
        followed.checkpoint.cosigned_at,
        outside,
        max(0, len(signed) - bounds.steps_max),
        _disposals(graph, artifact, steps),
    )


def _taken(step: Step) -> tuple[ArtifactDigest, ...]:
    return tuple(one.digest for one in step.value.dependencies)


def _about(graph: LineageGraph, artifacts: Sequence[ArtifactDigest]) -> list[int]:
    """The places of evidence about any of `artifacts`, in log order."""
    nodes = [node for one in artifacts if (node := graph.node(str(one))) is not None]
    onward = sorted({node for _, node in graph.links(nodes, back=False, chain=True) if node >= 0})
    return [one.index for one in graph.statements(onward) if one.kind == "evd"]


def _verify_again(
    log: LogReader, graph: LineageGraph, followed: Followed, nodes: Sequence[int], verify: Verify
) -> tuple[tuple[Outside, ...], tuple[Failure, ...]]:
    """The evidence at `nodes`, verified here. Who took it in may be suspended since: that is for who judges a chain."""
    entries = [Entry(node, log.envelope(one)) for node, one in zip(nodes, graph.envelopes(nodes), strict=True)]
    made = [statement.parse(dsse.parse_own(one.raw).payload, Evidence, EVIDENCE).predicate for one in entries]
    found, failures = read_outside(
        entries,
        parts=[part for one in made for digest in one.parts for part in records_of(log, graph, digest)],
        lab=followed.history.lab,
        timeline=followed.trusted,
        suspended_members=frozenset(),
        suspended_keys=frozenset(),
        verify=verify,
        about=None,
    )
    if len(found) + len(failures) != len(entries):
        raise _other("evidence")
    return found, failures


def _other(what: str) -> Tampered:
    return Tampered(
        "lineage-other",
        f"{what} of the graph does not verify when it is read again: graph or log is not what it was",
        hint="remove the graph in your KEYTURN_HOME: it is made again from the log; keyturn log verify",
    )


def _disposals(
    graph: LineageGraph, artifact: ArtifactDigest, steps: Sequence[Step]
) -> tuple[tuple[StatementNode, str], ...]:
    names = {str(artifact)}
    for step in steps:
        names |= {str(d.digest) for d in step.value.dependencies if d.role != "runtime"}
        names |= {str(output.digest) for output in step.value.outputs}
    nodes = {node: name for name in sorted(names) if (node := graph.node(name)) is not None}
    links = [(other, nodes[node]) for node, other in graph.links(list(nodes), back=False, chain=False) if other >= 0]
    known = {one.index: one for one in graph.statements([other for other, _ in links])}
    return tuple((known[other], name) for other, name in sorted(links) if known[other].kind == "dsp")


def _sources(back: Walk, start: int) -> list[int]:
    return [node for node in back.ends if node < 0 and node != start]


def _side(log: LogReader, graph: LineageGraph, followed: Followed, found: Walk, bounds: Bounds) -> Side:
    far: dict[int, int] = {}
    for node, before in found.via.items():  # nearest first, so what is before a node is known
        far[node] = far.get(before, 0) + (node >= 0)
    statements = [node for node in found.via if node >= 0]
    known = {one.index: one for one in graph.statements(statements)}
    released = [node for node in sorted(statements) if known[node].kind == "rel"]
    models = [ArtifactDigest.parse(name) for name in graph.names([found.via[node] for node in released])]
    releases = tuple((known[node], model) for node, model in zip(released, models, strict=True))
    steps = [node for node in statements if known[node].kind == "prv"]
    near = [node for node in steps if far[node] <= bounds.depth_max][: bounds.steps_max]
    return Side(
        _read_again(log, graph, followed, near, graph.envelopes(near)), len(steps) - len(near), found.whole, releases
    )


def _read_again(
    log: LogReader, graph: LineageGraph, followed: Followed, nodes: Sequence[int], envelopes: Sequence[Sha256]
) -> tuple[Step, ...]:
    entries = [Entry(node, log.envelope(envelope)) for node, envelope in zip(nodes, envelopes, strict=True)]
    asked = requests_of_attempts(log, graph, entries)
    evidence = read([*asked, *entries], lab=followed.history.lab, timeline=followed.trusted, each=on_all_cores)
    if len(evidence.provenance) != len(entries):
        raise _other("a step")
    return evidence.provenance
