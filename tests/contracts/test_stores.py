"""What every store promises, whichever way it keeps things: trust, keys, cosigned checkpoints, and the journals of gates.

A port with one adapter has one row; the next adapter adds its row here, and no test.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.adapters.files.key_files import KeyFiles, KeysInTheEnd
from keyturn.adapters.files.release_journal import ReleaseJournalFiles
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.files.witness_files import WitnessFiles
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage
from keyturn.formats import checkpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import Sha256, sha256
from keyturn.ports import BreakGlassJournal, CosignStore, KeyStore, ReleaseJournal, TrustStore
from support.releases import JournalInMemory

ORIGIN = "log.acme.example"
REQUEST = Sha256("1" * 64)


@pytest.fixture(params=["on disk"])
def trust(tmp_path: Path) -> TrustStore:
    return TrustOnDisk(tmp_path / "trust")


@pytest.fixture(params=["in files", "in encrypted files", "in files in the end"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> KeyStore:
    files = KeyFiles(
        lambda name: tmp_path / "keys" / name, passphrase=b"of three words" if "encrypted" in request.param else None
    )
    return KeysInTheEnd(files) if "in the end" in request.param else files


@pytest.fixture(params=["in files"])
def cosigned(tmp_path: Path) -> CosignStore:
    return WitnessFiles(tmp_path / "witness")


@pytest.fixture(params=["in files", "in memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> ReleaseJournal:
    return JournalInMemory() if request.param == "in memory" else ReleaseJournalFiles(tmp_path / "state")


def won(act: Callable[[int], object], of: int = 16) -> int:
    """How many of `of` threads that do the same at once were not told `Conflict`."""

    def attempt(number: int) -> bool:
        try:
            act(number)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(of) as pool:
        return sum(pool.map(attempt, range(of)))


def note_of(size: int, filler: int = 0) -> bytes:
    return checkpoint.render_body(Checkpoint(ORIGIN, size, bytes([filler]) * 32)) + f"\n— {ORIGIN} AAAAAAAA\n".encode()


# --- TrustStore ---------------------------------------------------------------------------------------------------------


def test_a_new_store_of_trust_holds_nothing(trust: TrustStore) -> None:
    assert list(trust.versions()) == list(trust.staged()) == []
    assert dict(trust.draft()) == {}
    assert trust.read_file("root.json") is None


def test_versions_are_published_in_order_and_once(trust: TrustStore) -> None:
    trust.add_version(1, b"one")
    trust.add_version(2, b"two")
    trust.add_version(1, b"one")  # the same again is done
    for number, container in ((1, b"another"), (2, b"another"), (4, b"four")):
        with pytest.raises(Conflict):
            trust.add_version(number, container)
    assert list(trust.versions()) == [b"one", b"two"]


def test_of_many_who_publish_one_number_one_does(trust: TrustStore) -> None:
    assert won(lambda n: trust.add_version(1, b"version %d" % n)) == 1
    assert len(trust.versions()) == 1


def test_what_is_staged_is_swapped_only_by_whoever_saw_it(trust: TrustStore) -> None:
    trust.swap_staged((), (b"a", b"b"))
    with pytest.raises(Conflict):
        trust.swap_staged((), (b"c",))
    assert list(trust.staged()) == [b"a", b"b"]
    trust.swap_staged((b"a", b"b"), ())
    assert list(trust.staged()) == []
    assert won(lambda n: trust.swap_staged((), (b"%d" % n,))) == 1


def test_a_draft_says_exactly_what_was_written(trust: TrustStore) -> None:
    first = {"root.toml": b"1", "policy/a.cedar": b"2", "roster.toml": b"3"}
    second = {"root.toml": b"4", "policy/b.cedar": b"5"}
    trust.swap_draft({}, first)
    with pytest.raises(Conflict):
        trust.swap_draft({}, second)
    assert dict(trust.draft()) == first
    trust.swap_draft(first, second)
    assert dict(trust.draft()) == second
    with pytest.raises(Malformed):
        trust.swap_draft(second, {"passwd": b"no file of a draft"})
    assert won(lambda n: trust.swap_draft(second, {"root.toml": b"%d" % n})) == 1


@pytest.mark.parametrize("path", ["../escaped", "/etc/passwd", "metadata/../../x", "", "a\x1bb"])
def test_no_path_leaves_the_store(trust: TrustStore, path: str) -> None:
    with pytest.raises(Malformed):
        trust.write_file(path, b"x")
    with pytest.raises(Malformed):
        trust.read_file(path)


def test_an_invitation_is_found_by_its_own_digest_alone(trust: TrustStore) -> None:
    trust.add_invitation(b"come in")
    assert trust.invitation(sha256(b"come in")) == b"come in"
    with pytest.raises(Refused):
        trust.invitation(sha256(b"another"))


def test_an_invitation_that_was_withdrawn_is_none(trust: TrustStore) -> None:
    for raw in (b"come in", b"you too"):
        trust.add_invitation(raw)
    for _ in range(2):
        trust.withdraw_invitation(sha256(b"come in"))
        assert list(trust.invitations()) == [b"you too"]
    with pytest.raises(Refused):
        trust.invitation(sha256(b"come in"))


# --- KeyStore -----------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_read_as_it_was_made(keys: KeyStore) -> None:
    made = keys.create("member")
    assert keys.read("member").public == made.public
    with pytest.raises(Refused) as caught:
        keys.create("member")
    assert caught.value.code == "key-exists"
    assert keys.read("member").public == made.public
    with pytest.raises(Usage, match="key-missing"):
        keys.read("trust")


# --- CosignStore --------------------------------------------------------------------------------------------------------


def test_a_witness_never_forgets_and_never_goes_back(cosigned: CosignStore) -> None:
    assert cosigned.read(ORIGIN) is None
    cosigned.swap(ORIGIN, None, note_of(7))
    for old, new in (
        (None, note_of(9)),
        (note_of(8), note_of(9)),
        (note_of(7), note_of(6)),
        (note_of(7), note_of(7, 1)),
    ):
        with pytest.raises((Conflict, Tampered)):
            cosigned.swap(ORIGIN, old, new)
        assert cosigned.read(ORIGIN) == note_of(7)
    cosigned.swap(ORIGIN, note_of(7), note_of(9))
    assert cosigned.read(ORIGIN) == note_of(9)
    assert cosigned.read("other.example") is None


def test_of_many_who_move_one_witness_one_does(cosigned: CosignStore) -> None:
    assert won(lambda n: cosigned.swap(ORIGIN, None, note_of(n + 1))) == 1


# --- ReleaseJournal -----------------------------------------------------------------------------------------------------


def test_a_gate_remembers_one_use_and_one_pack_for_each_request(journal: ReleaseJournal) -> None:
    assert journal.use(REQUEST) is None
    assert journal.pack(REQUEST) is None
    for keep, known in ((journal.keep_use, journal.use), (journal.keep_pack, journal.pack)):
        keep(REQUEST, b"first")
        keep(REQUEST, b"first")
        with pytest.raises(KeyturnError):
            keep(REQUEST, b"second")
        assert known(REQUEST) == b"first"
        assert known(Sha256("2" * 64)) is None


def test_of_many_uses_of_one_request_one_is_kept(journal: ReleaseJournal) -> None:
    assert won(lambda n: journal.keep_use(REQUEST, b"use %d" % n)) == 1


@pytest.fixture(params=["in files"])
def broken(tmp_path: Path) -> BreakGlassJournal:
    return BreakGlassJournalFiles(tmp_path / "broken")


def test_what_a_gate_opened_is_kept_until_it_is_forgotten(broken: BreakGlassJournal) -> None:
    assert list(broken.entries()) == []
    broken.keep(Sha256("f" * 64), (b"request", b"approval", b"use"))
    broken.keep(Sha256("0" * 64), (b"request", b"use"))
    broken.keep(Sha256("0" * 64), (b"request", b"use"))
    assert list(broken.entries()) == [(b"request", b"approval", b"use"), (b"request", b"use")], "the oldest first"
    broken.forget(Sha256("f" * 64))
    broken.forget(Sha256("f" * 64))
    assert list(broken.entries()) == [(b"request", b"use")]


def test_a_record_that_would_read_as_two_is_not_kept(broken: BreakGlassJournal) -> None:
    with pytest.raises(Malformed, match="record-line-break"):
        broken.keep(Sha256("f" * 64), (b"one\ntwo",))
    assert list(broken.entries()) == []


def test_a_journal_that_cannot_be_written_or_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    journal = BreakGlassJournalFiles(tmp_path / "state")
    for call in (lambda: journal.keep(Sha256("f" * 64), (b"use",)), lambda: journal.forget(Sha256("f" * 64))):
        with pytest.raises(Unavailable, match="journal-unwritable"):
            call()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / f"{'f' * 64}.break-glass").mkdir()
    with pytest.raises(Unavailable, match="journal-unreadable"):
        BreakGlassJournalFiles(tmp_path / "other").entries()
