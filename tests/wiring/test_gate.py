"""How the release gate follows the log: with its own nonce, its own root, and only ever stricter than targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from keyturn.config.gate import GateConfig
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.wiring.gate import FollowedLog, hash_model
from support.world import World, make_world


@dataclass
class Published:
    """The world's log, as its service shows it: everything is cosigned at once, at the time of the gate's clock."""

    world: World
    at: int

    def checkpoint(self) -> bytes:
        return self.world.note(at=self.at)

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self.world.log.leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self.world.log.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self.world.log.envelope(digest)

    def append(self, envelope: bytes) -> int:
        return self.world.log.append(envelope)


@pytest.fixture
def world() -> World:
    return make_world()


def config(world: World) -> GateConfig:
    return GateConfig(name="release", resource=world.gate, service=None, pinned_root=world.lab.root_sha256)


def followed(
    world: World, made: GateConfig | None = None, *, now: int | None = None, at: int | None = None
) -> FollowedLog:
    now = world.now if now is None else now
    log = Published(world, now if at is None else at)
    found = FollowedLog(made or config(world), world.lab.gate_keys["release"], world.lab.root_json, log)
    found._clock = _Clock(now)  # noqa: SLF001  # the test's time, instead of the machine's
    return found


@dataclass
class _Clock:
    at: int

    def now(self) -> int:
        return self.at


def test_a_gate_logs_a_nonce_and_believes_a_view_that_has_it(world: World) -> None:
    gate = followed(world)
    view = gate.refresh()
    assert view.nonce_seen
    size = world.log.settle().size
    assert gate.refresh().frontier.size == size  # once an hour is enough


def test_after_an_hour_it_logs_another_nonce(world: World) -> None:
    gate = followed(world)
    gate.refresh()
    size = world.log.settle().size
    gate._clock.at += 3600  # type: ignore[attr-defined]  # noqa: SLF001
    gate._log.at += 3600  # type: ignore[attr-defined]  # noqa: SLF001
    assert gate.refresh().frontier.size == size + 1


def test_a_gate_with_another_pinned_root_does_not_start(world: World) -> None:
    with pytest.raises(Refused):
        followed(world, replace(config(world), pinned_root="0" * 64))


def test_gate_toml_may_ask_for_more_witnesses_and_for_fresher_checkpoints(world: World) -> None:
    with pytest.raises(Refused) as caught:
        followed(world, replace(config(world), witnesses_min=2)).refresh()
    assert caught.value.code == "gate-witnesses"
    with pytest.raises(Refused) as caught:
        followed(world, replace(config(world), log_age_max_s=10), at=world.now - 30).refresh()
    assert caught.value.code == "view-stale"


def test_a_record_is_awaited_until_the_view_has_it(world: World) -> None:
    gate = followed(world)
    asked = world.ask()
    raw = world.log.envelope(world.log.by_record(asked.record_digest)[0].envelope)
    index = world.log.by_record(asked.record_digest)[0].index
    gate.await_witnessed(index, raw)
    with pytest.raises(Refused):
        gate.await_witnessed(0, raw)
    assert records.parse(raw).digest == asked.record_digest


def test_a_log_that_shows_less_than_before_is_not_followed(world: World) -> None:
    gate = followed(world)
    gate.refresh()
    fresh = make_world()
    gate._log.world = fresh  # type: ignore[attr-defined]  # noqa: SLF001
    with pytest.raises(KeyturnError):
        gate.refresh()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    place = tmp_path / "models"
    (place / "aurora").mkdir(parents=True)
    (place / "aurora" / "w").write_bytes(b"w")
    return place


def test_a_gate_hashes_models_below_its_directories_only(models: Path, tmp_path: Path) -> None:
    assert hash_model(str(models / "aurora"), (str(models),)).algorithm == "dirHash"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "w").write_bytes(b"w")
    (models / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere", models / "link", models / ".." / "elsewhere", models):
        with pytest.raises(Refused):
            hash_model(str(path), (str(models),))
    with pytest.raises(Refused):
        hash_model(str(models / "aurora"), ())
