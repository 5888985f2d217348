"""Two services on two machines and one database: both take records, both publish, and either may be killed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.log.verify_log import read_log
from keyturn.config import lab as lab_config
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.tlog.frontier import Frontier
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import log_writer
from support import commands
from support.members import People
from support.postgresql import Cluster, Store
from support.processes import Process, wait_for
from support.signed_records import checkin, request

NOW = int(time.time())


def appended(url: str, raw: bytes) -> int | None:
    try:
        return LogOverHttp(url).append(raw)
    except Unavailable:
        return None


def keyturn(lab: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return commands.keyturn(*words, place=Path.cwd(), home=lab / "nobody", lab=lab)


def said_by(process: Process) -> list[str]:
    return [line for line in process.output.splitlines() if '"level":"warning"' in line]


def test_two_services_on_one_database_are_one_log(make_lab_on_disk: Callable, store: Store, tmp_path: Path) -> None:
    lab = make_lab_on_disk(store=store.url())
    with lab.witness() as (_, north), lab.log() as (one, first):
        other = lab.copied(tmp_path / "elsewhere", {"north": north})
        with other.log() as (two, second):
            found: dict[int, bytes] = {}

            def submit(url: str, start: int) -> None:
                for number in range(start, start + 40):
                    raw = checkin(lab.lab, number, at=NOW)
                    # A service takes nothing before it has asked the witnesses, once the other one has published.
                    found[wait_for("the log to accept", partial(appended, url, raw))] = raw

            threads = [
                threading.Thread(target=submit, args=(url, 1000 * k))
                for k, url in enumerate((first, second, first, second))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(found) == list(range(2, 162))
            for url, beside in ((first, second), (second, first)):
                raw = request(lab.lab, len(found), at=NOW)
                index = LogOverHttp(url).append(raw)
                found[index] = raw
                assert LogOverHttp(beside).append(raw) == index
                tree = lab.in_force(beside, index, raw).checkpoint
                assert Frontier.empty().extend(LogOverHttp(beside).leaves(0, tree.size)).root == tree.root
                assert [one.index for one in IndexOverHttp(beside).by_record(leaf_of(raw).record)] == [index]
            one.kill()
            raw = request(lab.lab, 999, at=NOW)
            tree = lab.in_force(second, LogOverHttp(second).append(raw), raw).checkpoint
            assert tree.size == 165
            whole = read_log(LogOverHttp(second), history=lab.lab.history, clock=SystemClock(), progress=lambda n: None)
            assert (whole.size, whole.faults) == (165, ())
            assert [line for line in said_by(one) + said_by(two) if "checkpoint-" in line or "log-" in line] == []
        verified = keyturn(other.path, "log", "verify", "--json")
        assert json.loads(verified.stdout)["size"] == 165, verified.stderr
        assert keyturn(other.path, "log", "reindex").stdout == "indexed 165 entries\n"
        assert "165" in keyturn(other.path, "log", "show").stdout
        store.alter("UPDATE log.batch SET sha256 = sha256(sha256) WHERE first = 2")
        for words in (("log", "verify"), ("log", "reindex")):
            altered = keyturn(other.path, *words)
            assert (altered.returncode, "log-batch-altered" in altered.stderr) == (1, True)
    assert not (lab.path / "log").exists()
    assert not (lab.path / "index.sqlite").exists()


def test_a_service_whose_database_was_started_again_asks_its_witnesses_and_goes_on(
    make_lab_on_disk: Callable, store: Store, cluster: Cluster
) -> None:
    lab = make_lab_on_disk(store=store.url())
    with lab.witness(), lab.log() as (process, url):
        raw = request(lab.lab, 1, at=NOW)
        lab.in_force(url, LogOverHttp(url).append(raw), raw)
        cluster.stop()
        process.wait_for_line("store-unreachable")
        with pytest.raises(KeyturnError):
            LogOverHttp(url).envelope(sha256(raw))
        cluster.start()
        raw = request(lab.lab, 2, at=NOW)
        index = wait_for("the log to accept", lambda: appended(url, raw), process)
        assert lab.in_force(url, index, raw).checkpoint.size == index + 1 == 4


def test_a_service_on_a_restored_database_refuses_to_write(
    make_lab_on_disk: Callable, store: Store, cluster: Cluster, tmp_path: Path
) -> None:
    lab = make_lab_on_disk(store=store.url())
    backup = tmp_path / "backup"
    with lab.witness():
        with lab.log() as (_, url):
            raw = request(lab.lab, 1, at=NOW)
            lab.in_force(url, LogOverHttp(url).append(raw), raw)
            subprocess.run(["pg_dump", "-Fc", "-f", backup, store.url("admin")], check=True)
            raw = request(lab.lab, 2, at=NOW)
            lab.in_force(url, LogOverHttp(url).append(raw), raw)
        restored = cluster.store("template1")
        subprocess.run(["pg_restore", "-e", "-d", restored.url("admin"), backup], check=True)
        config = lab_config.parse((lab.path / "keyturn.toml").read_bytes())
        text = lab_config.render(config).decode().replace(store.name, restored.name)
        (lab.path / "keyturn.toml").write_text(text)
        with lab.log() as (process, url):
            process.wait_for_line("log-behind-witnesses")
            with pytest.raises(Refused, match="log-behind-witnesses"):
                LogOverHttp(url).append(request(lab.lab, 3, at=NOW))
        with pytest.raises(Refused, match="log-behind-witnesses"), log_writer(find_lab(str(lab.path))):
            pass


def test_a_password_in_a_file_that_others_may_read_is_refused_and_never_printed(
    make_lab_on_disk: Callable, store: Store
) -> None:
    with store.admin() as admin:
        admin.execute("GRANT service TO guarded")
    lab = make_lab_on_disk(store=store.url("guarded:of%20three%20words"), in_log=False)
    place = lab.path / "keyturn.toml"
    place.chmod(0o640)
    refused = keyturn(lab.path, "log", "reindex")
    assert (refused.returncode, "store-password-exposed" in refused.stderr) == (1, True)
    place.chmod(0o600)
    assert keyturn(lab.path, "log", "reindex").stdout == "indexed 0 entries\n"
    place.write_bytes(place.read_bytes().replace(b"three", b"four"))
    wrong = keyturn(lab.path, "log", "reindex")
    assert (wrong.returncode, "password authentication failed" in wrong.stderr) == (3, True)
    for done in (refused, wrong):
        assert "words" not in done.stdout + done.stderr


def test_a_lab_is_founded_on_a_database_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    store = cluster.store("empty")

    def init(name: str, url: str) -> subprocess.CompletedProcess[str]:
        words = (
            "init",
            str(tmp_path / name),
            "--name",
            "acme.example",
            "--member",
            "ada",
            "--witness",
            "north",
            "--store",
            url,
        )
        return keyturn(tmp_path / name, *words)

    without = init("a", store.url())
    assert (without.returncode, "store-schema" in without.stderr) == (3, True)
    migrate = ("log", "migrate", "--service", "service", "--owner")
    typed = keyturn(tmp_path, *migrate, store.url("owner:secret"))
    assert (typed.returncode, "store-password-typed" in typed.stderr, "secret" in typed.stderr) == (2, True, False)
    made = keyturn(tmp_path, *migrate, store.url("owner"), "--json")
    assert json.loads(made.stdout)["steps"] == 2, made.stderr
    typed = init("b", store.url("service:secret"))
    assert (typed.returncode, "store-password-typed" in typed.stderr) == (2, True)
    strong = init("c", store.url("owner"))
    assert (strong.returncode, "store-role" in strong.stderr) == (1, True)
    assert not list(tmp_path.glob("[abc]"))
    done = init("lab", store.url())
    assert done.returncode == 0, done.stderr
    assert lab_config.parse((tmp_path / "lab" / "keyturn.toml").read_bytes()).store == store.url()
    assert keyturn(tmp_path / "lab", "log", "reindex").stdout == "indexed 0 entries\n"


def test_what_two_people_erase_is_gone_from_the_database_by_its_owner_alone(store: Store, tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    config = people.lab / "keyturn.toml"
    config.write_bytes(lab_config.render(replace(lab_config.parse(config.read_bytes()), store=store.url())))
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.by("ada", "trust", "invite", "carol", "--group", "security")
    people.by("carol", "trust", "accept", "carol.invitation.json")
    people.publish(members=("bob", "carol"))
    with people.served():
        denial = people.by("bob", "deny", people.ask(), "--reason", "Erin is ill, and told me", "--yes")["id"]
        for member in ("ada", "carol"):
            people.by(member, "tombstone", "sign", denial, "--ground", "objection", "--yes")
        erase = ("log", "erase", "--yes")
        assert people.refused("ada", *erase, status=2) == "log-owner"
        assert people.refused("ada", *erase, "--owner", store.url()) == "store-role"
        assert [one["state"] for one in people.by("ada", "tombstone", "list")] == ["due"]
        assert people.by("ada", *erase, "--owner", store.url("owner"))["erased"] == 1
        people.by("ada", "log", "reindex")
        assert [fault["what"] for fault in people.by("ada", "log", "verify")["faults"]] == ["erased"]
        people.ask()
    with store.admin() as db, pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        db.execute("DELETE FROM log.envelope")
