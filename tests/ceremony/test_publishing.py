"""Publishing: what a crash leaves, two people at once, and only the root that was pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.app.trust.lab_trust import read_history
from keyturn.app.trust.publish_trust import publish_trust
from keyturn.app.trust.trust_log import trust_log
from keyturn.errors import Conflict, Refused

from .conftest import Ceremony


def test_a_pinned_root_is_the_only_one_that_is_read(founded: Ceremony) -> None:
    log = trust_log(pinned_sha256=None, store=founded.store, clock=founded.clock)
    assert trust_log(pinned_sha256=log.root_sha256, store=founded.store, clock=founded.clock) == log
    with pytest.raises(Refused, match="trust-root-not-pinned"):
        trust_log(pinned_sha256="0" * 64, store=founded.store, clock=founded.clock)


class PowerCut(Exception):  # noqa: N818
    """The machine stopped here."""


class CutStore(TrustOnDisk):
    """A store whose machine stops before its n-th write."""

    def __init__(self, directory: Path, writes: int) -> None:
        super().__init__(directory)
        self._left = writes

    def _write(self, path: Path, content: bytes) -> None:
        if self._left == 0:
            raise PowerCut
        self._left -= 1
        super()._write(path, content)


def test_a_crash_at_any_write_of_publish_leaves_what_the_same_command_finishes(founded: Ceremony) -> None:
    number = 1
    for cut in range(60):
        if not founded.store.staged():
            number += 1
            founded.clock.at += 1
            founded.propose(renew=True)
            founded.sign("ada")
            founded.sign("bob")
        try:
            publish_trust(
                store=CutStore(founded.trust, cut),
                log=founded.log,
                online=founded.lab_keys.read("online"),
                clock=founded.clock,
            )
            break
        except PowerCut:
            history = read_history(founded.store, pinned_sha256=None)  # what lies there is always a valid history
            assert history is not None
    else:
        pytest.fail("publish never finished")
    assert cut > 10
    history = read_history(founded.store, pinned_sha256=None)
    assert history is not None
    assert history.newest.targets_version == history.root.version == 2
    assert founded.store.staged() == ()
    assert len(founded.log.of_kinds(("rot", "tgt"))) == 4


def test_two_people_who_publish_at_once_do_not_fork(founded: Ceremony) -> None:
    founded.propose(renew=True)
    with pytest.raises(Conflict, match="trust-published-meanwhile"):
        founded.store.add_version(2, founded.store.staged()[0])
    with pytest.raises(Conflict, match="trust-published-meanwhile"):
        founded.store.add_version(9, founded.store.staged()[0])
    with pytest.raises(Conflict, match="trust-staged-meanwhile"):
        founded.store.swap_staged((), ())
    founded.store.add_version(2, founded.store.versions()[1])
