"""A builder believes no log that says it has a record: the witnesses must have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.outbox_files import OutboxFiles
from keyturn.app.custody.witnessed_writer import WitnessedWriter
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats import dsse
from support.labs import NOW
from support.world import Witnessed, World, make_world


class Now:
    def now(self) -> int:
        return NOW


class Saying(Witnessed):
    """A log that says that it has what it is given; while `drops`, it has nothing of the kind."""

    def __init__(self, world: World, *, drops: bool) -> None:
        super().__init__(world)
        self.drops = drops

    def append(self, envelope: bytes) -> int:
        return 1 if self.drops else self._world.log.append(envelope)


def writer(world: World, log: Saying) -> WitnessedWriter:
    return WitnessedWriter(log, trust=lambda: world.lab.state, clock=Now(), pause=lambda seconds: None, deadline_s=0.5)


def test_what_is_witnessed_is_logged(tmp_path: Path) -> None:
    world = make_world()
    asked = dsse.render(world.ask(submit=False))
    assert writer(world, Saying(world, drops=False)).append(asked) == world.log.settle().size - 1


def test_what_the_log_only_says_it_has_is_kept_and_sent_again(tmp_path: Path) -> None:
    world = make_world()
    failed = dsse.render(world.ask(submit=False))
    log = Saying(world, drops=True)
    outbox = OutboxFiles(tmp_path / "outbox", writer(world, log))
    with pytest.raises(KeyturnError):
        outbox.send((failed,))
    assert outbox.waits()
    with pytest.raises((Unavailable, KeyturnError)):
        outbox.resume()
    log.drops = False
    assert outbox.resume() == 1
    assert world.log.envelope(world.log.by_record("")[-1].envelope) == failed
    assert not outbox.waits()
