"""What a release gate hashes itself: models below its own directories, reached without a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.errors import Refused
from keyturn.wiring.gates.release import hash_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    place = tmp_path / "models"
    (place / "aurora").mkdir(parents=True)
    (place / "aurora" / "w").write_bytes(b"w")
    return place


def test_a_gate_hashes_models_below_its_directories_only(models: Path, tmp_path: Path) -> None:
    assert hash_model(str(models / "aurora"), (str(models),)).identity.algorithm == "dirHash"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "w").write_bytes(b"w")
    (models / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere", models / "link", models / ".." / "elsewhere", models):
        with pytest.raises(Refused):
            hash_model(str(path), (str(models),))
    with pytest.raises(Refused):
        hash_model(str(models / "aurora"), ())
