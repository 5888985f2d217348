"""Keep an attempt in a directory that all ranks of a job see: its request, its key, its checkpoints, and what the log lacks.

    request        the signed step request, as the log has it
    key.pem        the attempt's key, mode 0600, until the attempt is closed
    step.toml      the STEP.toml that was signed with it
    attempt.json   where inputs, outputs and the lab are, and how the inputs looked when they were digested
    inputs/        copies of inputs that are no paths, by name, which the job is not to write to
    out/           the outputs, while they are made
    checkpoints/   where checkpoints go whose place nobody names
    parts/         what each rank wrote of a checkpoint, until it is whole
    closing        the signed statement of what came out, from the moment at which the attempt is being closed
    segments/      the signed statement of each checkpoint, `<number>`, beside `<number>.json`: where it is, whether it is logged

A checkpoint is a segment once its files are durable and its statement is: a job that dies before loses that checkpoint, and
nothing else. What `attempt.json` says of inputs goes into what is signed. Whoever can write there can read the key beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.key_files import read_key, write_key
from keyturn.bulk import manifest, runtime
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Unavailable, Usage, together
from keyturn.formats.built import built
from keyturn.formats.manifest import HashedFile
from keyturn.formats.provenance import NOWHERE, Origin

__all__ = [
    "INPUTS",
    "AttemptFiles",
    "Held",
    "Kept",
    "Place",
    "hold_input",
    "hold_runtime",
    "make_read_only",
    "require_held",
]

T = TypeVar("T")

INPUTS = "inputs"
_BYTES_MAX = 64 << 20
_LOOK_EVERY_S = 0.2

Looked = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Held(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that went in: where it is, its digest, how it looked when that was computed, and whence a copy was taken."""

    path: str
    digest: str
    looked: Looked
    origin: Origin = NOWHERE


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`attempt.json`. `lab` is the lab's directory or address; `outputs` and `destination` say where outputs go in the end."""

    version: int = 1
    lab: str
    base: str
    destination: str
    inputs: dict[str, Held]
    runtime: dict[str, Held]
    outputs: dict[str, str]
    started_at: int


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One checkpoint of an attempt: `path` is where it was written."""

    number: Annotated[int, Meta(ge=1)]
    digest: str
    path: str
    bytes: int
    record: str
    logged: bool


def hold_input(path: Path, *, progress: manifest.Progress | None = None) -> Held:
    """Digest the artifact at `path`, and remember how it looked before it was read."""
    looked = _looked_input(path)
    return Held(path=str(path), digest=str(manifest.contents(path, progress=progress).identity), looked=looked)


def make_read_only(path: Path) -> None:
    """Take the right to write from every file at and below `path`: against mistakes of a job, not against its will."""
    for place in (path, *path.rglob("*")):
        if place.is_file():
            place.chmod(place.stat().st_mode & 0o555)


def hold_runtime(path: Path) -> Held:
    """Digest the runtime at `path`."""
    looked = _looked_runtime(path)
    return Held(path=str(path), digest=str(runtime.make(path, {}).digest), looked=looked)


def require_held(inputs: Mapping[str, Held], runtimes: Mapping[str, Held]) -> None:
    """Check that what was held is what it was: by how it looks, else by reading it again."""
    wrong = list[KeyturnError]()
    for name, held in inputs.items():
        path = Path(held.path)
        try:
            if _looked_input(path) != held.looked and str(manifest.contents(path).identity) != held.digest:
                raise Refused(
                    "input-changed",
                    f"input `{name}` at `{path}` changed while the job ran",
                    hint="find out who changed it; what was made from it has no custody",
                )
        except KeyturnError as err:
            wrong.append(err)
    for name, held in runtimes.items():
        path = Path(held.path)
        try:
            if _looked_runtime(path) != held.looked and str(runtime.make(path, {}).digest) != held.digest:
                raise Refused("runtime-changed", f"runtime `{name}` changed while the job ran", hint="run it again")
        except KeyturnError as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)


class AttemptFiles:
    """The attempt in `directory`. Ranks write parts; one process at a time, the first rank's or a person's, does the rest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def require_new(self) -> None:
        """Raise `Conflict` `attempt-exists` when something is there."""
        if os.path.lexists(self.directory):
            raise _exists(self.directory)

    def create(
        self, request: bytes, key: SoftwareKey, place: Place, step_file: bytes, *, inputs: Path | None = None
    ) -> None:
        """Make the directory, durably, with what was copied to `inputs`; `Conflict` `attempt-exists` when something is there."""
        try:
            durable_files.make_directories(self.directory.parent)
            self.directory.mkdir(mode=0o700)
            for name in ("out", "checkpoints", "parts", "segments"):
                (self.directory / name).mkdir()
            if inputs is not None:
                inputs.rename(self.directory / INPUTS)
        except FileExistsError as err:
            raise _exists(self.directory) from err
        except OSError as err:
            raise _unwritable(self.directory, err) from err
        write_key(self.directory / "key.pem", key, passphrase=None)
        self._keep("request", request)
        self._keep("step.toml", step_file)
        self._keep("attempt.json", msgspec.json.encode(place))

    @property
    def request(self) -> bytes:
        return self._read("request")

    @property
    def step_file(self) -> bytes:
        return self._read("step.toml")

    @property
    def place(self) -> Place:
        return self._decoded("attempt.json", Place)

    def key(self) -> SoftwareKey:
        """The attempt's key; `Refused` `attempt-closed` when it is gone."""
        if not (self.directory / "key.pem").exists():
            raise Refused(
                "attempt-closed",
                f"the attempt in `{self.directory}` is closed: its key is gone, and nothing more is said by it",
                hint="keyturn step resume begins another attempt from its newest checkpoint",
            )
        return read_key(self.directory / "key.pem", passphrase=None)

    def closing(self) -> bytes | None:
        """The statement of what came out, if somebody began to close the attempt."""
        return self._read("closing") if (self.directory / "closing").exists() else None

    def keep_closing(self, statement: bytes) -> None:
        self._keep("closing", statement)

    def publish(self, destination: Path, more: Mapping[str, bytes]) -> None:
        """Put the outputs, with `more` small files, at `destination`, all at once."""
        made = self.directory / "out"
        for name, content in more.items():
            self._keep(f"out/{name}", content)
        made.chmod(0o755)
        try:
            made.rename(destination)
        except OSError as err:
            raise Unavailable(
                "destination-unwritable",
                f"`{made}` cannot become `{destination}`: {err.strerror}",
                hint="an attempt's directory lies on the file system of its outputs: --attempt DIR, when it is opened",
            ) from err
        durable_files.sync_directory(destination.parent)

    def forget_key(self) -> None:
        (self.directory / "key.pem").unlink(missing_ok=True)
        durable_files.sync_directory(self.directory)

    def keep_part(self, checkpoint: str, rank: int, files: Sequence[HashedFile]) -> None:
        """Keep what `rank` wrote of the checkpoint at the path `checkpoint`."""
        self._keep(f"parts/{_short(checkpoint)}/{rank}", msgspec.json.encode(list(files)))

    def parts(self, checkpoint: str, ranks: int, *, within_s: float) -> Mapping[str, HashedFile]:
        """Wait until each rank is done with the checkpoint, and give all that they wrote, by path.

        Raises `Unavailable` `checkpoint-incomplete` when one is not within `within_s`, `Refused` when two wrote one file.
        """
        until = time.monotonic() + within_s
        missing = set(range(ranks))
        while missing := {rank for rank in missing if not self._part(checkpoint, rank).exists()}:
            if time.monotonic() > until:
                raise Unavailable(
                    "checkpoint-incomplete",
                    f"rank {min(missing)} was not done with `{checkpoint}` within {within_s:.0f} s",
                    hint="is that rank alive? the checkpoint before this one stands",
                )
            time.sleep(_LOOK_EVERY_S)
        found: dict[str, HashedFile] = {}
        for rank in range(ranks):
            for file in self._decoded(f"parts/{_short(checkpoint)}/{rank}", list[HashedFile]):
                if file.path in found:
                    raise Refused("checkpoint-file-twice", f"two ranks wrote `{file.path}` of `{checkpoint}`")
                found[file.path] = file
        return found

    def forget_parts(self, checkpoint: str, ranks: int) -> None:
        for rank in range(ranks):
            self._part(checkpoint, rank).unlink(missing_ok=True)

    def segments(self) -> tuple[Kept, ...]:
        """Every checkpoint, by number."""
        numbers = sorted(int(path.stem) for path in (self.directory / "segments").glob("*.json"))
        return tuple(self._decoded(f"segments/{number:06}.json", Kept) for number in numbers)

    def keep_segment(self, kept: Kept, statement: bytes | None = None) -> None:
        """Keep a checkpoint's `statement`, or that it is logged now."""
        if statement is not None:
            self._keep(f"segments/{kept.number:06}", statement)
        self._keep(f"segments/{kept.number:06}.json", msgspec.json.encode(kept))

    def statement(self, kept: Kept) -> bytes:
        return self._read(f"segments/{kept.number:06}")

    def require_held(self) -> None:
        """Check that inputs and runtimes are what they were: by how they look, else by reading them again."""
        require_held(self.place.inputs, self.place.runtime)

    def _part(self, checkpoint: str, rank: int) -> Path:
        return self.directory / "parts" / _short(checkpoint) / str(rank)

    def _keep(self, name: str, content: bytes) -> None:
        try:
            durable_files.replace(self.directory / name, content, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise _unwritable(self.directory / name, err) from err

    def _read(self, name: str) -> bytes:
        path = self.directory / name
        try:
            with path.open("rb") as file:
                return file.read(_BYTES_MAX)
        except OSError as err:
            raise Usage(
                "attempt-unknown",
                f"expected an attempt in `{self.directory}`: `{name}`: {err.strerror}",
                hint="keyturn step open STEP.toml begins one; KEYTURN_STEP names its directory",
            ) from err

    def _decoded(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self._read(name), type=built(kind))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
            raise Malformed("attempt-invalid", f"`{self.directory / name}`: {err}") from err


def _exists(directory: Path) -> Conflict:
    return Conflict(
        "attempt-exists",
        f"`{directory}` is there already, and nothing is overwritten",
        hint="keyturn step resume goes on from it; --attempt DIR begins elsewhere",
    )


def _short(checkpoint: str) -> str:
    return sha256(os.fsencode(checkpoint)).hexdigest()[:32]


def _looked_input(path: Path) -> str:
    """How an artifact looks, wherever it is mounted: names, sizes and times of what is there, without reading it."""
    return _digest([(file.path, *file.status[3:]) for file in manifest.look(path)])


def _looked_runtime(path: Path) -> str:
    # Python writes byte code beside what it runs, which changes nothing of what that does.
    kept = ((name, *status[3:]) for name, status in runtime.look(path).items() if "__pycache__/" not in name)
    return _digest(sorted(kept))


def _digest(listing: Sequence[tuple[str | int, ...]]) -> str:
    return sha256(msgspec.json.encode(listing)).hexdigest()


def _unwritable(path: Path, err: OSError) -> Unavailable:
    return Unavailable("attempt-unwritable", f"`{path}` cannot be written: {err.strerror}", hint="free space there")
