"""Read `keyturn.toml`, by which a directory is a lab's."""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.files.plain_files import read_plain
from keyturn.config import lab as lab_config
from keyturn.config.lab import LabConfig
from keyturn.errors import Usage

__all__ = ["read_lab_file"]

_BYTES_MAX = 64 * 1024


def read_lab_file(directory: Path) -> LabConfig:
    """The configuration of the lab in `directory`; `Usage` `lab-unknown` when there is none that can be read."""
    path = directory / "keyturn.toml"
    try:
        raw = read_plain(path, size_bytes_max=_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise Usage(
            "lab-unknown",
            f"expected a lab at `{directory}`, found no keyturn.toml there",
            hint="keyturn init, or name one with --lab PATH",
        ) from err
    except OSError as err:
        raise Usage(
            "lab-unknown",
            f"expected a lab at `{directory}`, and its keyturn.toml cannot be read: {err.strerror}",
            hint="look at its owner and mode, or name another lab with --lab PATH",
        ) from err
    return lab_config.parse(raw, where=str(path))
