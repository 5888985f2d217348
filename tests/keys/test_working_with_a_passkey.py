"""A member works with a passkey by the command line: criteria, a step, a release, each record signed in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.formats import dsse, records
from support.commands import KEYTURN
from support.taken_lab import MODEL, TakenLab, build, found, serving

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.timeout(300)]


def by_browser(lab: TakenLab, person: Any, member: str, *words: str | Path) -> Any:
    """Type a command as `member`, and open every page that it asks a browser to open."""
    opened = lab.place / "opened"
    opened.write_text("")
    browser = lab.place / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{opened}"\n')
    browser.chmod(0o755)
    environment = {
        **os.environ,
        "KEYTURN_HOME": str(lab.home(member)),
        "KEYTURN_LAB": str(lab.lab),
        "BROWSER": str(browser),
    }
    command = [*KEYTURN, *map(str, words), "--json"]
    with subprocess.Popen(
        command,
        cwd=lab.place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        seen, until = 0, time.monotonic() + 90
        while process.poll() is None and time.monotonic() < until:
            for url in opened.read_text().split()[seen:]:
                seen += 1
                person.open(url)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        said, wrong = process.communicate(timeout=10)
    assert process.returncode == 0, (words, said, wrong)
    return json.loads(said)


def test_criteria_a_step_and_a_release_are_signed_with_a_passkey(person: Any, origin: str, tmp_path: Path) -> None:
    lab = found(tmp_path)
    with serving(lab):
        build(lab)
        draft = lab.lab / "trust" / "draft" / "roster.toml"
        draft.write_text(draft.read_text() + f'\n[[signing]]\norigin = "{origin}"\nrp_id = "localhost"\n')
        lab.by("ada", "trust", "invite", "ada", "--new-keys", "beside", "--out", "beside.json")
        accept = (
            "trust",
            "accept",
            "beside.json",
            "--member-key",
            "passkey",
            "--page",
            origin,
            "--out",
            "accepted.json",
        )
        by_browser(lab, person, "ada", *accept)
        lab.by("ada", "trust", "propose", "--acceptance", "accepted.json")
        for member in ("ada", "bob"):
            lab.by(member, "trust", "sign", "--yes")
        lab.by("ada", "trust", "publish")

        key = ("--key", "webauthn", "--yes")
        words = ("--metric", "loss", "--comparison", "at-most", "--threshold", "2", "--reason", "also")
        on = ("--on", lab.place / "work" / "ingest" / "out" / "heldout")
        criteria = by_browser(lab, person, "ada", "step", "criteria", str(MODEL), *words, *on, *key)
        assert "loss" in person.shown
        again = lab.place / "work" / "again"
        by_browser(lab, person, "ada", "run", lab.place / "work" / "ingest" / "STEP.toml", "--out", again, *key)
        assert (again / "train").is_dir()
        asked = by_browser(lab, person, "ada", "release", "model", "--as", str(MODEL), "--reason", "good", *key)
        for member in ("bob", "carol"):
            lab.by(member, "approve", asked["request"], "--reason", "agreed", "--yes")
        lab.by("ada", "release", "model", "--request", asked["request"], "--out", "model.pack")
        lab.by("nobody", "verify", "model", "--pack", "model.pack", "--root", "root.json")

        (held,) = [one for one in lab.trust.roster.members["ada"].keys if one.kind == "webauthn"]
        for digest in (criteria["digest"], asked["digest"]):
            (entry,) = IndexOverHttp(lab.url("service")).by_record(digest)
            signed = dsse.parse_own(lab.log.envelope(entry.envelope))
            assert [one.keyid for one in signed.signatures] == [held.key.keyid]
            assert records.parse(dsse.render(signed)).digest == digest
