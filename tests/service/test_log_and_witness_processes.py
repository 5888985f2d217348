"""The log and its witness as real processes: crashes, restarts, a restored backup, two writers, a lying log."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.adapters.over_http.witness_over_http import WitnessOverHttp
from keyturn.app.log.prove_entry import prove_entry
from keyturn.app.log.show_log import show_log
from keyturn.app.log.verify_log import read_log
from keyturn.errors import Conflict, KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import add_checkpoint, tlog_proof
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.proof import verify_proof
from keyturn.tlog.signing import sign_checkpoint
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import lab_log, log_writer, reindex
from keyturn.wiring.log.witnesses import witnesses_of
from support.labs import make_key
from support.processes import wait_for
from support.signed_records import checkin, request

NOW = int(time.time())


def test_a_record_is_submitted_witnessed_proved_and_verified(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk(witnesses=("north", "south", "east"))
    state = lab.lab.state
    with lab.witness("north"), lab.witness("south"), lab.log() as (_, url):
        log = LogOverHttp(url)
        raw = request(lab.lab, 1, at=NOW)
        index = log.append(raw)
        assert log.append(raw) == index == 2
        seen = lab.in_force(url, index, raw)
        assert seen.cosigners == {"north", "south"}
        view = show_log(log, log=state.log, limits=state.limits, clock=SystemClock(), last=10)
        assert [entry.leaf.kind for entry in view.entries] == ["rot", "tgt", "req"]
        proof = tlog_proof.parse(
            prove_entry(log, index=2, found=None, log=state.log, limits=state.limits, clock=SystemClock())
        )
        from keyturn.formats import leaf as leaf_format

        verify_proof(proof, leaf_format.render(leaf_of(raw)), state.log, now=SystemClock().now(), skew_s=60)
        found = read_log(log, history=lab.lab.history, clock=SystemClock(), progress=lambda n: None)
        assert (found.size, found.faults) == (3, ())
        root = urllib3.request("GET", f"{url}/trust/root.json")
        assert root.data == lab.lab.root_json
        for path in (
            "/trust/../keys/log",
            "/trust/staged",
            "/trust/metadata/../../keys/log",
            "/tile/0/0",
            "/envelope/x",
        ):
            assert urllib3.request("GET", f"{url}{path}").status in (400, 404)


def test_nothing_is_in_force_while_too_few_witnesses_cosign(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk(witnesses=("north", "south", "east"))
    with lab.witness("north"), lab.log() as (process, url):
        log = LogOverHttp(url)
        raw = request(lab.lab, 1, at=NOW)
        index = log.append(raw)
        process.wait_for_line("witness-quorum")
        with pytest.raises(Unavailable, match="NOT IN FORCE"):
            lab.in_force(url, index, raw, deadline_s=0.3)
        with lab.witness("south"):
            assert lab.in_force(url, index, raw).cosigners == {"north", "south"}


def test_nothing_acknowledged_is_lost_when_the_log_is_killed_during_appends(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk()
    acknowledged: dict[int, bytes] = {}
    with lab.witness():
        for round_ in range(3):
            with lab.log() as (process, url):
                stop = threading.Event()

                def submit(start: int, url: str = url, stop: threading.Event = stop) -> None:
                    log = LogOverHttp(url)
                    for number in range(start, start + 1000):
                        raw = checkin(lab.lab, number, at=NOW)
                        try:
                            index = log.append(raw)
                        except KeyturnError:
                            if stop.is_set():
                                return
                            continue
                        acknowledged[index] = raw

                before = len(acknowledged)
                threads = [threading.Thread(target=submit, args=(1_000_000 * round_ + 10_000 * k,)) for k in range(6)]
                for thread in threads:
                    thread.start()
                wait_for("some appends", lambda: len(acknowledged) > before + 60 or None)
                stop.set()
                process.kill()
                for thread in threads:
                    thread.join()
        with lab.log() as (_, url):
            log = LogOverHttp(url)
            last = request(lab.lab, 1, at=NOW)
            index = wait_for("the log to accept", lambda: _append(log, last))
            tree = lab.in_force(url, index, last).checkpoint
            leaves = log.leaves(0, tree.size)
            assert Frontier.empty().extend(leaves).root == tree.root
            for place, raw in acknowledged.items():
                assert log.envelope(sha256(raw)) == raw
                assert sha256(raw).encode() in leaves[place]


def _append(log: LogOverHttp, raw: bytes) -> int | None:
    try:
        return log.append(raw)
    except Unavailable:
        return None


def test_a_log_restored_from_a_backup_refuses_to_write(make_lab_on_disk: Callable, tmp_path: Path) -> None:
    lab = make_lab_on_disk()
    with lab.witness():
        with lab.log() as (_, url):
            raw = request(lab.lab, 1, at=NOW)
            lab.in_force(url, LogOverHttp(url).append(raw), raw)
        for name in ("log", "index.sqlite"):
            source = lab.path / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
        with lab.log() as (_, url):
            raw = request(lab.lab, 2, at=NOW)
            index = wait_for("the log to accept", lambda: _append(LogOverHttp(url), raw))
            lab.in_force(url, index, raw)
        shutil.rmtree(lab.path / "log")
        for left in lab.path.glob("index.sqlite*"):
            left.unlink()
        shutil.copytree(tmp_path / "log", lab.path / "log")
        shutil.copy(tmp_path / "index.sqlite", lab.path / "index.sqlite")
        with lab.log() as (process, url):
            process.wait_for_line("log-behind-witnesses")
            with pytest.raises((Refused, Unavailable)) as refused:
                LogOverHttp(url).append(request(lab.lab, 3, at=NOW))
            assert refused.value.code in ("log-behind-witnesses", "log-unconfirmed")
        with pytest.raises(Refused, match="log-behind-witnesses"), log_writer(find_lab(str(lab.path))):
            pass


def test_a_log_begun_anew_is_never_cosigned_again(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk()
    with lab.witness():
        with lab.log() as (_, url):
            raw = request(lab.lab, 1, at=NOW)
            lab.in_force(url, LogOverHttp(url).append(raw), raw)
        shutil.rmtree(lab.path / "log")
        for left in lab.path.glob("index.sqlite*"):
            left.unlink()
        with lab_log(lab.path) as opened:
            for container in lab.lab.containers:
                opened.admission.submit(container)
        with lab.log() as (process, url):
            process.wait_for_line("log-behind-witnesses")
            with pytest.raises(Refused, match="log-behind-witnesses"):
                LogOverHttp(url).append(request(lab.lab, 2, at=NOW))
            with pytest.raises(Unavailable):
                LogOverHttp(url).checkpoint()


def test_a_witness_that_was_killed_remembers_what_it_cosigned(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk()
    log = lab.lab.state.log
    long, short, other = (
        Frontier.empty().extend(leaves) for leaves in ([b"1", b"2", b"3"], [b"1", b"2"], [b"1", b"2", b"x"])
    )

    def offer(url: str, frontier: Frontier, old_size: int) -> object:
        note = sign_checkpoint(Checkpoint(log.origin, frontier.size, frontier.root), lab.lab.log_key)
        return WitnessOverHttp(url).add_checkpoint(AddCheckpoint(old_size, (), note))

    with lab.witness() as (process, url):
        assert isinstance(offer(url, long, 0), tuple)
        process.kill()
    with lab.witness() as (_, url):
        assert offer(url, short, 0) == 3
        assert offer(url, other, 0) == 3
        with pytest.raises(Tampered):
            offer(url, other, 3)
        with pytest.raises(Refused):
            offer(url, short, 3)
        newest = WitnessOverHttp(url).newest(log.origin)
        assert newest is not None
        assert verify_checkpoint(newest, log, now=None, skew_s=0).checkpoint.size == 3
        assert WitnessOverHttp(url).newest("log.elsewhere") is None
    assert len(list((lab.path / "witness" / "north" / "evidence").iterdir())) == 1


def test_a_witness_answers_as_its_specification_says(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk()
    log = lab.lab.state.log
    tree = Frontier.empty().extend([b"1"])
    with lab.witness() as (_, url):

        def post(body: bytes) -> tuple[int, str]:
            answer = urllib3.request("POST", f"{url}/add-checkpoint", body=body)
            return answer.status, answer.headers.get("Content-Type", "")

        def body(
            origin: str = log.origin, key: object = lab.lab.log_key, root: bytes = tree.root, size: int = 1
        ) -> bytes:
            note = sign_checkpoint(Checkpoint(origin, size, root), key)  # type: ignore[arg-type]
            return add_checkpoint.render(AddCheckpoint(0, (), note))

        assert post(b"nonsense")[0] == 400
        assert post(b"x" * (400 * 1024))[0] in (400, 413)
        assert post(body(origin="log.elsewhere"))[0] == 404
        assert post(body(key=make_key("stranger")))[0] == 403
        assert post(body(size=0, root=bytes(32)))[0] == 422
        assert post(body())[0] == 200
        status, kind = post(body())
        assert (status, kind.split(";")[0]) == (409, "text/x.tlog.size")


def test_two_processes_are_never_the_same_witness(make_lab_on_disk: Callable) -> None:
    from keyturn.wiring.log.witness import open_witness

    lab = make_lab_on_disk()
    with lab.witness(), pytest.raises(Conflict, match="witness-running"), open_witness(lab.path / "witness" / "north"):
        pass


def test_the_command_line_and_the_service_write_to_one_log(make_lab_on_disk: Callable) -> None:
    lab = make_lab_on_disk()
    with lab.witness(), lab.log() as (_, url):
        service = LogOverHttp(url)
        raws = [request(lab.lab, number, at=NOW) for number in range(40)]
        found: dict[int, int] = {}
        with lab_log(lab.path) as opened:
            here = opened.trust().log
            from keyturn.app.log.publish_checkpoint import confirm_with_witnesses

            confirm_with_witnesses(opened.log, log=here, witnesses=witnesses_of(lab.path, here))

            def beside() -> None:
                for number in range(20):
                    found[number] = opened.admission.submit(raws[number]).index

            thread = threading.Thread(target=beside)
            thread.start()
            for number in range(20, 40):
                found[number] = service.append(raws[number])
            thread.join()
            assert sorted(found.values()) == list(range(2, 42))
            assert [opened.admission.submit(raws[number]).index for number in found] == list(found.values())
        tree = lab.in_force(url, max(found.values()), raws[max(found, key=found.__getitem__)]).checkpoint
        assert tree.size == 42
        assert Frontier.empty().extend(service.leaves(0, 42)).root == tree.root


def test_an_idle_log_seeks_fresh_cosignatures(make_lab_on_disk: Callable) -> None:
    from keyturn.service.log_publisher import Publisher

    class Hurried:
        """A clock on which a minute passes at each look."""

        def __init__(self) -> None:
            self._now = NOW

        def now(self) -> int:
            self._now += 60
            return self._now

    lab = make_lab_on_disk()
    with lab.witness(), lab_log(lab.path) as opened:
        publisher = Publisher(
            opened.log,
            keys=lambda: (lab.lab.log_key,),
            trust=opened.trust,
            earlier=lambda: (),
            witnesses=lambda logs: witnesses_of(lab.path, *logs),
            clock=Hurried(),
            freshen_s=20,
        )
        publisher.start()
        try:
            first = wait_for("a checkpoint", lambda: opened.log.note("checkpoint"))
            again = wait_for(
                "a fresh cosignature",
                lambda: (
                    (publisher.wake(), opened.log.note("checkpoint"))[1]
                    if opened.log.note("checkpoint") != first
                    else None
                ),
            )
        finally:
            publisher.stop()
        log = lab.lab.state.log
        old, new = (verify_checkpoint(note, log, now=None, skew_s=0) for note in (first, again))
        assert new.checkpoint == old.checkpoint
        assert new.cosigned_at > old.cosigned_at


def test_the_same_log_is_indexed_to_the_same_bytes(make_lab_on_disk: Callable, tmp_path: Path) -> None:
    lab = make_lab_on_disk()
    with lab_log(lab.path) as opened:
        for number in range(30):
            opened.admission.submit(checkin(lab.lab, number, at=NOW))
    reindex(lab.path)
    first = (lab.path / "index.sqlite").read_bytes()
    with lab_log(lab.path) as opened:
        assert opened.log.size == 32
    (lab.path / "index.sqlite").unlink()
    shutil.rmtree(lab.path / "log" / "tile")
    (lab.path / "log" / "derived").unlink()
    reindex(lab.path)
    assert (lab.path / "index.sqlite").read_bytes() == first
