"""Be a step in a program: take what was declared, and have each checkpoint logged as it is written, in a job of any size.

    step = keyturn.open_step()                                 # KEYTURN_STEP, which `keyturn step open` printed
    data = step.input("data")
    with step.checkpoint("step-1000") as checkpoint:           # on every rank
        with checkpoint.open("shard-3.bin") as file:           # hashed while it is written
            torch.save(shard, file)

The first rank waits for the others, signs what the checkpoint is, and has it logged; a job that dies afterwards goes on from it
(`keyturn step resume`). In a sandbox of the lab's builder the same program runs as it is: inputs and outputs are there, and its
checkpoints are nobody's business. Guide: docs/guide/training.md.

This is NOT what makes a step trustworthy: what a job says of itself is its member's word, level 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from keyturn.adapters.files.attempt_files import AttemptFiles
from keyturn.bulk.hash_while_writing import HashingFile
from keyturn.errors import Usage
from keyturn.formats.manifest import HashedFile, check_names
from keyturn.wiring.custody.attempts import StepPlaces, commit_checkpoint, find_step

__all__ = ["Checkpoint", "Step", "open_step"]

_WAIT_S = 1800.0


class Checkpoint:
    """A checkpoint that this rank writes its part of. Made by `Step.checkpoint`; not for several threads.

    `path` is its directory, the same on every rank. After the block, on the first rank of an attempt: `digest`, `number`, and
    `logged`, which is False while the log cannot be reached.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest: str | None = None
        self.number: int | None = None
        self.logged = False
        self._open: list[HashingFile] = []

    def open(self, name: str) -> HashingFile:
        """Begin the new file `name`, a relative path with `/`, and hash what is written. It is durable when it is closed.

        What others write into `path` is read and hashed by the first rank. Raises `Malformed` for a `name` that no artifact may
        have, `FileExistsError` when it is taken.
        """
        check_names([name])
        place = self.path / PurePosixPath(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        file = HashingFile(place, name)
        self._open.append(file)
        return file

    def written(self) -> list[HashedFile]:
        """What this rank wrote by `open`, with every file closed."""
        for file in self._open:
            file.close()
        return [file.hashed for file in self._open]


class Step:
    """The step that this process is a part of. Made by `open_step`. `rank` counts from 0, and there are `ranks`."""

    def __init__(self, places: StepPlaces, attempt: AttemptFiles | None, *, rank: int, ranks: int) -> None:
        self._places = places
        self._attempt = attempt
        self.rank = rank
        self.ranks = ranks

    def input(self, name: str) -> Path:
        """Where the declared input `name` is. It is not to be written to: that it did not change is looked at in the end."""
        return _named(name, self._places.inputs, "input")

    def output(self, name: str) -> Path:
        """Where the declared output `name` is to be made: a file or a directory, which is not there yet."""
        return _named(name, self._places.outputs, "output")

    @contextmanager
    def checkpoint(self, path: str | os.PathLike[str], *, wait_s: float = _WAIT_S) -> Iterator[Checkpoint]:
        """Write a checkpoint at `path`: a directory that all ranks see; a relative one lies in the attempt's directory.

        Every rank enters the block for the same `path`. The first rank, as it leaves, waits up to `wait_s` for the others; then
        the checkpoint is signed and kept: from there on a crash does not lose it. A block that raises leaves no checkpoint.
        Raises `Unavailable` `checkpoint-incomplete` when a rank is missing, `Refused` when two wrote the same file, or when one
        is not there as it was written.
        """
        written = Checkpoint(self._places.checkpoints / path)
        written.path.mkdir(parents=True, exist_ok=True)
        yield written
        files = written.written()
        if self._attempt is None:
            return
        self._attempt.keep_part(str(written.path), self.rank, files)
        if self.rank != 0:
            return
        kept = commit_checkpoint(self._attempt, written.path, self.ranks, within_s=wait_s)
        written.digest, written.number, written.logged = kept.digest, kept.number, kept.logged

    def keep(self, path: str | os.PathLike[str]) -> Checkpoint:
        """Log as a checkpoint the file or directory at `path`, which is whole; it is read and hashed. For the first rank alone.

        On every other rank nothing happens. Raises what `checkpoint` raises.
        """
        written = Checkpoint(self._places.checkpoints / path)
        if self._attempt is not None and self.rank == 0:
            kept = commit_checkpoint(self._attempt, written.path, 0, within_s=0)
            written.digest, written.number, written.logged = kept.digest, kept.number, kept.logged
        return written


def open_step(*, rank: int | None = None, ranks: int | None = None) -> Step:
    """The step that this process is a part of, as the environment says.

    `KEYTURN_STEP` is the directory that `keyturn step open` made; in a builder's sandbox, `KEYTURN_IN` and `KEYTURN_OUT` say
    where things are. `rank` and `ranks` default to RANK and WORLD_SIZE, as torchrun and most schedulers set them, and to one.
    Raises `Usage` `step-not-open` when there is no step, or no attempt at that place.
    """
    rank = int(os.environ.get("RANK", "0")) if rank is None else rank
    ranks = int(os.environ.get("WORLD_SIZE", "1")) if ranks is None else ranks
    if not 0 <= rank < ranks:
        raise Usage("step-rank", f"expected a rank from 0 to {ranks - 1}, got {rank}", hint="RANK and WORLD_SIZE")
    places, attempt = find_step(os.environ)
    return Step(places, attempt, rank=rank, ranks=ranks)


def _named(name: str, there: Mapping[str, Path], what: str) -> Path:
    if name not in there:
        raise Usage(
            f"step-{what}",
            f"expected an {what} that the STEP.toml declares, got `{name[:80]}`",
            hint=f"it declares {', '.join(sorted(there))}",
        )
    return there[name]
