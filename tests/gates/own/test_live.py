"""Gates of one's own against a lab that runs: at a Unix socket, whose askers the kernel names, and in a program on the SDK."""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

import keyturn
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.formats import gate_answer
from keyturn.service.local_peers import bound_at, group_id, user_id
from keyturn.wiring.lab.processes import processes_of
from support.own_gates import RESOURCE, OwnGateLab, own_gate_lab
from support.processes import wait_for

JSON = {"Content-Type": "application/json"}
RUN = ("gate", "local", "run", "vault")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnGateLab]:
    with own_gate_lab(tmp_path_factory.mktemp("own")) as found:
        yield found


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def test_a_process_at_a_socket_answers_whom_the_kernel_names_and_nothing_it_gave_outlives_it(place: OwnGateLab) -> None:
    path, plain = place.socket, {"Content-Type": "text/plain"}
    request = place.ask("vault", "bob", "cat")
    asked = f"req-{request[:32]}"
    alone = f"req-{place.ask('vault', 'bob')[:32]}"
    elsewhere = f"req-{place.ask('rotate', 'bob', 'cat')[:32]}"
    with (
        place.disk.serving(*RUN, name="gate-vault") as (process, url),
        httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://gate", timeout=60) as gate,
    ):
        # Who asks: the mode of the socket, and the kernel's word.
        assert oct(path.stat().st_mode & 0o777) == "0o660"
        assert said(gate.post("/doors/other", content=asked, headers=plain)) == (403, "door-not-for-user")
        assert said(gate.post("/doors/none", content=asked, headers=plain)) == (403, "door-not-for-user")
        assert said(httpx.post(f"{url}/doors/rotate", content=asked, headers=plain)) == (403, "peer-unknown")
        forged = {"X-Forwarded-For": f"user {os.getuid()}", **plain}
        assert said(httpx.post(f"{url}/doors/rotate", content=asked, headers=forged)) == (403, "peer-unknown")
        if os.getuid() == 0:
            nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "-sS"]
            words = ["--unix-socket", str(path), "-H", "Content-Type: text/plain", "-d", asked, "http://gate/doors/"]
            for door, code in (("rotate", "door-not-for-user"), ("other", "request-not-live")):
                words[-1] = f"http://gate/doors/{door}"
                words[-2] = asked if door == "rotate" else f"req-{'0' * 32}"
                done = subprocess.run([*nobody, *words], capture_output=True, text=True, timeout=60, cwd="/")
                assert json.loads(done.stdout)["code"] == code, done

        # What is asked.
        for rubbish in (b"", b"req-1 req-2", b"../about", "req-é".encode(), b"\xff", b"req-1\n\n"):
            assert said(gate.post("/doors/rotate", content=rubbish, headers=plain)) == (400, "request-id")
        assert gate.post("/doors/rotate", content=b"a" * 257, headers=plain).status_code == 413
        assert said(gate.post("/doors/rotate", content=alone, headers=plain)) == (403, "quorum-not-met")
        assert said(gate.post("/doors/rotate", content=elsewhere, headers=plain)) == (403, "gate-other")
        assert said(gate.get(f"/doors/rotate/{asked}")) == (403, "grant-not-given")

        # Two who ask at once: one gets it.
        both: list[httpx.Response] = []
        threads = [
            threading.Thread(
                target=lambda: both.append(gate.post("/doors/rotate", content=asked + "\n", headers=plain))
            )
            for _ in range(2)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert sorted(one.status_code for one in both) == [200, 403]
        [given] = [one.json() for one in both if one.status_code == 200]
        assert (given["request"], given["door"], given["approvers"]) == (asked, "rotate", ["bob", "cat"])
        assert gate.get(f"/doors/rotate/{asked}").json() == given
        assert said(gate.get(f"/doors/other/{asked}")) == (403, "door-not-for-user")

        # What is taken away is obeyed before the log has it.
        answer = httpx.post(
            f"{url}/negative", content=place.revocation(request), headers={"Content-Type": "application/json"}
        )
        assert gate_answer.parse(answer.content)[1].acted is True
        assert said(gate.get(f"/doors/rotate/{asked}")) == (403, "request-revoked")

        # A second one, and one that died.
        second = subprocess.run(
            [sys.executable, "-m", "keyturn", *RUN, "--lab", str(place.disk.path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (second.returncode, "already-running" in second.stderr) == (3, True), second
        later = f"req-{place.ask('vault', 'bob', 'cat')[:32]}"
        assert gate.post("/doors/rotate", content=later, headers=plain).status_code == 200
        process.kill()
        dead = ["curl", "-sS", "--fail-with-body", "--unix-socket", str(path), f"http://gate/doors/rotate/{later}"]
        assert subprocess.run(dead, capture_output=True, timeout=60).returncode != 0, "no answer is a no"
    with (
        place.disk.serving(*RUN, name="gate-vault"),
        httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://gate", timeout=60) as gate,
    ):
        assert said(gate.get(f"/doors/rotate/{later}")) == (403, "grant-not-given")
        assert said(gate.post("/doors/rotate", content=later, headers=plain)) == (403, "one-shot-used")
    assert not path.exists()
    decided = DecisionFiles(place.disk.path / "gates" / "vault" / "state" / "decisions").read(start=0)
    assert next(one.request for one in decided if one.outcome == "granted") == request


def test_a_thousand_who_say_half_of_it_keep_no_gate_from_hearing(place: OwnGateLab) -> None:
    """All that they sent lies there when the gate looks: none of them has a place that a denial needs, nor has one that went."""
    negative = place.revocation(place.ask("vault"))
    head = f"POST /negative HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\nContent-Length: {len(negative)}\r\n\r\n"
    half = head.replace(str(len(negative)), "4000").encode() + b"{"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    try:
        with place.disk.serving(*RUN, name="gate-vault") as (process, url):
            port = ("127.0.0.1", int(url.rpartition(":")[2]))
            assert httpx.post(f"{url}/negative", content=negative, headers=JSON).status_code == 200
            for at in ((socket.AF_UNIX, str(place.socket)), (socket.AF_INET, port)):
                with ExitStack() as stack:
                    process.signal(signal.SIGSTOP)
                    for number in range(1000):
                        one = stack.enter_context(socket.socket(at[0]))
                        one.settimeout(10)
                        one.connect(at[1])
                        one.sendall(half)
                        if number % 4 == 0:
                            one.close()
                    denies = stack.enter_context(socket.create_connection(port, timeout=20))
                    denies.sendall(head.encode() + negative)
                    process.signal(signal.SIGCONT)
                    while not select.select([denies], [], [], 0.1)[0]:
                        process.tick(0.01)  # who writes into a pipe that nobody reads stands still
                    assert denies.recv(100).startswith(b"HTTP/1.1 200"), at
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_directory_that_others_write_into_a_file_and_a_live_socket_are_not_answered_at(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(keyturn.Usage, match="writable to nobody else"), bound_at(str(tmp_path / "s"), group=None):
        pass
    tmp_path.chmod(0o755)
    (tmp_path / "others" / "deep").mkdir(parents=True, mode=0o755)
    (tmp_path / "others").chmod(0o777)  # who writes there moves `deep` away, and puts his own there
    (tmp_path / "link").symlink_to(tmp_path / "others" / "deep")
    (tmp_path / "own").mkdir()
    (tmp_path / "theirs").symlink_to(tmp_path / "own")
    if os.getuid() == 0:
        os.lchown(tmp_path / "theirs", 65534, 65534)
    for way in ("others/deep", "link", *(["theirs"] if os.getuid() == 0 else [])):
        with (
            pytest.raises(keyturn.Usage, match="writable to nobody else"),
            bound_at(str(tmp_path / way / "s"), group=None),
        ):
            pass
    (tmp_path / "file").write_text("mine")
    with pytest.raises(keyturn.Usage, match="a socket or nothing"), bound_at(str(tmp_path / "file"), group=None):
        pass
    assert (tmp_path / "file").read_text() == "mine"
    with bound_at(str(tmp_path / "s"), group=None):
        assert oct((tmp_path / "s").stat().st_mode & 0o777) == "0o600"
        with pytest.raises(keyturn.Conflict), bound_at(str(tmp_path / "s"), group=None):
            pass
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with bound_at(str(tmp_path / "s"), group=None):
        pass  # what a process left behind is in nobody's way
    for none in (lambda: user_id("no-such-user"), lambda: group_id("no-such-group")):
        with pytest.raises(keyturn.Usage):
            none()


def test_a_program_that_is_a_gate_gets_a_grant_that_stands_within_its_block_alone(
    place: OwnGateLab, capsys: pytest.CaptureFixture[str]
) -> None:
    words: dict[str, Any] = {"action": "procedure:run", "resource": RESOURCE}
    request = place.ask("rotate", "bob", "cat")
    with keyturn.open_gate(place.script) as gate:
        with pytest.raises(keyturn.Conflict, match="runs already"), keyturn.open_gate(place.script):
            pass
        with pytest.raises(keyturn.Refused) as alone, gate.granted(place.ask("rotate", "bob"), **words):
            raise AssertionError("nobody may come here")
        assert alone.value.code == "quorum-not-met"
        with gate.granted(request, **words) as grant:
            assert (grant.requester, grant.approvers, grant.profile) == ("ada", ("bob", "cat"), "demo")
            grant.require_open()
            grant.run(["true"])
            with pytest.raises(subprocess.CalledProcessError):
                grant.run(["false"])
            with pytest.raises(TypeError):
                pickle.dumps(grant)
            with pytest.raises(TypeError):
                type(grant)(*(None,) * 11)  # type: ignore[arg-type]  # nobody makes one
            # What it left running ends with it, and all of it when the grant does.
            grant.run(["sh", "-c", "sleep 1000 & echo $! > pid"], cwd=place.script)
            left = int((place.script / "pid").read_text())
            wait_for("the child to be gone", lambda: None if _runs(left) else True)
            place.log.append(place.revocation(request))
            with pytest.raises(keyturn.Refused) as ended:
                grant.run(["sh", "-c", "trap '' TERM; sleep 1000 & echo $! > pid; wait"], cwd=place.script)
            assert ended.value.code == "request-revoked"
            left = int((place.script / "pid").read_text())
            wait_for("the child to be gone", lambda: None if _runs(left) else True)
        with pytest.raises(keyturn.Refused) as outside:
            grant.require_open()
        assert outside.value.code == "grant-closed"
        with pytest.raises(keyturn.Refused) as again, gate.granted(request, **words):
            raise AssertionError("nobody may come here")
        assert again.value.code == "one-shot-used"
    with pytest.raises(keyturn.Usage), keyturn.open_gate(place.script / "nothing"):
        pass
    page = (Path(__file__).resolve().parents[3] / "docs" / "sdk.md").read_text(encoding="utf-8")
    example = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "open_gate" in block)
    example = example.replace("/var/lib/rotate/gate", str(place.script)).replace("/usr/local/sbin/reseal", "true")
    exec(example, {"request": f"req-{place.ask('rotate', 'bob', 'cat')[:32]}"})  # as it stands
    assert "ada asked, bob, cat approved: the yearly rotation" in capsys.readouterr().out
    _, found = processes_of(str(place.disk.path), service=())
    assert [one.arguments[:4] for one in found if one.name.startswith("gate-")] == [RUN], "a script is its own process"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
