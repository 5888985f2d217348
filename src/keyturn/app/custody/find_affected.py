"""Find what descends from something bad: a dataset, package, checkpoint or any other artifact, or whatever a key signed.

Everything counts that was made with it, in any role (input, code, parameters, runtime), on and on; and releases that rest on it
otherwise: on an evaluation that it went into, on a request or approval that a stolen key signed. Each comes with a
shortest path.

A statement of a key counts in an interval unless what other keys signed before and after it in the log says that it was
logged at another time: what it says itself is no excuse, only a further reason to count
(docs/decisions/0121-what-is-affected.md).

This is NOT a verdict on anything that is not named here: only 0 things in a log that was read whole are nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from keyturn.app.custody.follow_lineage import Followed, follow_lineage
from keyturn.app.custody.shortest_paths import AffectedModel, AffectedModels, Hop, Makers, Paths
from keyturn.custody.descent import Walk, walk
from keyturn.custody.evidence import Failure
from keyturn.errors import Unavailable, Usage
from keyturn.formats.digest import ArtifactDigest
from keyturn.ports import LineageGraph, LogReader, StatementNode, Unread
from keyturn.trust.roster import TrustState

__all__ = ["Affected", "AffectedDeployment", "AffectedRelease", "Interval", "affected", "find_affected"]


@dataclass(frozen=True, slots=True)
class Interval:
    """When a key was not its owner's: POSIX seconds, both included; None is always."""

    since: int | None = None
    until: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether it is less than always."""
        return (self.since, self.until) != (None, None)


@dataclass(frozen=True, slots=True)
class AffectedRelease:
    """A release of `model` as `resource`. `withdrawn`: people took back every request by which it was released; `by` says
    who and where.
    """

    index: int
    resource: str
    model: str
    state: Literal["released", "withdrawn"]
    by: tuple[tuple[str, int], ...]
    path: tuple[Hop, ...]


class AffectedDeployment(msgspec.Struct, frozen=True, gc=False):
    """Where an affected model was said to run, on `host`; `ended_at` is the log index of who said that it does not any more."""

    index: int
    host: str
    ended_at: int | None
    path: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """What descends from `of`, as of a checkpoint of `log_size` cosigned at `as_of`. `signed` are the statements of a key
    that count.

    `models` are read as they are asked for, while the graph is open (`AffectedModels`).
    `artifacts` counts everything that was made from it, models among them. `unread` are erased records on which a release
    rests and which this key can have signed.
    """

    of: str
    signed: tuple[int, ...]
    models: Sequence[AffectedModel]
    releases: tuple[AffectedRelease, ...]
    deployments: tuple[AffectedDeployment, ...]
    artifacts: int
    failures: tuple[Failure, ...]
    unread: tuple[Unread, ...]
    log_size: int
    as_of: int

    @property
    def verdict(self) -> Literal["nothing", "affected", "unknown"]:
        """Nothing only when all of it could be read."""
        if self.artifacts or self.models or self.releases or self.deployments:
            return "affected"
        return "unknown" if self.unread else "nothing"


def find_affected(
    log: LogReader,
    graph: LineageGraph,
    *,
    root_json: bytes,
    pinned_sha256: str,
    of: ArtifactDigest | str,
    interval: Interval,
    now: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Affected:
    """Bring `graph` up to date, and find everything that descends from the artifact `of`, or from what the key whose id
    begins so signed.

    Raises `Unavailable` `affected-unknown` when the log says nothing of it: that is not the same as that nothing descends
    from it.
    """
    followed = follow_lineage(log, graph, root_json=root_json, pinned_sha256=pinned_sha256, now=now, progress=progress)
    return affected(graph, followed, of=of, interval=interval)


def affected(graph: LineageGraph, followed: Followed, *, of: ArtifactDigest | str, interval: Interval) -> Affected:
    """`find_affected`, of a graph that was followed."""
    signed: tuple[int, ...] = ()
    unread: tuple[Unread, ...] = ()
    as_of = followed.checkpoint.cosigned_at
    if isinstance(of, str):
        of = _key(of, followed.trusted.states)
        signed = _signed(graph, of, interval, now=as_of)
        starts: Sequence[int] = signed
        unread = tuple(one for one in graph.unread if _is_rested_on(graph, one))
    else:
        node = graph.node(str(of))
        if node is None:
            raise Unavailable(
                "affected-unknown",
                f"no statement in the log names `{of}`: what it went into is not known here",
                hint="keyturn step digest PATH gives the digest of files; a package counts by the digest that a step declared",
            )
        starts = [node]
    found = walk(starts, lambda level: graph.links(level, back=False, chain=False))
    names = [node for node, before in found.via.items() if node < 0 and node != before]  # not what was asked about
    makers = Makers(graph.made_by(names))
    others = graph.statements(_others(found, makers.artifacts))  # in log order
    paths = Paths(graph, found, makers)
    return Affected(
        str(of),
        signed,
        AffectedModels(makers.models(), paths),
        tuple(_releases(graph, others, paths)),
        tuple(_deployments(graph, others, paths)),
        len(makers.artifacts),
        tuple(graph.failures),
        unread,
        followed.checkpoint.checkpoint.size,
        as_of,
    )


def _others(found: Walk, made: Iterable[int]) -> Sequence[int]:
    """The statements that were reached, without those by which an artifact was: releases and deployments are among these."""
    led = {found.via[node] for node in made}
    return [node for node in found.via if node >= 0 and node not in led]


def _releases(graph: LineageGraph, statements: Sequence[StatementNode], paths: Paths) -> Iterator[AffectedRelease]:
    released = [one for one in statements if one.kind == "rel"]
    for one, path in zip(released, paths.to([one.index for one in released]), strict=True):
        (model,) = graph.names([model for _, model in graph.links([one.index], back=True, chain=True)])
        by, over = _taken_back(graph, one.index)
        state: Literal["released", "withdrawn"] = "withdrawn" if over else "released"
        yield AffectedRelease(one.index, one.label, model, state, by, path)


def _deployments(
    graph: LineageGraph, statements: Sequence[StatementNode], paths: Paths
) -> Iterator[AffectedDeployment]:
    deployed = [one for one in statements if one.kind == "dep" and one.label != "ended"]
    for one, path in zip(deployed, paths.to([one.index for one in deployed]), strict=True):
        given = [node for _, node in graph.links([one.index], back=False, chain=False)]
        onward = graph.statements([node for _, node in graph.links(given, back=False, chain=False) if node >= 0])
        ended = next((end.index for end in onward if end.kind == "dep"), None)
        yield AffectedDeployment(one.index, one.label, ended, path)


def _taken_back(graph: LineageGraph, release: int) -> tuple[tuple[tuple[str, int], ...], bool]:
    """Who denied or revoked a request by which it was released, and where; and whether that is true of every such request.

    One release statement stands for each time that one gate released one model as one resource.
    """
    summaries = [one.index for one in _two_back(graph, release) if one.kind == "vsa"]
    found: set[tuple[str, int]] = set()
    ended = 0
    for summary in summaries:
        named = [node for _, node in graph.links([summary], back=True, chain=False)]
        onward = graph.statements([node for _, node in graph.links(named, back=False, chain=False) if node >= 0])
        against = {(one.label, one.index) for one in onward if one.kind in ("den", "rev")}
        found |= against
        ended += bool(against)
    return tuple(sorted(found, key=lambda one: one[1])), bool(summaries) and ended == len(summaries)


def _two_back(graph: LineageGraph, node: int) -> Sequence[StatementNode]:
    names = [name for _, name in graph.links([node], back=True, chain=False)]
    return graph.statements([index for _, index in graph.links(names, back=True, chain=False) if index >= 0])


def _key(named: str, states: Sequence[TrustState]) -> str:
    """The key whose id begins with `named`, of all that trust ever listed."""
    known: set[str] = set()
    for state in states:
        known.update(held.keyid for member in state.roster.members.values() for held in member.keys)
        known.update(builder.key.keyid for builder in state.builders.values())
        known.update(gate.key.keyid for gate in state.gates.values())
    found = sorted(keyid for keyid in known if keyid.startswith(named))
    if not found:
        raise Unavailable(
            "affected-unknown",
            f"no version of trust lists a key of a member, builder or gate whose id begins with `{named}`",
            hint="keyturn trust show has the ids of keys; a dataset is named by its digest, as dirHash:...",
        )
    if len(found) > 1:
        raise Usage("affected-ambiguous", f"{len(found)} keys begin with `{named}`", hint="type more of the id")
    return found[0]


def _signed(graph: LineageGraph, keyid: str, interval: Interval, *, now: int) -> tuple[int, ...]:
    signed = graph.signed_by(keyid)
    if not interval.bounded:
        return tuple(one.index for one in signed)
    first, last = graph.logged_between(keyid, interval.since, interval.until, now=now)
    since = 0 if interval.since is None else interval.since
    return tuple(
        one.index
        for one in signed
        if first <= one.index <= (one.index if last is None else last)
        or (one.said_at is not None and since <= one.said_at <= (interval.until or one.said_at))
    )


def _is_rested_on(graph: LineageGraph, one: Unread) -> bool:
    node = graph.node(f"record:{one.record}")
    return node is not None and any(True for _ in graph.links([node], back=False, chain=False))
