"""Hash as many files as an artifact may have, in a process of its own: what it takes in memory and time; and refuse one more.

The files lie in memory where the system has a place for that (`/dev/shm`), so that it is not the disk that is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Row, row
from keyturn.formats.manifest import FILES_MAX

FILES = 20_000
_IN_MEMORY = Path("/dev/shm")
_IN_A_DIRECTORY = 1000

_HASH = """
import resource, sys, time
from pathlib import Path
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
begin = time.perf_counter()
try:
    said = f"{len(manifest.contents(Path(sys.argv[1])).files)}"
except KeyturnError as err:
    said = err.code
print(said, time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(*, long: bool = False) -> list[Row]:
    """Measure; with `long` a million files, which takes some minutes and 2 GB."""
    files = FILES_MAX if long else FILES
    here = str(_IN_MEMORY) if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-", dir=here) as room:
        model = Path(room, "model")
        _make(model, files)
        said, took_s, mib = _hashed(model)
        if said != str(files):
            raise RuntimeError(f"expected {files} files, got {said}")
        rows = [
            row(f"memory to hash {files:,} files", mib, "MiB", at_most=1536),
            row(f"hash {files:,} files of some bytes, in memory", took_s * 1e6 / files, "us a file"),
        ]
        if long:
            (model / "one-more").touch()
            said, took_s, mib = _hashed(model)
            if said != "files-too-many":
                raise RuntimeError(f"expected a file more than {files} to be refused, got {said}")
            rows.append(row(f"refuse {files + 1:,} files", took_s, "s", peer=f"{mib:,.0f} MiB; no file is read"))
    return rows


def _make(model: Path, files: int) -> None:
    for first in range(0, files, _IN_A_DIRECTORY):
        part = model / f"{first:07}"
        part.mkdir(parents=True)
        for number in range(first, min(first + _IN_A_DIRECTORY, files)):
            (part / f"{number:07}.json").write_bytes(b"%d" % number)


def _hashed(model: Path) -> tuple[str, float, float]:
    asked = [sys.executable, "-c", _HASH, str(model)]
    said, took_s, mib = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    return said, float(took_s), float(mib)
