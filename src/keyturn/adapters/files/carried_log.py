"""The log as it was carried to a gate in files: every answer that was taken, each continuing those before it.

    question                                 what the gate asks now (`formats.carried`)
    state/carried/<leaves>-<sha256>.answer   an answer as it was brought, by how many leaves there are with it

Nothing of it is believed here: whoever follows it verifies every leaf and the checkpoint, as from the log itself. It takes no
appends: a record is in the log when an answer has its leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.config_files import read_kept
from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import carried, records
from keyturn.formats import leaf as leaves_format
from keyturn.formats.carried import Answer
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Leaf

__all__ = ["CarriedLog", "question_in"]


def question_in(directory: Path) -> Path:
    """Where the gate in `directory` has its question."""
    return directory / "question"


class CarriedLog:
    """`LogReader` and `LogWriter` over the answers in the directory of one gate."""

    def __init__(self, directory: Path) -> None:
        self._place = directory / "state" / "carried"
        self._question = question_in(directory)
        self._asked: bytes | None = None
        self._taken: tuple[str, ...] = ()
        self._note: bytes | None = None
        self._leaves: list[bytes] = []
        self._index: dict[bytes, int] = {}
        self._named: set[str] = set()
        self.records: set[str] = set()
        """The digests of the records that leaves name."""
        self._envelopes: dict[str, bytes] = {}
        self.look()

    @property
    def size(self) -> int:
        """How many leaves were brought."""
        return len(self._leaves)

    def look(self) -> None:
        """Take up the answers that came since the last look; raises when what lies there is not what was put there."""
        try:
            names = tuple(sorted(path.name for path in self._place.glob("[0-9]*.answer")))
        except OSError as err:
            raise Unavailable("carried-unreadable", f"cannot read `{self._place}`: {err.strerror}") from err
        for name in names:
            if name not in self._taken:
                path = self._place / name
                self.add(carried.parse_answer(read_kept(path, size_bytes_max=carried.ANSWER_BYTES_MAX)))
                self._taken = (*self._taken, name)

    def add(self, answer: Answer) -> None:
        """Continue by `answer`, in memory alone; `Tampered` when it has other leaves than are here, and then nothing changed."""
        if answer.start > self.size:
            raise Refused(
                "answer-gap",
                f"the answer begins at leaf {answer.start}, and {self.size} were brought: what is between them is missing",
                hint="carry the gate's newest question: keyturn gate host ask",
            )
        again = self._leaves[answer.start : answer.start + len(answer.leaves)]
        if list(answer.leaves[: len(again)]) != again:
            raise Tampered(
                "log-fork",
                f"the answer has other leaves from {answer.start} on than were brought before",
                hint="keep both, and compare with another gate: the log shows different leaves to different readers",
            )
        fresh = answer.leaves[len(again) :]
        found = [leaf for leaf in map(_parsed, fresh) if leaf is not None]
        named = {leaf.envelope for leaf in found}
        digests = [sha256(envelope) for envelope in answer.envelopes]
        for digest in digests:
            if digest not in named and digest not in self._named:
                raise Refused(
                    "answer-altered",
                    f"the answer has an envelope `{digest[:16]}` that no leaf of the log names: it was altered on its way",
                    hint="carry it again, from the machine that made it",
                )
        for leaf in fresh:
            self._index.setdefault(leaf, len(self._leaves))
            self._leaves.append(leaf)
        self._named |= named
        self.records |= {leaf.record for leaf in found}
        self._envelopes.update(zip(digests, answer.envelopes, strict=True))
        self._note = answer.note

    def put(self, raw: bytes, size: int) -> None:
        """Keep the answer `raw`, with which there are `size` leaves, durably."""
        path = self._place / f"{size:016}-{sha256(raw)[:16]}.answer"
        try:
            durable_files.replace(path, raw, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable("carried-unwritable", f"`{path}` cannot be written: {err.strerror}") from err

    def ask(self, question: bytes) -> None:
        """Lay `question` where its operator takes it from, in place of the one before."""
        if question == self._asked:
            return
        try:
            durable_files.replace(self._question, question, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable("carried-unwritable", f"`{self._question}` cannot be written: {err.strerror}") from err
        self._asked = question

    def checkpoint(self) -> bytes:
        if self._note is None:
            raise Unavailable("log-not-brought", "nothing of the log was brought to this gate yet", hint=_CARRY)
        return self._note

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._leaves[start:end]

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        raise Unavailable("log-not-brought", "hashes of the tree are not carried: the gate computes them", hint=_CARRY)

    def envelope(self, digest: Sha256) -> bytes:
        found = self._envelopes.get(digest)
        if found is None:
            raise Unavailable("log-not-brought", f"the envelope `{digest[:16]}` was not brought", hint=_CARRY)
        return found

    def append(self, envelope: bytes) -> int:
        found = self._index.get(leaves_format.render(records.leaf_of(envelope)))
        if found is None:
            raise Unavailable("log-carried", "the record goes to the log with the gate's next question", hint=_CARRY)
        return found


def _parsed(leaf: bytes) -> Leaf | None:
    try:
        return leaves_format.parse(leaf)
    except Malformed:
        return None  # whoever has the log's key can put anything into it: the view passes it over


_CARRY = "keyturn gate host ask, on a machine that reaches the log keyturn gate answer, then keyturn gate host take"
