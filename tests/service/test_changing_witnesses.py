"""Witnesses and the log's key change while the log, its witnesses and a gate run as processes, and the gate follows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause, running
from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.app.gates.follow_as_gate import FollowedLog, Stricter
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import dsse, note, release_order
from keyturn.formats.release_order import ReleaseOrder
from keyturn.grants import bundle as bundles
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.draft import Draft, RootDraft
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import Log, Witness
from support.labs import make_key
from support.processes import wait_for
from support.signed_records import request

NOW = int(time.time())

pytestmark = pytest.mark.timeout(180)


@dataclass
class Running:
    """A lab on disk, its service's address, and people who publish trust."""

    place: Any
    url: str

    @property
    def log(self) -> LogOverHttp:
        return LogOverHttp(self.url)

    def publish(self, defined: Log) -> None:
        """The next targets version, signed by the lab's humans and given to the service."""
        self.place.lab = self.place.lab.publish(log=defined, now=NOW)
        container = self.place.lab.containers[-1]
        TrustOnDisk(self.place.path / "trust").add_version(len(self.place.lab.containers), container)
        self.log.append(container)

    def witnessed(self, number: int) -> WitnessedCheckpoint:
        """Log a request and wait until it is in force under the newest definition."""
        raw = request(self.place.lab, number, at=NOW)
        return self.place.in_force(self.url, self.log.append(raw), raw)

    def gate(self) -> FollowedLog:
        """A gate in this process that follows from now on."""
        lab = self.place.lab
        return FollowedLog(
            TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256),
            gate=lab.gate_uri("release"),
            key=lab.gate_keys["release"],
            stricter=Stricter(witnesses_min=None, log_age_max_s=None),
            log=self.log,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            pause=pause,
            running=running,
        )

    def at_gate(self, url: str) -> str:
        """The code by which the gate process refuses an order for a model that nobody asked for: its view was made first."""
        asked = dsse.parse_own(request(self.place.lab, 1, at=NOW))
        order = ReleaseOrder(
            bundle=msgspec.Raw(bundles.render(bundles.make(asked, ()))),
            model=f"dirHash:{'1' * 64}",
            size=1,
            as_of=NOW - 60,
            version=1,
        )
        with pytest.raises(KeyturnError) as refused:
            ReleaseOverHttp(url).release(release_order.render(order))
        return refused.value.code


FOLLOWS = "release-subjects"
"""What the gate process says of such an order when it has a view that it believes."""


def witness(name: str, *, key: str | None = None) -> Witness:
    return Witness(name, make_key(key or f"acme.example witness {name}").public, f"op-{name}")


def with_keys(lab: Any, *names: str) -> Any:
    """The lab on disk with keys of more witnesses, and its gate's."""
    for name in names:
        write_key(lab.path / "witness" / name / "key", make_key(f"acme.example witness {name}"), passphrase=None)
    write_key(lab.path / "gates" / "release" / "key", lab.lab.gate_keys["release"], passphrase=None)
    return lab


def moved(gate: FollowedLog, version: int) -> Any:
    """The gate's view once it has followed to targets `version`; the log may be a moment behind."""

    def probe() -> Any:
        try:
            view = gate.refresh()
        except KeyturnError:
            return None
        return view if view.trust.targets_version == version else None

    return wait_for(f"the gate to follow to targets {version}", probe)


def test_a_gate_follows_from_one_witness_to_three_and_to_three_others(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = with_keys(make_lab_on_disk(), "south", "west", "east")
    log = lab.lab.contents.log
    with ExitStack() as stack:
        north = stack.enter_context(ExitStack())
        north.enter_context(lab.witness("north"))
        _, url = stack.enter_context(lab.log())
        here = Running(lab, url)
        here.witnessed(1)
        _, gate_url = stack.enter_context(lab.serving("gate", "serve", "release", name="gate-release"))
        gate, late = here.gate(), here.gate()
        assert gate.refresh().checkpoint.cosigners == {"north"}  # type: ignore[union-attr]
        assert late.refresh().trust.targets_version == 1
        assert here.at_gate(gate_url) == FOLLOWS

        for name in ("south", "west"):
            stack.enter_context(lab.witness(name))
        here.publish(replace(log, witnesses=tuple(map(witness, ("north", "south", "west")))))
        here.witnessed(2)
        assert moved(gate, 2).checkpoint.cosigners >= {"north"}
        assert here.at_gate(gate_url) == FOLLOWS

        stack.enter_context(lab.witness("east"))
        here.publish(replace(log, witnesses=tuple(map(witness, ("south", "west", "east")))))
        here.witnessed(3)
        assert len(moved(gate, 3).checkpoint.cosigners) >= 2
        # Who slept through both changes needs all three quorums of one checkpoint, and north is still there for him.
        assert moved(late, 3).checkpoint.cosigners <= {"south", "west", "east"}
        assert here.at_gate(gate_url) == FOLLOWS

        north.close()  # retired: nothing that the newest quorum cosigns waits for it
        for number in range(4, 8):
            assert here.witnessed(number).cosigners <= {"south", "west", "east"}
        assert gate.refresh().checkpoint.cosigners <= {"south", "west", "east"}  # type: ignore[union-attr]
        assert here.at_gate(gate_url) == FOLLOWS


def test_a_gate_waits_for_the_old_quorum_and_goes_on_when_it_cosigns(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = with_keys(make_lab_on_disk(), "south")
    with ExitStack() as stack:
        north = stack.enter_context(ExitStack())
        north.enter_context(lab.witness("north"))
        process, url = stack.enter_context(lab.log())
        here = Running(lab, url)
        here.witnessed(1)
        gate = here.gate()
        before = gate.refresh()
        north.close()
        stack.enter_context(lab.witness("south"))
        here.publish(replace(lab.lab.contents.log, witnesses=(witness("south"),)))
        here.witnessed(2)  # in force for whoever begins now
        assert "north" in process.wait_for_line("handover-incomplete")
        with pytest.raises(Refused, match="checkpoint-old-quorum"):
            gate.refresh()
        assert here.gate().refresh().trust.targets_version == 2
        stack.enter_context(lab.witness("north"))
        here.witnessed(3)
        assert moved(gate, 2).frontier.size > before.frontier.size


def test_a_log_that_starts_again_in_the_midst_of_a_change_asks_the_witnesses_of_before(
    make_lab_on_disk: Callable[..., Any],
) -> None:
    lab = with_keys(make_lab_on_disk(), "south")
    with lab.witness("north"), lab.log() as (_, url):
        here = Running(lab, url)
        here.witnessed(1)
        here.publish(replace(lab.lab.contents.log, witnesses=(witness("south"),)))
    with lab.witness("south"):
        # South, who has seen nothing yet, cannot say whether this log was restored from an old backup.
        with lab.log() as (process, url):
            assert "expected 1 of 1 witnesses" in process.wait_for_line("witness-quorum")
            with pytest.raises(Unavailable, match="log-unconfirmed"):
                Running(lab, url).witnessed(2)
            with lab.witness("north"):
                assert wait_for("north to be asked", lambda: witnessed_or_none(Running(lab, url), 2)).cosigners == {
                    "south"
                }
        with lab.log() as (_, url):  # now south can
            assert wait_for("south to be asked", lambda: witnessed_or_none(Running(lab, url), 3)).cosigners == {"south"}


def test_the_logs_key_changes_under_a_gate_that_follows(make_lab_on_disk: Callable[..., Any]) -> None:
    lab = with_keys(make_lab_on_disk())
    draft = Draft(RootDraft.of(lab.lab.history.root), lab.lab.contents)
    TrustOnDisk(lab.path / "trust").swap_draft({}, draft.render())
    with ExitStack() as stack:
        north = stack.enter_context(ExitStack())
        north.enter_context(lab.witness("north"))
        served = stack.enter_context(ExitStack())
        _, url = served.enter_context(lab.log())
        here = Running(lab, url)
        here.witnessed(1)
        gate = here.gate()
        gate.refresh()

        made = typed(lab, "log", "new-key")
        named = Draft.parse(TrustOnDisk(lab.path / "trust").draft()).contents.log
        assert (named.key.text, made["file"]) == (made["key"], str(lab.path / "keys" / "log-2"))
        here.witnessed(2)  # nothing has changed yet
        here.publish(named)
        here.witnessed(3)
        assert moved(gate, 2).checkpoint.cosigners == {"north"}
        assert signers(here) == 2

        # The witness is told, the old key goes, and the log starts with the new one alone.
        north.close()
        served.close()
        assert typed(lab, "witness", "log-key", "north")["logs"] == {named.origin: named.key.text}
        (lab.path / "keys" / "log").unlink()
        north.enter_context(lab.witness("north"))
        _, url = served.enter_context(lab.log())
        again = Running(lab, url)
        assert wait_for("an answer", lambda: witnessed_or_none(again, 4)).cosigners == {"north"}
        assert signers(again) == 1
        assert again.gate().refresh().trust.targets_version == 2


def witnessed_or_none(here: Running, number: int) -> WitnessedCheckpoint | None:
    try:
        return here.witnessed(number)
    except KeyturnError:
        return None


def signers(here: Running) -> int:
    """How many keys of the log signed the checkpoint that readers get."""
    published = note.parse(here.log.checkpoint())
    origin = checkpoints.parse_body(published.text).origin
    return sum(made.name == origin for made in published.signatures)


def typed(lab: Any, *words: str) -> Any:
    arguments = [sys.executable, "-m", "keyturn", *words, "--lab", str(lab.path), "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_witnesses_that_whoever_signs_trust_runs_himself_move_no_gate(make_lab_on_disk: Callable[..., Any]) -> None:
    """The attackers have the threshold of trust keys, the log, its key and its disk; not the witnesses of before."""
    lab = with_keys(make_lab_on_disk(witnesses=("north", "south", "west")), "evil-1", "evil-2")
    with ExitStack() as stack:
        honest = stack.enter_context(ExitStack())
        for name in ("north", "south", "west"):
            honest.enter_context(lab.witness(name))
        _, url = stack.enter_context(lab.log())
        here = Running(lab, url)
        here.witnessed(1)
        _, gate_url = stack.enter_context(lab.serving("gate", "serve", "release", name="gate-release"))
        gate = here.gate()
        before = gate.refresh()
        assert here.at_gate(gate_url) == FOLLOWS
        honest.close()  # they cosign nothing of this: it is a fork that they never see

        for name in ("evil-1", "evil-2"):
            stack.enter_context(lab.witness(name))
        here.publish(replace(lab.lab.contents.log, witnesses=(witness("evil-1"), witness("evil-2"))))
        assert here.witnessed(2).cosigners == {"evil-1", "evil-2"}
        for _ in range(3):
            with pytest.raises(Refused, match="checkpoint-old-quorum"):
                gate.refresh()
            assert here.at_gate(gate_url) == "checkpoint-old-quorum"
        # One of three is no quorum of before, and the same note under the old definition is none.
        stack.enter_context(lab.witness("north"))
        here.witnessed(3)
        with pytest.raises(Refused, match="checkpoint-old-quorum"):
            gate.refresh()
        with pytest.raises(Refused, match="checkpoint-quorum"):
            verify_checkpoint(here.log.checkpoint(), before.trust.newest.log, now=None, skew_s=0)
