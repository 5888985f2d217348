"""Cut the power at every operation on the disk, then look: nothing acknowledged is lost, nothing half done is visible."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.pack import START, batches_from, pack_path, verify_packs
from keyturn.adapters.log_on_disk.tile_writer import TileWriter
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import leaf as leaf_format
from keyturn.formats import note as notes
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.log_records import make_records
from support.power import Power
from support.processes import wait_for

RECORDS = make_records(7)
PACK_OF_TWO = 1600
"""Bytes after which a pack is full: more than one of RECORDS makes, and less than two."""


def note_of(frontier: Frontier) -> bytes:
    body = checkpoints.render_body(Checkpoint("log.acme.example", frontier.size, frontier.root))
    return body + b"\n" + "— log.acme.example AAAAAAAA\n".encode()


def run(log: object, acknowledged: list[bytes], signed: list[int]) -> None:
    """Append, settle and sign, noting what was acknowledged."""
    written: list[bytes | None] = [None]
    for number, record in enumerate(RECORDS):
        assert log.append(record) == number  # type: ignore[attr-defined]
        acknowledged.append(record)
        if number % 3 == 1:
            note = note_of(log.settle())  # type: ignore[attr-defined]
            log.swap("signed", written[-1], note)  # type: ignore[attr-defined]
            signed.append(number + 1)
            written.append(note)


def check(log: object, acknowledged: list[bytes], signed: int = 0) -> None:
    """All of `acknowledged` is there, and a signed note of at least `signed` entries: no other tree of that size is signed."""
    note = log.note("signed")  # type: ignore[attr-defined]
    assert signed <= (0 if note is None else checkpoints.parse_body(notes.parse(note).text).size)
    frontier = log.settle()  # type: ignore[attr-defined]
    assert frontier.size >= len(acknowledged)
    leaves = log.leaves(0, frontier.size)  # type: ignore[attr-defined]
    assert Frontier.empty().extend(leaves) == frontier
    assert merkle.root_at(frontier.size, log.hashes) == frontier.root  # type: ignore[attr-defined]
    for record, leaf in zip(acknowledged, leaves, strict=False):
        assert leaf == leaf_format.render(leaf_of(record))
        assert log.envelope(sha256(record)) == record  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("part", "survives"),
    [
        pytest.param(0.02, "all", id="a write ends within its header"),
        pytest.param(0.999, "all", id="a write lacks its last bytes"),
        pytest.param(1.0, "nothing", id="a write is done, and the power takes it back"),
        pytest.param(0.6, "zeros", id="a write grew the file, and left zeros"),
    ],
)
def test_whatever_was_acknowledged_survives_a_crash_at_any_operation(
    open_log: Callable, failing_disk: Callable, tmp_path: Path, part: float, survives: str
) -> None:
    fail_at = 0
    finished = False
    while not finished:
        fail_at += 1
        for leftover in sorted(tmp_path.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        acknowledged: list[bytes] = []
        signed: list[int] = []
        disk = failing_disk(fail_at=fail_at, part=part, survives=survives)
        try:
            with open_log(disk=disk, pack_bytes_max=3000) as log:
                run(log, acknowledged, signed)
            finished = True
        except (KeyturnError, OSError):
            assert disk.failed
        with open_log(pack_bytes_max=3000) as log:
            check(log, acknowledged, max(signed, default=0))
            log.confirm(0, merkle.EMPTY_ROOT)
            for record in RECORDS:
                log.append(record)
            check(log, [*RECORDS])
    assert fail_at > 30


def test_a_write_cut_at_any_byte_is_cut_off_and_nothing_else_is(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:3]:
            log.append(record)
        note = note_of(log.settle())
        log.swap("signed", None, note)
        log.append(RECORDS[3])
    pack = pack_path(tmp_path / "log", 0)
    whole = pack.read_bytes()
    ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
    for cut in range(ends[2], ends[3], 7):
        for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
            leftover.unlink()
        pack.write_bytes(whole[:cut])
        with open_log() as log:
            assert log.size == 3
            with pytest.raises(Unavailable, match="log-unconfirmed"):
                log.append(RECORDS[4])
            log.confirm(0, merkle.EMPTY_ROOT)
            assert log.append(RECORDS[4]) == 3
        pack.write_bytes(whole)


def test_a_batch_broken_below_the_newest_checkpoint_is_tampering_and_stays_as_it_is(
    open_log: Callable, tmp_path: Path
) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.swap("signed", None, note_of(log.settle()))
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    pack = pack_path(tmp_path / "log", 0)
    torn = pack.read_bytes()[:-5]
    pack.write_bytes(torn)
    with pytest.raises(Tampered, match="log-behind-checkpoint"), open_log():
        pass
    assert pack.read_bytes() == torn


def test_a_broken_batch_with_an_intact_one_after_it_is_tampering(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    pack = pack_path(tmp_path / "log", 0)
    whole = pack.read_bytes()
    ends = [0, *(tail.offset for _, tail in batches_from(tmp_path / "log", START))]
    for start in ends[:3]:
        for flipped in (start, start + 9, start + 40, start + 300):
            broken = bytearray(whole)
            broken[flipped] ^= 1
            pack.write_bytes(broken)
            with pytest.raises(Tampered), open_log():
                pass
            assert pack.read_bytes() == bytes(broken)


def test_a_batch_taken_out_of_the_middle_is_tampering(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    pack = pack_path(tmp_path / "log", 0)
    whole = pack.read_bytes()
    ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
    pack.write_bytes(whole[: ends[0]] + whole[ends[1] :])
    with pytest.raises(Tampered, match="log-batch-order"), open_log():
        pass


def test_a_log_that_lost_its_last_batches_after_they_were_derived_is_tampering(
    open_log: Callable, tmp_path: Path
) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.settle()
    pack = pack_path(tmp_path / "log", 0)
    ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
    pack.write_bytes(pack.read_bytes()[: ends[1]])
    with pytest.raises(Tampered, match="log-goes-back"), open_log():
        pass


def test_a_log_that_is_another_tree_than_the_one_it_signed_is_a_fork(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.swap("signed", None, note_of(Frontier.empty().extend([b"other"] * 3)))
    with pytest.raises(Tampered, match="checkpoint-fork"), open_log():
        pass


def test_torn_tiles_are_derived_again(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.settle()
    for torn in (
        tmp_path / "log" / "tile" / "0" / "000.p" / "4",
        tmp_path / "log" / "tile" / "entries" / "000.p" / "4",
    ):
        torn.write_bytes(torn.read_bytes()[:-7])
        with open_log() as log:
            check(log, list(RECORDS[:4]))


def test_what_was_derived_outlives_a_loss_of_power(open_log: Callable, power: Power, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.settle()
        served = {place: place.read_bytes() for place in (tmp_path / "log" / "tile").rglob("4")}
        power.cut()
    assert len(served) == 2
    assert {place: place.read_bytes() for place in (tmp_path / "log" / "tile").rglob("4")} == served


def test_a_failed_write_is_undone_and_the_log_goes_on(open_log: Callable, failing_disk: Callable) -> None:
    class FullOnce:
        """A disk that is full at one append, and then has room again."""

        def __init__(self) -> None:
            self._disk = failing_disk(fail_at=10**9)
            self.full = False

        def append(self, fd: int, raw: bytes, *, at: int) -> None:
            if self.full:
                self.full = False
                self._disk.append(fd, raw[:100], at=at)
                raise OSError(28, "No space left on device")
            self._disk.append(fd, raw, at=at)

        def __getattr__(self, name: str) -> object:
            return getattr(self._disk, name)

    disk = FullOnce()
    with open_log(disk=disk) as log:
        log.append(RECORDS[0])
        disk.full = True
        with pytest.raises(Unavailable, match="log-disk"):
            log.append(RECORDS[1])
        assert log.append(RECORDS[2]) == 1
        assert log.append(RECORDS[1]) == 2
        check(log, [RECORDS[0], RECORDS[2], RECORDS[1]])


class PassingError:
    """A disk on which what is derived cannot be written or synced from the `after`-th operation on, until `well`."""

    def __init__(self, after: int) -> None:
        self._disk = PosixDisk()
        self._left = after
        self.well = True

    def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
        self._step()
        self._disk.replace(path, raw, durable=durable)

    def sync(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if "/tile" in str(path):
            try:
                self._step()
            except OSError:
                if path.is_file():
                    os.truncate(path, 0)  # the kernel dropped what it could not write, and will call it clean
                raise
        self._disk.sync(fd)

    def _step(self) -> None:
        if not self.well:
            self._left -= 1
            if self._left <= 0:
                raise OSError(28, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)


@pytest.mark.parametrize("after", range(1, 8))
def test_a_passing_error_of_the_disk_holds_appends_up_and_ends_nothing(open_log: Callable, after: int) -> None:
    disk = PassingError(after)
    with open_log(disk=disk) as log:
        log.append(RECORDS[0])
        log.settle()
        log.append(RECORDS[1])
        disk.well = False
        log._settle_or_wait()
        with pytest.raises(Unavailable, match="log-not-settled"):
            log.append(RECORDS[2])
        assert log.envelope(sha256(RECORDS[0])) == RECORDS[0], "readers go on"
        disk.well = True
        log._settle_or_wait()
        check(log, [*RECORDS[:2]])
        assert log.append(RECORDS[2]) == 2
        check(log, [*RECORDS[:3]])
    with open_log() as log:
        check(log, [*RECORDS[:3]])


def test_a_log_goes_on_by_itself_when_its_disk_is_well_again(open_log: Callable) -> None:
    disk = PassingError(1)
    with open_log(disk=disk) as log:
        disk.well = False
        log.append(RECORDS[0])
        wait_for("the log to find out", lambda: log._unsettled)
        disk.well = True
        wait_for("the log to go on", lambda: log._unsettled is None or None)
        assert log.append(RECORDS[1]) == 1


def test_a_contradiction_of_packs_and_tiles_is_no_passing_error(
    open_log: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log() as log:
        log.append(RECORDS[0])
        with monkeypatch.context() as patch:
            patch.setattr(TileWriter, "settle", _contradicted)
            log._settle_or_wait()
        log._settle_or_wait()
        with pytest.raises(Tampered, match="log-batch-tree"):
            log.append(RECORDS[1])


def _contradicted(_writer: TileWriter) -> None:
    raise Tampered("log-batch-tree", "the batches do not make the tree they say")


def test_a_published_log_takes_no_append_before_its_witnesses_were_asked(open_log: Callable) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        tree = log.settle()
        log.swap("checkpoint", None, note_of(tree))
    with open_log() as log:
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.append(RECORDS[5])
        log.confirm(tree.size, tree.root)
        assert log.append(RECORDS[5]) == 4


def test_a_log_behind_its_witnesses_refuses_to_write_for_good(open_log: Callable) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.confirm(9, bytes(32))
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.append(RECORDS[5])


def test_a_log_that_witnesses_know_as_another_tree_refuses_to_write(open_log: Callable) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        with pytest.raises(Tampered, match="log-fork"):
            log.confirm(3, bytes(32))
        with pytest.raises(Tampered, match="log-fork"):
            log.append(RECORDS[5])


def test_a_writer_beside_one_that_died_cuts_what_it_left_and_goes_on(open_log: Callable, tmp_path: Path) -> None:
    with open_log(pack_bytes_max=3000) as ours, open_log(pack_bytes_max=3000) as theirs:
        assert [ours.append(RECORDS[0]), theirs.append(RECORDS[1]), ours.append(RECORDS[2])] == [0, 1, 2]
        newest = max((tmp_path / "log" / "envelopes").glob("*.pack"))
        whole = newest.read_bytes()
        for left in (b"\xffKTBATC1", bytes(500), whole[-300:]):
            newest.write_bytes(newest.read_bytes() + left)
            assert theirs.append(RECORDS[0]) == 0
            assert newest.read_bytes() == whole
        assert [theirs.append(RECORDS[3]), ours.append(RECORDS[4]), ours.append(RECORDS[3])] == [3, 4, 3]
        check(theirs, [*RECORDS[:5]])


def test_a_log_cut_beside_a_running_writer_is_tampering_to_that_writer(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:3]:
            log.append(record)
        pack = pack_path(tmp_path / "log", 0)
        ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
        whole = pack.read_bytes()
        pack.write_bytes(whole[: ends[1]])
        with pytest.raises(Tampered, match="log-goes-back"):
            log.append(RECORDS[4])
        pack.write_bytes(whole)
        assert log.append(RECORDS[4]) == 3


class Beside:
    """A log with RECORDS[0] in it, beside another process that wrote RECORDS[1] to the same pack and died before its sync."""

    def __init__(
        self, open_log: Callable, failing_disk: Callable, pack: Path, stack: ExitStack, *, pack_bytes_max: int = 1 << 20
    ) -> None:
        self.ours = stack.enter_context(open_log(pack_bytes_max=pack_bytes_max))
        assert self.ours.append(RECORDS[0]) == 0
        self.ours.settle()
        disk = failing_disk(fail_at=10**9)
        theirs = stack.enter_context(open_log(disk=disk, pack_bytes_max=pack_bytes_max))
        theirs.settle()
        disk.fail_in(2)  # the append is done, and the sync is not
        self.synced = pack.read_bytes()
        with pytest.raises(Unavailable, match="log-disk"):
            theirs.append(RECORDS[1])
        assert disk.failed
        self.left = pack.read_bytes()[len(self.synced) :]
        assert len(self.synced) < PACK_OF_TWO <= len(self.synced + self.left)


@pytest.fixture
def make_beside(open_log: Callable, failing_disk: Callable, tmp_path: Path) -> Iterator[Callable[..., Beside]]:
    with ExitStack() as stack:
        yield partial(Beside, open_log, failing_disk, pack_path(tmp_path / "log", 0), stack)


@pytest.fixture
def beside(make_beside: Callable[..., Beside]) -> Beside:
    return make_beside()


def test_a_tree_is_signed_only_once_what_a_dead_writer_left_in_it_is_durable(
    open_log: Callable, beside: Beside, power: Power
) -> None:
    tree = beside.ours.settle()
    assert tree.size == 2
    beside.ours.swap("signed", None, note_of(tree))
    power.cut()
    with open_log() as log:
        check(log, [*RECORDS[:2]], 2)


def test_a_record_that_a_dead_writer_left_is_acknowledged_only_once_it_is_durable(
    open_log: Callable, beside: Beside, power: Power
) -> None:
    assert beside.ours.append(RECORDS[1]) == 1
    power.cut()
    with open_log() as log:
        check(log, [*RECORDS[:2]])


def test_a_pack_that_a_dead_writer_filled_is_durable_before_the_next_one_begins(
    open_log: Callable, make_beside: Callable[..., Beside], power: Power, tmp_path: Path
) -> None:
    assert make_beside(pack_bytes_max=PACK_OF_TWO).ours.append(RECORDS[2]) == 2
    power.cut()
    assert pack_path(tmp_path / "log", 2).exists()
    with open_log() as log:
        check(log, [*RECORDS[:3]])


def test_what_could_not_be_synced_is_never_derived_though_a_later_sync_says_it_was_done(
    open_log: Callable, beside: Beside, failing_disk: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(PosixDisk, "sync", lambda disk, fd: fail(fd))
        with pytest.raises(Unavailable, match="log-disk"):
            beside.ours.settle()
    with pytest.raises(Unavailable, match="log-disk"):
        beside.ours.settle()


def test_opening_writes_and_syncs_again_what_a_dead_writer_left_before_anything_is_derived_from_it(
    open_log: Callable, beside: Beside, power: Power
) -> None:
    class Told(PosixDisk):
        """Remembers what it was told to do."""

        def __init__(self) -> None:
            self.did: list[object] = []

        def append(self, fd: int, raw: bytes, *, at: int) -> None:
            self.did.append((at, raw))
            super().append(fd, raw, at=at)

        def sync(self, fd: int) -> None:
            self.did.append("sync")
            super().sync(fd)

        def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
            self.did.append("replace")
            super().replace(path, raw, durable=durable)

    disk = Told()
    with open_log(disk=disk) as log:
        # A kernel that failed to write may call the data clean: a sync alone would say that all is well.
        assert disk.did[:3] == [(len(beside.synced), beside.left), "sync", "replace"]
        log.swap("signed", None, note_of(log.settle()))
        power.cut()
    with open_log() as log:
        check(log, [*RECORDS[:2]], 2)


def test_a_broken_pack_with_later_packs_is_tampering_and_stays_as_it_is(open_log: Callable, tmp_path: Path) -> None:
    with open_log(pack_bytes_max=PACK_OF_TWO) as log:
        for record in RECORDS:
            log.append(record)
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    packs = sorted((tmp_path / "log" / "envelopes").iterdir())
    assert len(packs) > 2
    for pack in packs[:-1]:
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-5])
        with pytest.raises(Tampered, match="log-batch-altered"), open_log():
            pass
        with pytest.raises(Tampered, match="log-batch-altered"):
            verify_packs(tmp_path / "log", size_min=0)
        assert pack.read_bytes() == whole[:-5]
        pack.write_bytes(whole)
    verify_packs(tmp_path / "log", size_min=len(RECORDS))


@pytest.mark.parametrize(
    ("call", "before"),
    [
        pytest.param("open", 0, id="opening a file, while the log begins"),
        pytest.param("open", 3, id="opening a file, after another process appended"),
        pytest.param("fstat", 3, id="asking for a length, after another process appended"),
        pytest.param("pread", 3, id="reading, after another process appended"),
    ],
)
def test_a_machine_that_fails_at_the_nth_call_fails_who_waits_and_not_who_comes_later(
    open_log: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, before: int
) -> None:
    real = getattr(os, call)
    left = 0

    def failing(*words: Any, **named: Any) -> Any:
        nonlocal left
        if threading.current_thread().name == "log-commit":
            left -= 1
            if left == 0:
                raise OSError(24, "Too many open files")
        return real(*words, **named)

    fail_at, failed = 0, True
    while failed:
        fail_at += 1
        for leftover in sorted(tmp_path.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        with open_log(pack_bytes_max=PACK_OF_TWO) as ours:
            for record in RECORDS[: min(before, 1)]:
                ours.append(record)
            ours.settle()
            with open_log(pack_bytes_max=PACK_OF_TWO) as theirs:
                for record in RECORDS[1:before]:
                    theirs.append(record)
            left = fail_at
            with monkeypatch.context() as patch:
                patch.setattr(os, call, failing)
                said = ""
                try:
                    assert ours.append(RECORDS[before]) == before
                except Unavailable as err:
                    said = err.code
            failed = left <= 0
            assert said == ("log-disk" if failed else "")
            assert [ours.append(record) for record in RECORDS[before : before + 2]] == [before, before + 1]
            check(ours, [*RECORDS[: before + 2]])
    assert fail_at > 2
