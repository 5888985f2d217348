"""`keyturn log` on a lab whose processes run."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.errors import Unavailable
from keyturn.formats import checkpoint, note, tlog_proof
from keyturn.formats.records import leaf_of
from support import commands
from support.processes import wait_for
from support.signed_records import request

NOW = int(time.time())


def keyturn(lab: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return commands.keyturn(*words, "--lab", lab, place=lab, home=lab / "nobody")


def size_of(url: str) -> int | None:
    try:
        return checkpoint.parse_body(note.parse(LogOverHttp(url).checkpoint()).text).size
    except Unavailable:
        return None


def test_show_prove_verify_and_reindex(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk()
    with lab.witness(), lab.log() as (_, url):
        raw = request(lab.lab, 1, at=NOW)
        assert LogOverHttp(url).append(raw) == 2
        wait_for("the record to be witnessed", lambda: size_of(url) == 3 or None)
        shown = json.loads(keyturn(lab.path, "log", "show", "--json").stdout)
        assert [entry["leaf"]["kind"] for entry in shown["entries"]] == ["rot", "tgt", "req"]
        name = f"req-{leaf_of(raw).record[:9]}"
        assert name in keyturn(lab.path, "log", "show").stdout
        one = json.loads(keyturn(lab.path, "log", "show", name, "--json").stdout)
        assert (one["index"], one["signers"], one["valid"]) == (2, ["member:ada"], True)
        assert one["statement"]["predicate"]["justification"] == "to test the log"
        assert (one["inclusion"]["size"], one["followed_by"]) == (3, [])
        text = keyturn(lab.path, "log", "show", "2").stdout
        for word in (
            name,
            "signed by",
            "member:ada",
            "to test the log",
            "valid, when it was logged",
            "nothing followed it",
        ):
            assert word in text, text
        made = keyturn(lab.path, "log", "prove", name, "--out", "it.tlog-proof")
        assert made.returncode == 0, made.stderr
        assert tlog_proof.parse((lab.path / "it.tlog-proof").read_bytes()).index == 2
        verified = keyturn(lab.path, "log", "verify", "--json")
        assert (verified.returncode, json.loads(verified.stdout)["size"]) == (0, 3)
        assert json.loads(keyturn(lab.path, "log", "reindex", "--json").stdout) == {"size": 3}
        again = request(lab.lab, 2, at=NOW)
        assert LogOverHttp(url).append(again) == 3
        wait_for("the record to be witnessed", lambda: size_of(url) == 4 or None)
        assert keyturn(lab.path, "log", "verify").returncode == 0
    pack = next((lab.path / "log" / "envelopes").iterdir())
    altered = bytearray(pack.read_bytes())
    altered[200] ^= 1
    pack.write_bytes(altered)
    verified = keyturn(lab.path, "log", "verify")
    assert verified.returncode == 1
    assert "log-" in verified.stderr or "envelope" in verified.stderr


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        pytest.param(("log", "show"), 3, "log-no-checkpoint", id="before anything is witnessed"),
        pytest.param(("log", "prove", "req-12345678"), 1, "record-not-found", id="a record that is not there"),
        pytest.param(
            ("log", "show", "req-12345678"), 3, "log-no-checkpoint", id="a record, before anything is witnessed"
        ),
        pytest.param(("log", "prove", "req-1234"), 2, "record-id", id="a prefix that is too short"),
        pytest.param(("log", "prove", "\x1b[31mreq"), 2, "record-id", id="a terminal escape"),
        pytest.param(("witness", "serve", "nobody"), 2, "key-missing", id="a witness that has no key"),
    ],
)
def test_what_cannot_be_done_is_said(
    make_lab_on_disk: Callable, words: tuple[str, ...], status: int, code: str
) -> None:
    lab = make_lab_on_disk()
    if words[0] == "witness":
        (lab.path / "witness" / "nobody").mkdir()
        (lab.path / "witness" / "nobody" / "witness.toml").write_text(
            f'version = 1\nname = "nobody"\n[logs]\n"a/log" = "{lab.lab.log_key.public.text}"\n'
        )
    said = keyturn(lab.path, *words)
    assert (said.returncode, code in said.stderr) == (status, True), said.stderr
    assert "\x1b" not in said.stderr
