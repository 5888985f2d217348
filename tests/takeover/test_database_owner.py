"""The owner of the database that keeps the log, against a running service, a gate, `keyturn log verify` and a witness.

He edits, deletes, reorders and repeats rows, rolls them back, and swaps envelopes. Whatever he does is named by somebody who
looks, and a denial that a gate has read is never unknown to it again. Each case gets the rows back afterwards.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause, running
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.gates.follow_as_gate import FollowedLog, Stricter
from keyturn.app.log.follow_log import follow_log
from keyturn.errors import KeyturnError
from keyturn.formats import checkpoint, note
from keyturn.grants.view import GateView
from keyturn.trust.history import TrustHistory
from support.lab_on_disk import LabOnDisk, put_on_disk
from support.labs import make_lab
from support.postgresql import Cluster, Store
from support.processes import wait_for
from support.signed_records import authorization, request

pytestmark = [pytest.mark.xdist_group("takeover-database"), pytest.mark.timeout(300)]

NOW = int(time.time())
TABLES = ("log.batch", "log.envelope", "log.note", "index.entry", "index.tag", "index.subtree")
BATCH_DIGEST = "pg_catalog.sha256(int8send(first) || int4send(count) || leaves || frontier)"


@pytest.fixture(scope="module", autouse=True)
def old_gate() -> None:
    """None of the other take-overs' lab is needed here."""


@dataclass
class Taken:
    """The lab and its database: entry 2 is a request, 3 a denial by Bob, 4 and 5 are requests, and all of it is witnessed."""

    lab: LabOnDisk
    store: Store

    def alter(self, *statements: str) -> None:
        self.store.alter(*statements)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Give every row back at the end."""
        with self.store.admin() as db:
            for table in TABLES:
                db.execute(f"CREATE TABLE public.{table.replace('.', '_')} AS TABLE {table}")
        try:
            yield
        finally:
            back = [f"DELETE FROM {table}" for table in TABLES]
            back += [f"INSERT INTO {table} TABLE public.{table.replace('.', '_')}" for table in TABLES]
            back += [f"DROP TABLE public.{table.replace('.', '_')}" for table in TABLES]
            self.alter(*back)

    def gate(self, url: str) -> FollowedLog:
        """A gate at its first look."""
        lab = self.lab.lab
        return FollowedLog(
            TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256),
            gate=lab.gate_uri("release"),
            key=lab.gate_keys["release"],
            stricter=Stricter(witnesses_min=None, log_age_max_s=None),
            log=LogOverHttp(url),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            pause=pause,
            running=running,
        )

    def view(self, url: str) -> GateView:
        """What somebody sees who reads the log from its first leaf, and logs nothing."""
        lab = self.lab.lab
        history = TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256)
        start = GateView.start(history, gate=lab.gate_uri("release"), nonce_record=None)
        return follow_log(start, LogOverHttp(url), now=int(time.time()))

    def verify(self) -> tuple[int, str]:
        """What `keyturn log verify` says."""
        words = [sys.executable, "-m", "keyturn", "log", "verify", "--json", "--lab", str(self.lab.path)]
        environment = {**os.environ, "KEYTURN_HOME": str(self.lab.path / "nobody")}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, "" if done.returncode == 0 else str(json.loads(done.stderr)["error"]["code"])

    def starts(self) -> str:
        """What a service says that starts now and serves nothing; empty when it serves."""
        try:
            with self.lab.log():
                return ""
        except AssertionError as err:
            return str(err)


def size_of(url: str) -> int:
    try:
        return checkpoint.parse_body(note.parse(LogOverHttp(url).checkpoint()).text).size
    except KeyturnError:
        return 0


@pytest.fixture(scope="module")
def taken(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    store = cluster.store()
    lab = put_on_disk(make_lab(now=NOW), tmp_path_factory.mktemp("taken") / "lab", store=store.url())
    with lab.witness():
        with lab.log() as (_, url):
            first = (request(lab.lab, 1, at=NOW), authorization(lab.lab, 1, at=NOW, member="bob", deny=True))
            index = [LogOverHttp(url).append(raw) for raw in first][-1]
            wait_for("the denial to be witnessed", lambda: size_of(url) > index or None)
            with store.admin() as db:
                db.execute("CREATE TABLE public.earlier AS TABLE log.note")
            index = [LogOverHttp(url).append(request(lab.lab, number, at=NOW)) for number in (2, 3)][-1]
            wait_for("all of it to be witnessed", lambda: size_of(url) > index or None)
        yield Taken(lab, store)


DENIED = "a" * 64
ANY_ENVELOPE = "ALTER TABLE log.envelope DROP CONSTRAINT IF EXISTS envelope_check"
REDIGEST = f"UPDATE log.batch SET sha256 = {BATCH_DIGEST}"
FLIP = "UPDATE log.batch SET leaves = set_byte(leaves, 40, get_byte(leaves, 40) # 1) WHERE first = 3"
LATER = tuple(f"DELETE FROM {table} WHERE idx >= 4" for table in ("log.envelope", "index.entry", "index.tag"))

CASES = {
    "a leaf is edited": (FLIP,),
    "a leaf is edited, and its digest with it": (FLIP, REDIGEST),
    "a denial's row is gone": ("DELETE FROM log.batch WHERE first = 3",),
    "two rows change places": (
        "UPDATE log.batch SET first = 100 WHERE first = 3",
        "UPDATE log.batch SET first = 3 WHERE first = 4",
        "UPDATE log.batch SET first = 4 WHERE first = 100",
        REDIGEST,
    ),
    "a row is there twice": (
        "INSERT INTO log.batch SELECT 6, count, leaves, frontier, sha256 FROM log.batch WHERE first = 3",
        REDIGEST,
    ),
    "another last entry": (
        "UPDATE log.batch SET leaves = b.leaves FROM log.batch b WHERE log.batch.first = 5 AND b.first = 4",
        REDIGEST,
    ),
    "an older dump": (
        "DELETE FROM log.batch WHERE first >= 4",
        *LATER,
        "DELETE FROM log.note",
        "INSERT INTO log.note TABLE public.earlier",
    ),
    "an older dump, from before anything was published": (
        "DELETE FROM log.batch WHERE first >= 4",
        *LATER,
        "DELETE FROM log.note",
    ),
    "the denial has another record's envelope": (
        ANY_ENVELOPE,
        "UPDATE log.envelope SET content = b.content FROM log.envelope b WHERE log.envelope.idx = 3 AND b.idx = 2",
    ),
    "the denial's envelope is gone": ("DELETE FROM log.envelope WHERE idx = 3",),
    "both notes are garbage": ("UPDATE log.note SET note = 'garbage'",),
}


SILENT = {
    "a leaf is edited": "log-tree",
    "a leaf is edited, and its digest with it": "log-tree",
    "a denial's row is gone": "log-range",
    "two rows change places": "log-tree",
    "a row is there twice": "log-batch-tree",
    "another last entry": "log-tree",
    "both notes are garbage": "log-note-damaged",
}


@pytest.mark.parametrize("case", SILENT)
def test_rows_that_are_not_what_was_cosigned_are_named_and_no_service_starts_on_them(taken: Taken, case: str) -> None:
    with taken.kept():
        taken.alter(*CASES[case])
        assert taken.verify() in {(1, SILENT[case]), (3, SILENT[case])}
        assert re.search(r'"code":"(checkpoint-fork|log-[a-z-]+)"', taken.starts())


@pytest.mark.parametrize("case", ["an older dump", "an older dump, from before anything was published"])
def test_an_older_dump_takes_nothing_and_opens_no_gate(taken: Taken, case: str) -> None:
    with taken.kept():
        taken.alter(*CASES[case])
        with taken.lab.log() as (process, url):
            process.wait_for_line("log-behind-witnesses")
            with pytest.raises(KeyturnError, match="log-behind-witnesses"):
                LogOverHttp(url).append(request(taken.lab.lab, 9, at=NOW))
            with pytest.raises(KeyturnError):  # its own nonce does not get into that log
                taken.gate(url).refresh()


@pytest.mark.parametrize("case", ["the denial has another record's envelope", "the denial's envelope is gone"])
def test_a_denial_whose_envelope_is_swapped_or_gone_is_named_and_closes(taken: Taken, case: str) -> None:
    with taken.kept():
        taken.alter(*CASES[case])
        assert taken.verify() == (3, "log-envelope-missing")
        with taken.lab.log() as (_, url):
            known = taken.view(url).known
            assert DENIED not in known.withdrawals
            with pytest.raises(KeyturnError, match="negative-unread"):
                known.require_read(f"request:{DENIED}", what="request")
    with taken.lab.log() as (_, url):  # and once it is back, it is heard
        assert [one.by for one in taken.view(url).known.withdrawals[DENIED]] == ["bob"]


def test_what_a_gate_has_read_is_not_taken_from_it_while_the_service_runs(taken: Taken) -> None:
    with taken.lab.log() as (_, url):
        view = taken.view(url)
        for case in ("a leaf is edited, and its digest with it", "another last entry", "an older dump"):
            with taken.kept():
                taken.alter(*CASES[case])
                try:
                    again = follow_log(view, LogOverHttp(url), now=int(time.time()))
                except KeyturnError:
                    again = view
                assert [one.by for one in again.known.withdrawals[DENIED]] == ["bob"]
                if case != "an older dump":  # which is a whole log, and only as old as it says
                    with pytest.raises(KeyturnError):
                        taken.view(url)
