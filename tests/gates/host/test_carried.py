"""A host that does not reach the lab: its questions are carried out, answers are carried in, and it believes those by itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.adapters.files.carried_log import question_in
from keyturn.config import person as person_config
from keyturn.config.person import PersonConfig
from keyturn.errors import KeyturnError
from keyturn.formats import carried, leaf
from keyturn.formats.carried import Answer
from keyturn.wiring.gates.host import bring, read_config
from support.hosts import KEYTURN, Host, HostsLab, hosts_lab
from support.processes import wait_for


class Carrier:
    """Somebody who has the lab's address, its pinned root, a stick, and no key."""

    def __init__(self, lab: HostsLab, place: Path) -> None:
        self.lab, self.place = lab, place
        self.made = 0
        home = place / "home"
        home.mkdir()
        config = PersonConfig("bob", lab.url, {lab.lab.name: lab.lab.root_sha256})
        (home / "config.toml").write_bytes(person_config.render(config))
        self.environment = {**os.environ, "KEYTURN_HOME": str(home)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*KEYTURN, "gate", *words, "--json"], env=self.environment, capture_output=True, text=True, timeout=60
        )

    def new(self, kind: str) -> Path:
        self.made += 1
        return self.place / f"{self.made}.{kind}"

    def ask(self, host: Host) -> Path:
        """Carry the question of `host` out."""
        path = self.new("question")
        wait_for("the gate's question", lambda: (host.directory / "question").exists() or None, host.gate)
        done = self.run("host", "ask", "--dir", str(host.directory), "--out", str(path))
        assert done.returncode == 0, done.stderr
        return path

    def answer(self, question: Path) -> Path:
        """Have the lab answer it."""
        path = self.new("answer")
        done = self.run("answer", str(question), "--out", str(path))
        assert done.returncode == 0, done.stderr
        return path

    def take(self, host: Host, answer: Path) -> str:
        """Bring it in; gives the code of what refuses it, or nothing."""
        done = self.run("host", "take", str(answer), "--dir", str(host.directory))
        assert done.returncode in (0, 1, 3), done.stderr
        return "" if done.returncode == 0 else str(json.loads(done.stderr.splitlines()[-1])["error"]["code"])

    def refusal(self, host: Host, raw: bytes) -> str:
        """As `take`, in this process, which is quicker."""
        try:
            bring(read_config(host.directory), host.directory, raw)
        except KeyturnError as err:
            return err.code
        return ""

    def carry(self, host: Host) -> str:
        return self.take(host, self.answer(self.ask(host)))


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostsLab]:
    with hosts_lab(tmp_path_factory.mktemp("carried"), names=("gpu1", "gpu2", "gpu3")) as lab:
        yield lab


@pytest.fixture
def carrier(far: HostsLab, tmp_path: Path) -> Carrier:
    return Carrier(far, tmp_path)


def installed(lab: HostsLab, name: str) -> Host:
    return lab.install(name, more=("--root-json", str(lab.disk.path / "trust" / "root.json")))


def test_a_host_without_a_network_opens_by_what_is_carried_and_by_nothing_old_foreign_or_altered(
    far: HostsLab, carrier: Carrier
) -> None:
    host, other = installed(far, "gpu1"), installed(far, "gpu2")
    assert carrier.run("host", "ask", "--dir", str(host.directory), "--out", str(carrier.new("q"))).returncode == 3, (
        "a gate that does not run has no question of its own"
    )
    for one in (host, other):
        far.start_gate(one)
    far.start_sshd(host)
    granted = far.granted()
    assert not host.opens(granted, "ktada")

    first, without_it = carrier.ask(host), carrier.answer(carrier.ask(other))
    answer = carrier.answer(first)
    found = carried.parse_answer(answer.read_bytes())
    # Not this gate's, not whole, not what was carried.
    raw = answer.read_bytes()
    assert carrier.take(host, first) == "json-invalid"
    assert carrier.refusal(other, raw) == "answer-other-gate"
    assert carrier.refusal(host, raw[: len(raw) // 2]) == "json-invalid"
    at = next(n for n, one in enumerate(found.leaves) if leaf.parse(one).kind == "chk")

    def edited(**fields: object) -> bytes:
        values = {name: getattr(found, name) for name in found.__struct_fields__} | fields
        return carried.render_answer(Answer(**values))

    assert carrier.refusal(host, edited(leaves=(*found.leaves[:at], *found.leaves[at + 1 :]))) == "answer-incomplete"
    assert (
        carrier.refusal(host, edited(leaves=(*found.leaves[:at], found.leaves[0], *found.leaves[at + 1 :])))
        == "log-fork"
    )
    spoiled = found.envelopes[-1].replace(b"payload", b"PAYLOAD", 1)
    assert carrier.refusal(host, edited(envelopes=(*found.envelopes[:-1], spoiled))) == "answer-altered"
    note = found.note[: -len(found.note.splitlines()[-1]) - 1]
    assert carrier.refusal(host, edited(note=note)) == "checkpoint-quorum", "without its witness"
    assert carrier.refusal(host, edited(start=1, leaves=found.leaves[1:])) == "answer-gap"
    assert carrier.refusal(host, edited(checkin="ab" * 32)) == "answer-other-question"
    assert not host.opens(granted, "ktada"), "nothing of all that was taken"

    # Nor does the gate believe what lies there without its own nonce, however it came there.
    kept = host.directory / "state" / "carried" / f"{len(found.leaves) - 1:016}-laid-there.answer"
    kept.parent.mkdir()
    kept.write_bytes(without_it.read_bytes())
    asked = question_in(host.directory)
    wait_for("the gate to read it", lambda: carried.parse_question(asked.read_bytes()).size or None)
    assert not host.opens(granted, "ktada")

    # The honest one opens, and says nothing new a second time.
    assert carrier.take(host, answer) == ""
    assert host.opens(granted, "ktada"), host.gate.output  # type: ignore[union-attr]  # it was started above
    assert carrier.refusal(host, raw) == "answer-taken"
    assert not host.opens(far.granted(), "ktada"), "what people granted since was not carried"

    # The use goes out with the next question, and a revocation comes in with its answer; the session ends.
    assert host.run(granted, "ktada", "sleep 2").returncode == 0
    uses = host.directory / "state" / "uses"
    wait_for("the use", lambda: list(uses.iterdir()) or None)

    def asks_with_it() -> Path | None:
        path = question_in(host.directory)
        return path if carried.parse_question(path.read_bytes()).records else None

    wait_for("the use in the question", asks_with_it)
    question = carrier.ask(host)
    late = carrier.answer(carrier.ask(host))
    far.log.append(far.revocation(granted))
    newer = carrier.answer(question)
    assert carrier.take(host, newer) == ""
    wait_for("the gate to read it", lambda: None if host.opens(granted, "ktada") else True, deadline_s=5)
    wait_for("the use to be known as logged", lambda: not list(uses.iterdir()) or None)
    assert carrier.refusal(host, late.read_bytes()) == "answer-taken", "an older answer to the same question"

    # A gate that starts again has a question of its own: what was answered before opens nothing.
    again = far.granted()
    before = carrier.answer(carrier.ask(host))
    host.gate.kill()  # type: ignore[union-attr]
    far.start_gate(host)
    refused = carrier.refusal
    wait_for("its question", lambda: refused(host, before.read_bytes()) == "answer-other-question" or None, host.gate)
    assert not host.opens(again, "ktada")
    assert carrier.carry(host) == ""
    assert host.opens(again, "ktada")


def test_what_was_carried_opens_until_it_is_old(far: HostsLab, carrier: Carrier) -> None:
    host = installed(far, "gpu3")
    far.stricter(host, "log_age_max_s = 8")
    far.start_gate(host)
    far.start_sshd(host)
    granted = far.granted("gpu3")
    assert carrier.carry(host) == ""
    assert host.opens(granted, "ktada")
    stale, made_at = carrier.answer(carrier.ask(host)), far.now
    wait_for("the answer to be old", lambda: far.now > made_at + 8 or None)
    assert not host.opens(granted, "ktada")
    assert carrier.refusal(host, stale.read_bytes()) == "view-stale"
    assert not host.opens(granted, "ktada")
