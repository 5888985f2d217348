"""Taken: an old snapshot of a gate, with its key, its journal and a log that stands still. It opens nothing anew."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from support.old_gate import approved, snapshot, started
from support.taken_lab import TakenLab, code_of

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def test_an_old_gate_does_not_release_again_what_was_released_since(lab: TakenLab, tmp_path: Path) -> None:
    asked, given = approved(lab)
    old = snapshot(lab, tmp_path)
    assert lab.judged(lab.release(asked, *given)) == set()
    with started(lab, old, log=lab.url("service")) as url:
        assert code_of(lambda: lab.release(asked, *given, url=url)) == {"one-shot-used"}
        revoked, theirs = approved(lab)
        lab.by("bob", "grant", "revoke", f"req-{revoked.record_digest[:32]}", "--reason", "enough", "--yes")
        assert code_of(lambda: lab.release(revoked, *theirs, url=url)) == {"request-revoked"}


def test_a_use_in_the_journal_is_of_one_request(lab: TakenLab, tmp_path: Path) -> None:
    done, given = approved(lab)
    lab.release(done, *given)
    fresh, alone = lab.ask(), lab.ask()
    old = snapshot(lab, tmp_path)
    state = old / "gates" / "release" / "state"
    for asked in (fresh, alone):
        shutil.copy(state / f"{done.record_digest}.use", state / f"{asked.record_digest}.use")
    bob = lab.approval(fresh, "bob")
    lab.submit(bob)
    with started(lab, old, log=lab.url("service")) as url:
        assert code_of(lambda: lab.release(fresh, bob, url=url)) == {"quorum-not-met"}
        carol = lab.approval(fresh, "carol")
        lab.submit(carol)
        assert code_of(lambda: lab.release(fresh, bob, carol, url=url)) == {"one-shot-not-logged"}
    assert lab.judged(lab.release(fresh, bob, carol)) == set()


def test_two_gates_with_one_key_release_once(lab: TakenLab, tmp_path: Path) -> None:
    asked, given = approved(lab)
    with started(lab, snapshot(lab, tmp_path), log=lab.url("service")) as url, ThreadPoolExecutor(2) as pool:

        def go(at: str) -> set[str]:
            return lab.judged(lab.release(asked, *given, url=at))

        both = [pool.submit(go, at) for at in (url, lab.url("gate-release"))]
        errors = [one.exception() for one in both]
    assert errors.count(None) == 1
    assert "one-shot-used" in str(next(error for error in errors if error is not None))


def test_gate_toml_loosens_nothing_and_another_root_is_not_its_own(lab: TakenLab, tmp_path: Path) -> None:
    old = snapshot(lab, tmp_path)
    (old / "gates" / "release" / "root.json").write_bytes(lab.root_json.replace(b"acme.example", b"evil.example"))
    words = ["gate", "serve", "release", "--lab", str(old)]
    done = lab.run("nobody", *words)
    assert done.returncode == 1
    assert "trust-root-not-pinned" in done.stderr
    config = old / "gates" / "release" / "gate.toml"
    config.write_text(config.read_text().replace('"enforce"', '"observe"'))
    assert lab.run("nobody", *words).returncode == 2


def test_a_gate_before_a_log_that_stands_still_opens_nothing(old_gate: Future[set[str]]) -> None:
    assert old_gate.result(timeout=90) == {"not-in-force"}
