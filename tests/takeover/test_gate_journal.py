"""Taken: the release gate's state directory (its journal), without its key. It stops what it lies about, and opens nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.app.custody.make_pack import make_pack
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.grants import bundle as bundles
from support.lying_log import serving_lies
from support.old_gate import approved
from support.taken_lab import TakenLab, code_of

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def journal(lab: TakenLab, asked: Envelope, kind: str) -> Path:
    return lab.lab / "gates" / "release" / "state" / f"{asked.record_digest}.{kind}"


@pytest.mark.parametrize(
    ("write", "code"),
    [
        pytest.param(shutil.copy, "journal-other-pack", id="the pack of another release"),
        pytest.param(lambda old, new: new.write_bytes(b""), "pack-magic", id="an empty file"),
        pytest.param(lambda old, new: new.write_bytes(old.read_bytes()[:-1]), "pack-truncated", id="a part of a pack"),
        pytest.param(lambda old, new: new.mkdir(), "journal-unreadable", id="a directory"),
    ],
)
def test_what_somebody_wrote_into_the_journal_is_not_handed_out(
    lab: TakenLab, write: Callable[[Path, Path], object], code: str
) -> None:
    done, given = approved(lab)
    lab.release(done, *given)
    asked, alone = lab.ask(), lab.ask()
    for one in (asked, alone):
        write(journal(lab, done, "pack"), journal(lab, one, "pack"))
    assert code_of(lambda: lab.release(asked)) == {code}
    fresh, theirs = approved(lab)
    assert lab.judged(lab.release(fresh, *theirs)) == set()


def test_a_pack_that_is_taken_out_of_the_journal_is_made_again_only_while_people_still_agree(lab: TakenLab) -> None:
    done, given = approved(lab)
    first = lab.release(done, *given)
    journal(lab, done, "pack").unlink()
    assert lab.judged(lab.release(done, *given)) == lab.judged(first) == set()
    journal(lab, done, "pack").unlink()
    lab.by("bob", "grant", "revoke", f"req-{done.record_digest[:32]}", "--reason", "enough", "--yes")
    assert code_of(lambda: lab.release(done, *given)) == {"request-revoked"}
    journal(lab, done, "use").unlink()
    assert code_of(lambda: lab.release(done, *given)) == {"request-revoked"}


def test_whoever_answers_in_the_gates_place_with_a_real_release_of_before_is_not_believed(lab: TakenLab) -> None:
    done, given = approved(lab)
    old = lab.release(done, *given)
    asked, theirs = approved(lab)
    pins = {"root_json": lab.root_json, "pinned_sha256": sha256(lab.root_json)}
    with serving_lies(lab.url("gate-release"), lambda method, path, body: old if path == "/release" else None) as url:
        bundle = bundles.make(asked, theirs)
        assert code_of(lambda: make_pack(ReleaseOverHttp(url), bundle, path=None, **pins)) == {"pack-other-request"}
