"""What is deleted is what was digested, all of it, and a process that died in between is gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files import disposing
from keyturn.bulk import manifest
from keyturn.errors import Refused

RECORD = "ab" * 32


def test_what_changed_since_it_was_digested_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("a")
    seen = manifest.look(tmp_path / "data")
    (tmp_path / "data" / "b").write_text("b")
    with pytest.raises(Refused, match="disposal-changed"):
        disposing.delete(tmp_path / "data", RECORD, seen)
    assert (tmp_path / "data" / "b").exists()
    assert disposing.begun(tmp_path / "data") is None


def test_it_goes_whole_of_any_mode_and_one_that_was_begun_is_found_by_its_record(tmp_path: Path) -> None:
    deep = tmp_path / "data" / "deep"
    deep.mkdir(parents=True)
    (deep / "a").write_text("a")
    seen = manifest.look(tmp_path / "data")
    deep.chmod(0o500)
    (tmp_path / "data").rename(disposing.going(tmp_path / "data", RECORD))
    assert disposing.begun(tmp_path / "data") == RECORD[:32]
    disposing.delete(tmp_path / "data", RECORD, None)
    (tmp_path / "file").write_text("x")
    disposing.delete(tmp_path / "file", RECORD, manifest.look(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []
    assert seen
