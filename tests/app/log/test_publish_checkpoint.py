"""Publishing under witnesses: real witnesses and a real log, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from keyturn.adapters.files.witness_files import WitnessFiles
from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.over_http.witnesses_at_once import WitnessesAtOnce
from keyturn.app.log.cosign_checkpoint import Witnessing, cosign_checkpoint
from keyturn.app.log.publish_checkpoint import confirm_with_witnesses, publish_checkpoint
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Conflict, Refused, Tampered, Unavailable
from keyturn.formats import add_checkpoint
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import NoteSignature
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.signing import cosign, sign_checkpoint
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.tlog.witness import Refusal
from keyturn.trust.roster import Log, Witness
from support.labs import NOW, Lab, make_key, make_lab
from support.log_records import make_records

LAB = make_lab(witnesses=("east", "north", "south"))


class Here:
    """A witness in this process, its state in files; `up` says whether it answers."""

    def __init__(self, lab: Lab, name: str, place: object, key: SoftwareKey | None = None) -> None:
        self._witnessing = Witnessing(name, key or lab.witness_keys[name], {lab.state.log.origin: lab.state.log.key})
        self._store = WitnessFiles(place / name)  # type: ignore[operator]
        self.time = NOW
        self.up = True

    def now(self) -> int:
        return self.time

    def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
        self._answer()
        made = cosign_checkpoint(self._witnessing, add_checkpoint.render(request), store=self._store, clock=self)
        if not isinstance(made, Refusal):
            return (made,)
        if made.code == "other-size":
            return made.size
        raise Tampered("witness-refused", made.message)

    def newest(self, origin: str) -> bytes | None:
        self._answer()
        return self._store.read(origin)

    def _answer(self) -> None:
        if not self.up:
            raise Unavailable("no-answer", "no answer")


@pytest.fixture
def witnesses(tmp_path: object) -> dict[str, Here]:
    return {name: Here(LAB, name, tmp_path) for name in ("east", "north", "south")}


def publish(log: LogInMemory, witnesses: dict[str, Here], now: int = NOW) -> object:
    return publish_checkpoint(
        log,
        keys=(LAB.log_key,),
        log=LAB.state.log,
        earlier=(),
        witnesses=WitnessesAtOnce(witnesses),
        now=now,
        skew_s=60,
    )


def grown(count: int, start: int = 0, log: LogInMemory | None = None) -> LogInMemory:
    log = log or LogInMemory()
    for record in make_records(count, start=start):
        log.append(record)
    return log


def test_a_log_grows_under_a_quorum_even_while_one_witness_is_away(witnesses: dict[str, Here]) -> None:
    log = LogInMemory()
    for start in range(0, 50, 10):
        grown(10, start, log)
        witnesses["south"].up = start % 20 == 0
        found = publish(log, witnesses)
        assert found.checkpoint.size == start + 10  # type: ignore[attr-defined]
        assert len(found.cosigners) == (3 if start % 20 == 0 else 2)  # type: ignore[attr-defined]
        assert verify_checkpoint(log.checkpoint(), LAB.state.log, now=NOW, skew_s=60) == found


def test_a_witness_that_never_answers_keeps_nobody_from_publishing(witnesses: dict[str, Here], tmp_path: Path) -> None:
    hangs = threading.Event()

    class Hangs(Here):
        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            hangs.wait(60)
            return super().add_checkpoint(request)

    try:
        found = publish(grown(5), {**witnesses, "south": Hangs(LAB, "south", tmp_path / "hangs")})
        assert sorted(found.cosigners) == ["east", "north"]  # type: ignore[attr-defined]
    finally:
        hangs.set()


def test_an_empty_log_is_not_published(witnesses: dict[str, Here]) -> None:
    assert publish(LogInMemory(), witnesses) is None


def test_what_the_log_signed_is_kept_before_anybody_sees_it(witnesses: dict[str, Here], tmp_path: Path) -> None:
    class Looks(Here):
        """Says what the log had kept when it was asked."""

        log: LogInMemory
        asked = 0

        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            self.asked += 1
            assert self.log.note("signed") == notes.render(request.note)
            return super().add_checkpoint(request)

    looks = Looks(LAB, "east", tmp_path / "looks")
    for start in (0, 10):
        looks.log = grown(2, start, looks.log if start else None)
        publish(looks.log, {**witnesses, "east": looks})
    assert looks.asked >= 2


def test_a_log_that_cannot_keep_what_it_signed_shows_it_to_nobody(witnesses: dict[str, Here], tmp_path: Path) -> None:
    class Full(LogInMemory):
        """Keeps no `signed`."""

        def swap(self, which: Literal["checkpoint", "signed"], old: bytes | None, new: bytes) -> None:
            if which == "signed":
                raise OSError(28, "No space left on device")
            super().swap(which, old, new)

    full = Full()
    with pytest.raises(OSError, match="No space"):
        publish(grown(3, log=full), witnesses)
    assert [witness.newest(LAB.state.log.origin) for witness in witnesses.values()] == [None] * 3
    with pytest.raises(Unavailable):
        full.checkpoint()


def test_a_log_signs_no_second_tree_of_one_size(witnesses: dict[str, Here]) -> None:
    log = grown(3)
    for witness in witnesses.values():
        witness.up = False
    with pytest.raises(Refused, match="checkpoint-quorum"):
        publish(log, witnesses)
    restored = grown(3, 100)  # other entries, as after a restore; what was signed is still there
    restored.swap("signed", None, log.note("signed") or b"")
    for witness in witnesses.values():
        witness.up = True
    with pytest.raises(Tampered, match="checkpoint-fork"):
        publish(restored, witnesses)
    assert [witness.newest(LAB.state.log.origin) for witness in witnesses.values()] == [None] * 3


@pytest.mark.parametrize("which", ["signed", "checkpoint"])
def test_a_process_that_another_overtakes_sees_a_conflict_and_no_step_back(
    witnesses: dict[str, Here], which: Literal["checkpoint", "signed"]
) -> None:
    class Overtaken(LogInMemory):
        """While this process publishes what it read, another one appends, and publishes more."""

        def settle(self) -> Frontier:
            tree = super().settle()
            if tree.size == 3:
                grown(1, start=3, log=self)
                larger = super().settle()
                note = sign_checkpoint(Checkpoint(LAB.state.log.origin, larger.size, larger.root), LAB.log_key)
                self.swap(which, self.note(which), notes.render(note))
            return tree

    log = grown(2, log=Overtaken())
    publish(log, witnesses)
    grown(1, start=2, log=log)
    with pytest.raises(Conflict, match="checkpoint-changed"):
        publish(log, witnesses)
    assert publish(log, witnesses).checkpoint.size == 4  # type: ignore[attr-defined]


def test_a_process_whose_witnesses_went_on_with_another_sees_a_conflict_and_no_missing_quorum(
    witnesses: dict[str, Here], tmp_path: Path
) -> None:
    class GoneOn(Here):
        """Before it answers this process, another one has published more."""

        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            if log.settle().size == 2:
                publish(grown(1, start=2, log=log), witnesses)
            return super().add_checkpoint(request)

    log = grown(2)
    gone = GoneOn(LAB, "east", tmp_path / "gone")
    only = replace(LAB.state.log, witnesses=tuple(w for w in LAB.state.log.witnesses if w.name == "east"))

    def publish_alone() -> None:
        publish_checkpoint(
            log,
            keys=(LAB.log_key,),
            log=only,
            earlier=(),
            witnesses=WitnessesAtOnce({"east": gone}),
            now=NOW,
            skew_s=60,
        )

    witnesses["east"] = gone
    with pytest.raises(Conflict, match="checkpoint-changed"):
        publish_alone()
    gone.up = False
    grown(1, start=3, log=log)
    with pytest.raises(Refused, match="checkpoint-quorum"):
        publish_alone()


def test_too_few_cosignatures_leave_the_published_checkpoint_as_it_is(witnesses: dict[str, Here]) -> None:
    log = grown(3)
    publish(log, witnesses)
    before = log.checkpoint()
    grown(1, 10, log)
    witnesses["north"].up = witnesses["south"].up = False
    with pytest.raises(Refused, match="checkpoint-quorum"):
        publish(log, witnesses)
    assert log.checkpoint() == before
    witnesses["north"].up = True
    assert publish(log, witnesses).checkpoint.size == 4  # type: ignore[attr-defined]


def test_an_idle_log_gets_newer_cosignatures_and_keeps_those_of_a_witness_that_is_away(
    witnesses: dict[str, Here],
) -> None:
    log = grown(3)
    publish(log, witnesses)
    for witness in witnesses.values():
        witness.time = NOW + 100
    witnesses["south"].up = False
    again = publish(log, witnesses, NOW + 100)
    assert (again.checkpoint.size, again.cosigned_at) == (3, NOW + 100)  # type: ignore[attr-defined]
    assert again.cosigners == {"east", "north", "south"}  # type: ignore[attr-defined]


def test_a_cosignature_by_another_key_is_left_out_and_harms_nothing(
    witnesses: dict[str, Here], tmp_path: object
) -> None:
    class Forger(Here):
        """Signs with its own key under the honest witness's key id."""

        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            made = super().add_checkpoint(request)
            assert not isinstance(made, int)
            honest = witnesses["south"].add_checkpoint(request)
            assert not isinstance(honest, int)
            return (NoteSignature("south", honest[0].key_id, made[0].signature), *made)

    forger = Forger(LAB, "south", tmp_path / "forger", make_key("forger"))  # type: ignore[operator]
    log = grown(3)
    found = publish(log, {**witnesses, "south": forger})
    assert found.cosigners == {"east", "north"}  # type: ignore[attr-defined]


def test_a_fork_of_the_log_gets_no_quorum(witnesses: dict[str, Here]) -> None:
    publish(grown(5), witnesses)
    fork = grown(9, start=100)
    with pytest.raises(Tampered):
        publish(fork, witnesses)
    with pytest.raises(Unavailable):
        fork.checkpoint()


def test_a_log_that_went_back_is_told_so_and_takes_nothing_more(witnesses: dict[str, Here]) -> None:
    publish(grown(5), witnesses)
    back = grown(3)
    with pytest.raises(Refused, match="log-behind-witnesses"):
        confirm_with_witnesses(back, log=LAB.state.log, witnesses=WitnessesAtOnce(witnesses))
    with pytest.raises(Refused, match="log-behind-witnesses"):
        grown(1, 50, back)
    ahead = grown(6)
    confirm_with_witnesses(ahead, log=LAB.state.log, witnesses=WitnessesAtOnce(witnesses))
    grown(1, 50, ahead)


def test_publishing_finds_out_by_itself_that_the_log_is_behind(witnesses: dict[str, Here]) -> None:
    publish(grown(5), witnesses)
    back = grown(3)
    with pytest.raises((Refused, Tampered)):
        publish(back, witnesses)
    with pytest.raises(Refused, match="log-behind-witnesses"):
        grown(1, 50, back)


def test_one_lying_witness_stops_no_log(witnesses: dict[str, Here]) -> None:
    """Its word that it has seen more, under a tree that the log never signed, would end all appends if it were taken."""
    log = grown(3)
    publish(log, witnesses)

    class Lies(Here):
        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            return 99

        def newest(self, origin: str) -> bytes | None:
            lie = sign_checkpoint(Checkpoint(origin, 99, b"\x07" * 32), make_key("no key of this log"))
            return notes.render(lie)

    witnesses["east"].__class__ = Lies
    grown(1, 10, log)
    assert publish(log, witnesses) is not None, "the two others are a quorum"
    assert log.append(make_records(1, start=20)[0]) == 4


Lie = Callable[[AddCheckpoint], "tuple[NoteSignature, ...] | int"]


def _cosigned(request: AddCheckpoint, *times: int) -> tuple[NoteSignature, ...]:
    body = checkpoints.parse_body(request.note.text)
    return tuple(cosign(body, name="south", key=LAB.witness_keys["south"], at=at) for at in times)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda asked: 0, id="it knows nothing, each time"),
        pytest.param(lambda asked: asked.old_size + 1, id="another size each time"),
        pytest.param(lambda asked: 2**53 - 1, id="the largest size there is"),
        pytest.param(lambda asked: _cosigned(asked, 2**63 - 1), id="the end of time"),
        pytest.param(lambda asked: _cosigned(asked, 1), id="a time long ago"),
        pytest.param(lambda asked: _cosigned(asked, *range(NOW, NOW + 200)), id="200 good cosignatures"),
        pytest.param(lambda asked: asked.note.signatures * 2, id="the log's own signature, twice"),
        pytest.param(lambda asked: (), id="nothing"),
    ],
)
def test_whatever_one_witness_answers_the_others_are_published_in_time(
    witnesses: dict[str, Here], tmp_path: Path, lie: Lie
) -> None:
    class Lies(Here):
        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            return lie(request)

    log = LogInMemory()
    among = {**witnesses, "south": Lies(LAB, "south", tmp_path / "lies")}
    for start in range(0, 30, 10):
        found = publish(grown(10, start, log), among)
        assert found.checkpoint.size == start + 10  # type: ignore[attr-defined]
        assert {"east", "north"} <= set(found.cosigners)  # type: ignore[attr-defined]
        assert found.cosigned_at == NOW  # type: ignore[attr-defined]
        assert verify_checkpoint(log.checkpoint(), LAB.state.log, now=NOW, skew_s=60) == found


def test_standing_needs_answers_of_a_quorum(witnesses: dict[str, Here]) -> None:
    log = grown(3)
    witnesses["east"].up = False
    confirm_with_witnesses(log, log=LAB.state.log, witnesses=WitnessesAtOnce(witnesses))
    witnesses["north"].up = False
    with pytest.raises(Unavailable, match="witness-quorum"):
        confirm_with_witnesses(log, log=LAB.state.log, witnesses=WitnessesAtOnce(witnesses))
    with pytest.raises(Unavailable, match="witness-quorum"):
        confirm_with_witnesses(log, log=LAB.state.log, witnesses=WitnessesAtOnce({}))


def test_a_log_key_that_targets_do_not_name_publishes_nothing(witnesses: dict[str, Here]) -> None:
    log = grown(3)
    with pytest.raises(Unavailable, match="log-key-missing"):
        publish_checkpoint(
            log,
            keys=(make_key("other log"),),
            log=LAB.state.log,
            earlier=(),
            witnesses=WitnessesAtOnce(witnesses),
            now=NOW,
            skew_s=60,
        )
    assert log.note("signed") is None


def defined(*names: str, key: SoftwareKey = LAB.log_key) -> Log:
    return replace(
        LAB.state.log,
        key=key.public,
        witnesses=tuple(Witness(name, make_key(f"acme.example witness {name}").public, f"op-{name}") for name in names),
    )


def test_earlier_witnesses_cosign_as_well_and_one_that_hangs_delays_nothing_for_long(tmp_path: Path) -> None:
    class Hangs(Here):
        """Answers when the test is over."""

        over = threading.Event()

        def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...] | int:
            self.over.wait(60)
            return super().add_checkpoint(request)

    names = ("north", "retired", "south")
    here = {name: Here(LAB, name, tmp_path, make_key(f"acme.example witness {name}")) for name in names}
    log, old, new = grown(3), defined("north", "retired"), defined("south")
    words = {"keys": (LAB.log_key,), "log": new, "earlier": (old,), "now": NOW, "skew_s": 60}
    found = publish_checkpoint(log, witnesses=WitnessesAtOnce(here), **words)  # type: ignore[arg-type]
    assert found is not None
    for one in (old, new):
        verify_checkpoint(found.note, one, now=NOW, skew_s=60)
    grown(1, 10, log)
    hangs = Hangs(LAB, "retired", tmp_path / "other", make_key("acme.example witness retired"))
    try:
        found = publish_checkpoint(log, witnesses=WitnessesAtOnce({**here, "retired": hangs}), **words)  # type: ignore[arg-type]
    finally:
        Hangs.over.set()
    assert found is not None
    assert (found.checkpoint.size, found.cosigners) == (4, {"south"})
    with pytest.raises(Refused, match="checkpoint-quorum"):
        verify_checkpoint(found.note, old, now=NOW, skew_s=60)


def test_both_keys_of_the_log_sign_while_both_are_there(tmp_path: Path) -> None:
    new_key = make_key("the log's next key")
    old, new = defined("north"), defined("north", key=new_key)
    north = {"north": Here(LAB, "north", tmp_path)}  # it believes the old key
    log = grown(3)
    for keys, earlier in (((LAB.log_key, new_key), (old,)), ((new_key, LAB.log_key), (old,))):
        found = publish_checkpoint(
            log, keys=keys, log=new, earlier=earlier, witnesses=WitnessesAtOnce(north), now=NOW, skew_s=60
        )
        assert found is not None
        for one in (old, new):
            verify_checkpoint(found.note, one, now=NOW, skew_s=60)
    confirm_with_witnesses(log, log=new, earlier=(old,), witnesses=WitnessesAtOnce(north))
    grown(1, 10, log)
    with pytest.raises(Refused, match="checkpoint-quorum"):  # and does not believe the new one alone
        publish_checkpoint(
            log, keys=(new_key,), log=new, earlier=(old,), witnesses=WitnessesAtOnce(north), now=NOW, skew_s=60
        )


def test_new_witnesses_who_know_nothing_do_not_vouch_for_a_restored_log(
    witnesses: dict[str, Here], tmp_path: Path
) -> None:
    publish(grown(5), witnesses)
    new, old = defined("fresh"), LAB.state.log
    everybody = {**witnesses, "fresh": Here(LAB, "fresh", tmp_path, make_key("acme.example witness fresh"))}
    with pytest.raises(Refused, match="log-behind-witnesses"):
        confirm_with_witnesses(grown(3), log=new, earlier=(old,), witnesses=WitnessesAtOnce(everybody))
    confirm_with_witnesses(grown(6), log=new, earlier=(old,), witnesses=WitnessesAtOnce(everybody))
    for witness in witnesses.values():
        witness.up = False
    with pytest.raises(Unavailable, match="witness-quorum"):
        confirm_with_witnesses(grown(6), log=new, earlier=(old,), witnesses=WitnessesAtOnce(everybody))


def test_cosignatures_that_do_not_fit_into_a_note_are_the_earliest_ones(tmp_path: Path) -> None:
    names = [f"w{number:02}" for number in range(80)]
    here = {name: Here(LAB, name, tmp_path, make_key(f"acme.example witness {name}")) for name in names}
    old, new = defined(*names[:40]), defined(*names[40:])
    found = publish_checkpoint(
        grown(3), keys=(LAB.log_key,), log=new, earlier=(old,), witnesses=WitnessesAtOnce(here), now=NOW, skew_s=60
    )
    assert found is not None
    assert found.cosigners == frozenset(names[40:])
    assert len(notes.parse(found.note).signatures) == notes.SIGNATURES_MAX
