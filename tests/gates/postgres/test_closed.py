"""What a postgres gate cannot find out or write down, it does not let in; and its uses and decisions are kept."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.keys.session_certificates import read_request
from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.access import ACCESS_USE, AccessUse
from support.databases import DatabaseLab, DatabasePerson, database_lab, ended
from support.processes import wait_for


def test_a_use_is_logged_and_a_decision_kept(place: DatabaseLab) -> None:
    asked = place.granted()
    place.connect(asked)
    place.connect(asked)
    logged = place.directory / "state" / "logged" / asked.digest
    raw = wait_for("the use to be logged", lambda: logged.read_bytes() if logged.exists() else None, place.gate)
    use = statement.parse(dsse.parse_own(raw).payload, AccessUse, ACCESS_USE).predicate
    assert (use.request, use.gate) == (asked.digest, str(place.lab.gate_uri("main")))
    kept = [
        one
        for one in DecisionFiles(place.directory / "state" / "decisions").read(start=0)
        if one.request == asked.digest
    ]
    assert [(one.outcome, one.requester, one.action, one.approvers) for one in kept] == [
        ("granted", "ada", "db:read", ("bob",))
    ]


@pytest.mark.parametrize("raw", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"x" * 9000])
def test_what_is_no_certificate_request_is_none(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_request(raw)


def test_when_its_disk_is_full_nobody_is_let_in(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:
        state = place.directory / "state"
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(state)], check=True)
        try:
            place.start_gate()
            first, second = place.granted(), place.granted()
            db = place.connect(first)
            with (state / "filler").open("wb", buffering=0) as filler:
                try:
                    while filler.write(b"x" * 512):
                        pass
                except OSError:
                    pass
            wait_for("its no", lambda: "unwritable" in place.certify(second).text or None, place.gate)
            assert second.role not in place.roles()
            place.log.append(place.revocation(first))
            wait_for("the connection to end all the same", lambda: ended(db) or None)
            (state / "filler").unlink()
            assert not ended(place.connect(second))
            assert place.gate is not None
            place.gate.kill()
        finally:
            subprocess.run(["umount", "-l", str(state)], check=True)


def test_when_the_log_cannot_be_reached_the_database_closes(tmp_path: Path) -> None:
    with database_lab(tmp_path) as place:
        path = place.directory / "gate.toml"
        path.write_text(path.read_text().replace("mode =", "log_age_max_s = 10\nmode =", 1))
        place.start_gate()
        asked = place.granted()
        db = place.connect(asked)
        place.service.kill()
        begin = time.monotonic()
        wait_for("the connection to end", lambda: ended(db) or None)
        assert time.monotonic() - begin < 10 + 5
        assert "view-stale" in place.certify(asked).text


def test_the_doctor_says_that_a_gate_answers_when_it_signed_last_and_why_it_is_closed(
    place: DatabaseLab, tmp_path: Path
) -> None:
    place.connect(place.granted())
    ada = DatabasePerson(place, tmp_path, "ada")
    assert ada.doctor("gate-main") == [("ok", "answers")]
    assert any("gate/main signed into the log last at" in said for level, said in ada.doctor("gates") if level == "ok")
    path = place.cluster.directory / "data" / "pg_hba.conf"
    before = path.read_text()
    path.write_text("local all all trust\n" + before)
    try:
        [(level, said)] = ada.doctor("gate-main")
        assert (level, "lets nobody in now" in said, "database-other-door" in said) == ("warning", True, True), said
    finally:
        path.write_text(before)


@pytest.mark.parametrize("off", ["-1h", "+1h"], ids=["an hour behind", "an hour ahead"])
def test_a_gate_whose_clock_is_wrong_lets_nobody_in(tmp_path: Path, off: str) -> None:
    with database_lab(tmp_path) as place:
        place.start_gate("faketime", "--exclude-monotonic", "-f", off)
        asked = place.granted()
        answer = place.certify(asked)
        assert answer.status_code in (403, 503), answer.text
        assert place.roles() == set()
        [(level, said)] = DatabasePerson(place, tmp_path, "ada").doctor("gate-main")
        where = "behind" if off.startswith("-") else "ahead of"
        assert (level, f"its clock is 1h {where} this machine's" in said) == ("warning", True), said
