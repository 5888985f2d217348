"""A witness's memory outlives a loss of power: one that forgot would cosign a fork. What stores promise is in `contracts`."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.witness_files import WitnessFiles
from keyturn.errors import Tampered
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats.checkpoint import Checkpoint
from support.power import Power

ORIGIN = "log.acme.example"


def note_of(size: int, root: bytes) -> bytes:
    return checkpoints.render_body(Checkpoint(ORIGIN, size, root)) + f"\n— {ORIGIN} AAAAAAAA\n".encode()


@pytest.mark.parametrize(
    "there",
    [
        pytest.param((), id="into directories that were not there"),
        pytest.param(("witness",), id="into a directory whose maker died before its name was durable"),
        pytest.param(("witness/state",), id="beside a memory whose maker died before its name was durable"),
    ],
)
def test_a_witness_that_lost_its_power_remembers_what_it_cosigned(
    tmp_path: Path, power: Power, there: tuple[str, ...]
) -> None:
    for place in there:
        (tmp_path / "witness").mkdir()
        power.begin()
        (tmp_path / place).mkdir(exist_ok=True)
    witness = WitnessFiles(tmp_path / "witness")
    note = note_of(5, b"\1" * 32)
    witness.swap(ORIGIN, None, note)
    power.cut()
    witness.close()
    witness = WitnessFiles(tmp_path / "witness")
    assert witness.read(ORIGIN) == note
    with pytest.raises(Tampered, match="checkpoint-fork"):
        witness.swap(ORIGIN, note, note_of(5, b"\2" * 32))
    witness.keep_evidence(ORIGIN, b"a fork")
    power.cut()
    witness.close()
    assert len(list((tmp_path / "witness" / "evidence").iterdir())) == 1
