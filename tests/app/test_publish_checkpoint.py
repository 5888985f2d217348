"""Publishing under witnesses: real witnesses and a real log, in memory."""

from __future__ import annotations

import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.witness_files import WitnessFiles
from keyturn.app.cosign_checkpoint import Witnessing, cosign_checkpoint
from keyturn.app.publish_checkpoint import confirm_standing, publish_checkpoint
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import add_checkpoint
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.note import NoteSignature
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.tlog.witness import Refusal
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
        log, keys=(LAB.log_key,), log=LAB.state.log, earlier=(), cosigners=witnesses, now=now, skew_s=60
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


def test_an_empty_log_is_not_published(witnesses: dict[str, Here]) -> None:
    assert publish(LogInMemory(), witnesses) is None


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
        confirm_standing(back, log=LAB.state.log, cosigners=witnesses)
    with pytest.raises(Refused, match="log-behind-witnesses"):
        grown(1, 50, back)
    ahead = grown(6)
    confirm_standing(ahead, log=LAB.state.log, cosigners=witnesses)
    grown(1, 50, ahead)


def test_publishing_finds_out_by_itself_that_the_log_is_behind(witnesses: dict[str, Here]) -> None:
    publish(grown(5), witnesses)
    back = grown(3)
    with pytest.raises((Refused, Tampered)):
        publish(back, witnesses)
    with pytest.raises(Refused, match="log-behind-witnesses"):
        grown(1, 50, back)


def test_standing_needs_answers_of_a_quorum(witnesses: dict[str, Here]) -> None:
    log = grown(3)
    witnesses["east"].up = False
    confirm_standing(log, log=LAB.state.log, cosigners=witnesses)
    witnesses["north"].up = False
    with pytest.raises(Unavailable, match="witness-quorum"):
        confirm_standing(log, log=LAB.state.log, cosigners=witnesses)
    with pytest.raises(Unavailable, match="witness-quorum"):
        confirm_standing(log, log=LAB.state.log, cosigners={})


def test_a_log_key_that_targets_do_not_name_publishes_nothing(witnesses: dict[str, Here]) -> None:
    log = grown(3)
    with pytest.raises(Unavailable, match="log-key-missing"):
        publish_checkpoint(
            log,
            keys=(make_key("other log"),),
            log=LAB.state.log,
            earlier=(),
            cosigners=witnesses,
            now=NOW,
            skew_s=60,
        )
    assert log.note("signed") is None
