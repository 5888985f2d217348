"""Hash a 2 GiB model in 8 files from the page cache, against the same two digests over raw memory on all cores.

The peer reads no file: as many threads as cores take SHA-256 and BLAKE3 of blocks of one buffer in memory, 2 GiB in all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from blake3 import blake3

from bench.measure import Row, paired, row
from keyturn.bulk import manifest
from keyturn.bulk.threads import cores, on_all_cores

FILES = 8
FILE_BYTES = 256 << 20
ROUNDS = 7
_BLOCK = 1 << 20


def run() -> list[Row]:
    """Measure the manifest of a model, of one big file, and of many small ones."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as room:
        model = Path(room, "model")
        model.mkdir()
        for number in range(FILES):
            (model / f"model-{number}.safetensors").write_bytes(os.urandom(FILE_BYTES))
        memory = memoryview(bytearray(os.urandom(FILE_BYTES)))
        whole = paired(
            lambda: manifest.make(model), lambda: on_all_cores(_raw, [memory] * FILES), rounds=ROUNDS, calls=1
        )
        one = paired(
            lambda: manifest.make(model / "model-0.safetensors"), lambda: _sha256(memory), rounds=ROUNDS, calls=1
        )
        small = Path(room, "small")
        small.mkdir()
        for number in range(5000):
            (small / f"{number}.txt").write_bytes(b"%d" % number)
        many = paired(lambda: manifest.make(small), lambda: _plain(small), rounds=ROUNDS, calls=1)
    speed = FILES * FILE_BYTES / whole.ours_s / 1e9
    return [
        row(
            "manifest of 2 GiB in 8 files, warm, both digests",
            whole.rate_ratio,
            "x",
            at_least=0.85,
            peer=f"both digests over raw memory on {cores()} threads; ours {speed:.2f} GB/s",
            spread=whole.spread,
        ),
        row(
            "manifest of one 256 MiB file",
            one.rate_ratio,
            "x",
            peer="SHA-256 of raw memory, one thread",
            spread=one.spread,
        ),
        row("manifest of 5,000 small files", many.ratio, "x", peer="open, read, SHA-256 of each", spread=many.spread),
    ]


def _raw(memory: memoryview) -> None:
    sha, blake = hashlib.sha256(), blake3()
    for start in range(0, len(memory), _BLOCK):
        block = memory[start : start + _BLOCK]
        sha.update(block)
        blake.update(block)
    sha.digest()
    blake.digest()


def _sha256(memory: memoryview) -> None:
    hashlib.sha256(memory).digest()


def _plain(directory: Path) -> None:
    for path in directory.iterdir():
        hashlib.sha256(path.read_bytes()).digest()
