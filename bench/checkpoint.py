"""Hash a checkpoint while it is written to a sink that takes 1 GB/s, against writing it there alone.

The sink is a file in memory whose writes return as a synchronous device of that speed would let them: what was written is there,
and the device is free again. Its waiting takes no processor, as a device's does: hashing has what writing leaves of the cores.
Both sides write the same buffers through the same sink; ours through `Checkpoint.open`, which training jobs use.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from bench.measure import Row, paired, row
from keyturn.sdk.step import Checkpoint

SINK_BYTES_PER_S = 1e9
CHECKPOINT_BYTES = 1 << 30
ROUNDS = 5
_BEHIND_S = 0.002
"""How much a device catches up: a wait ends late by what the system's timer takes."""


class _Sink:
    """An unbuffered file that takes `SINK_BYTES_PER_S`, from its first write on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._free_at = time.perf_counter()

    def write(self, data: memoryview) -> int:
        self._free_at = max(self._free_at, time.perf_counter() - _BEHIND_S) + len(data) / SINK_BYTES_PER_S
        self._file.write(data)
        if (wait := self._free_at - time.perf_counter()) > 0:
            time.sleep(wait)
        return len(data)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


def run() -> list[Row]:
    """Measure large writes, as of tensors, and small ones."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-", dir=memory if memory.is_dir() else None) as room:
        return [
            *_rows(Path(room), 64 << 20, "writes of 64 MiB"),
            *_rows(Path(room), 256 << 10, "writes of 256 KiB"),
        ]


def _rows(room: Path, write_bytes: int, what: str) -> list[Row]:
    buffer = memoryview(bytearray(os.urandom(write_bytes)))

    def fill(write: Callable[[memoryview], object]) -> None:
        for _ in range(CHECKPOINT_BYTES // write_bytes):
            write(buffer)

    def hashed() -> None:
        checkpoint = Checkpoint(room)
        with checkpoint.open("shard") as file:
            file._file = cast("BinaryIO", _Sink(file._file))
            fill(file.write)
        (of_it,) = checkpoint.written()
        if of_it.size != CHECKPOINT_BYTES:
            raise AssertionError(f"hashed {of_it.size} bytes")
        (room / "shard").unlink()

    def alone() -> None:
        with (room / "shard").open("xb", buffering=0) as file:
            sink = _Sink(file)
            fill(sink.write)
            os.fsync(sink.fileno())
        (room / "shard").unlink()

    began = time.process_time()
    found = paired(hashed, alone, rounds=ROUNDS, calls=1)
    processor_s = (time.process_time() - began) / ROUNDS
    return [
        row(
            f"a checkpoint hashed while it is written to 1 GB/s, {what} / written alone",
            found.ratio,
            "x",
            at_most=1.1,
            peer=f"1 GiB alone {found.peer_s:.2f} s; both took {processor_s:.2f} s of processor time",
            spread=found.spread,
        )
    ]
