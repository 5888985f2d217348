"""A log's `signed` and `checkpoint` are damaged or gone: it says what to type, and is the same log again, or stays closed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.errors import Unavailable
from keyturn.formats import checkpoint, note
from keyturn.formats.checkpoint import Checkpoint
from keyturn.tlog.signing import sign_checkpoint
from support import commands
from support.lab_on_disk import LabOnDisk
from support.processes import wait_for
from support.signed_records import request

NOW = int(time.time())
pytestmark = pytest.mark.timeout(180)


def keyturn(lab: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """What a command says with --json."""
    done = commands.keyturn(*words, "--lab", lab, "--json", place=lab, home=lab / "nobody")
    said = done.stdout if done.returncode == 0 else done.stderr
    return done.returncode, json.loads(said)


def size_of(url: str) -> int | None:
    try:
        return checkpoint.parse_body(note.parse(LogOverHttp(url).checkpoint()).text).size
    except Unavailable:
        return None


def append(url: str, lab: LabOnDisk, number: int) -> int:
    """Append the request of that number when the log has asked its witnesses, wait until it is witnessed, and give its index."""

    def appended() -> int | None:
        try:
            return LogOverHttp(url).append(request(lab.lab, number, at=NOW))
        except Unavailable as err:
            assert err.code == "log-unconfirmed", err  # noqa: PT017  # it was just started
            return None

    index = wait_for("the log to be confirmed", appended)
    wait_for("the record to be witnessed", lambda: (size_of(url) or 0) > index or None)
    return index


@contextmanager
def used(make_lab_on_disk: Callable[..., LabOnDisk]) -> Iterator[LabOnDisk]:
    """A lab whose log was published and stopped; its witness runs."""
    lab = make_lab_on_disk()
    with lab.witness():
        with lab.log() as (_, url):
            assert [append(url, lab, number) for number in (1, 2)] == [2, 3]
        yield lab


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00garbage\xff")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "in it").write_bytes(b"evidence")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def forged(path: Path) -> None:
    """A note that is well formed, of more entries than there are, and that the log's key did not sign."""
    body = checkpoint.render_body(Checkpoint("log.acme.example", 99, bytes(32)))
    path.write_bytes(body + b"\n\xe2\x80\x94 log.acme.example AAAAAAAA\n")


def serve(lab: Path) -> str:
    """What `keyturn serve` says when it does not start."""
    words = [sys.executable, "-m", "keyturn", "serve", "--lab", str(lab)]
    done = subprocess.run(words, capture_output=True, text=True, env={"KEYTURN_HOME": str(lab / "nobody")}, timeout=60)
    assert done.returncode in (1, 3), done.stderr
    return done.stderr


def test_damaged_notes_are_named_and_made_again_and_the_log_goes_on(make_lab_on_disk: Callable[..., LabOnDisk]) -> None:
    cases: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
        (garbage, ("signed",)),
        (empty, ("checkpoint",)),
        (directory, ("signed", "checkpoint")),
        (dangling, ("signed", "checkpoint")),
    ]
    with used(make_lab_on_disk) as lab:
        for number, (spoil, names) in enumerate(cases, 3):
            for name in names:
                spoil(lab.path / "log" / name)
            said = serve(lab.path)
            assert "log-note-damaged" in said
            assert "keyturn log recover" in said
            if "checkpoint" in names:
                assert keyturn(lab.path, "log", "verify")[1]["error"]["code"] == "log-note-damaged"
            status, made = keyturn(lab.path, "log", "recover")
            assert (status, made["size"], made["seen"]) == (0, number + 1, number + 1), made
            assert [(one["which"], one["size"]) for one in made["made"]] == [(name, number + 1) for name in names]
            assert all(os.path.lexists(lab.path / "log" / one["aside"]) for one in made["made"])
            assert keyturn(lab.path, "log", "verify")[0] == 0, "readers have a checkpoint at once"
            with lab.log() as (_, url):
                assert append(url, lab, number) == number + 1
        assert keyturn(lab.path, "log", "recover") == (0, {"made": [], "seen": 8, "size": 8})


def test_a_note_that_the_logs_key_did_not_sign_is_damage_and_one_that_it_signed_must_be_kept(
    make_lab_on_disk: Callable[..., LabOnDisk],
) -> None:
    with used(make_lab_on_disk) as lab:
        forged(lab.path / "log" / "signed")
        assert "log-behind-checkpoint" in serve(lab.path)
        status, made = keyturn(lab.path, "log", "recover")
        assert (status, [one["which"] for one in made["made"]]) == (0, ["signed"])
        assert keyturn(lab.path, "log", "verify")[0] == 0
        # What the log signed itself, and no witness has seen: a tree of one entry more, which somebody cut off.
        ahead = sign_checkpoint(Checkpoint("log.acme.example", 5, bytes(32)), lab.lab.log_key)
        (lab.path / "log" / "signed").write_bytes(note.render(ahead))
        garbage(lab.path / "log" / "checkpoint")
        before = files(lab.path)
        status, said = keyturn(lab.path, "log", "recover")
        assert (status, said["error"]["code"]) == (1, "log-behind-witnesses")
        assert files(lab.path) == before


def test_nothing_is_made_again_behind_the_witnesses_or_without_them(make_lab_on_disk: Callable[..., LabOnDisk]) -> None:
    lab = make_lab_on_disk()
    with lab.witness():
        with lab.log() as (_, url):
            append(url, lab, 1)
        shutil.copytree(lab.path / "log" / "envelopes", lab.path / "yesterday")
        with lab.log() as (_, url):
            append(url, lab, 2)
        whole = lab.path / "log" / "envelopes"
        whole.rename(lab.path / "today")
        shutil.copytree(lab.path / "yesterday", whole)
        for name in ("signed", "checkpoint"):
            garbage(lab.path / "log" / name)
        before = files(lab.path)
        status, said = keyturn(lab.path, "log", "recover")
        assert (status, said["error"]["code"]) == (1, "log-behind-witnesses")
        assert files(lab.path) == before
        shutil.rmtree(whole)
        (lab.path / "today").rename(whole)
    before = files(lab.path)
    status, said = keyturn(lab.path, "log", "recover")
    assert (status, said["error"]["code"]) == (3, "witness-quorum")
    assert "keyturn witness serve" in said["error"]["hint"]
    assert files(lab.path) == before
    with lab.witness():
        assert keyturn(lab.path, "log", "recover")[0] == 0
        with lab.log() as (_, url):
            assert append(url, lab, 3) == 4


def files(lab: Path) -> dict[str, bytes]:
    """What lies in the log's directory."""
    return {str(path): path.read_bytes() for path in sorted((lab / "log").rglob("*")) if path.is_file()}
