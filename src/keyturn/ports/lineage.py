"""Keep the graph of a log's statements: what each rests on and what rests on it, and how much of the log is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from keyturn.custody.evidence import Failure
from keyturn.custody.linked import Linked
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind
from keyturn.tlog.frontier import Frontier

__all__ = ["LineageGraph", "StatementNode", "Unread"]


class StatementNode(msgspec.Struct, frozen=True, gc=False):
    """A statement of the graph; `label` is `custody.linked`'s."""

    index: int
    kind: Kind
    keyid: str
    said_at: int | None
    label: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A record about access whose text the log does not give: erased, or lost."""

    index: int
    kind: Kind
    record: Sha256


class LineageGraph(Protocol):
    """The statements of one log up to `frontier`, each verified before it was added. Same log, same rows, in whatever portions.

    A node is a statement's index in the log, or the negative number of a name (`custody.linked`).
    """

    @property
    def frontier(self) -> Frontier:
        """The tree of what is in here."""

    @property
    def trust(self) -> Sequence[tuple[int, Sha256]]:
        """Index and envelope of each trust version in the log up to there."""

    @property
    def failures(self) -> Sequence[Failure]:
        """What did not verify, of statements that somebody signed whom trust listed."""

    @property
    def unread(self) -> Sequence[Unread]:
        """What could not be read, in log order."""

    def growing(self) -> AbstractContextManager[None]:
        """Add alone, and all of it durably at the end or nothing; `frontier` inside is what is there when nobody else adds."""

    def add(
        self, statements: Sequence[tuple[Linked, Sha256]], *, failures: Sequence[Failure], unread: Sequence[Unread]
    ) -> None:
        """Add statements with their envelopes; inside `growing`."""

    def add_read(self, frontier: Frontier, trust: Sequence[tuple[int, Sha256]]) -> None:
        """Say how far the log is in here, and which trust versions were found on the way; inside `growing`."""

    def node(self, name: str) -> int | None:
        """The node of a name; None when nothing in the log says it."""

    def names(self, nodes: Sequence[int]) -> Sequence[str]:
        """The names of these (negative) nodes, in their order."""

    def statements(self, nodes: Sequence[int]) -> Sequence[StatementNode]:
        """The statements of these nodes, in log order."""

    def envelopes(self, nodes: Sequence[int]) -> Sequence[Sha256]:
        """Which envelopes have the text of these statements, in the order of the nodes."""

    def links(self, nodes: Sequence[int], *, back: bool, chain: bool) -> Iterable[tuple[int, int]]:
        """Links (node, other) from each of `nodes` to what rests on it, or `back` to what it rests on; in the order of the
        nodes.

        `chain`: of inputs, outputs and released models alone, without code, runtimes and requests.
        """

    def made_by(self, nodes: Sequence[int]) -> Iterable[tuple[int, int, str]]:
        """(node, index, build) of each step that gave one of these names; in the order of the nodes, then of the log."""

    def signed_by(self, keyid: str) -> Sequence[StatementNode]:
        """The statements that this key signed, in log order."""

    def logged_between(self, keyid: str, since: int | None, until: int | None, *, now: int) -> tuple[int, int | None]:
        """Between which entries (first, last) a statement of this key can have been logged at a time from `since` to
        `until`, by the times that the statements of all other keys say, none of which counts that is later than `now`."""
