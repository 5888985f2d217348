"""Hold a step's inputs, keep its outputs in a place of their own until all is well, and publish them in one rename.

Inputs and outputs lie in the work directories that whoever runs the builder allowed, runtimes in theirs, and none of them
in, or around, a private place (the lab, a home): a member who may run steps may not make the builder read or write there.
Staging is a directory beside the destination, `.<name>.<token>.keyturn`, of mode 0700; it goes when the block ends, unless
it is left for the process that goes on with the run. What a process that was killed left beside the same destination goes
with the next run, unless that is a builder's, which goes on with it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from keyturn.adapters.files import durable_files, settling
from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.files.clearing import clear
from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.files.remembered_inputs import RememberedInputs
from keyturn.adapters.files.runtime_memory import RuntimeMemory
from keyturn.adapters.files.staging import Staging
from keyturn.adapters.inputs.held_inputs import HeldInputs
from keyturn.adapters.inputs.oci_place import ANONYMOUS, OciPlace
from keyturn.adapters.inputs.s3_place import S3Place
from keyturn.bulk import manifest, runtime
from keyturn.bulk.differences import differences
from keyturn.bulk.manifest import Found, Progress
from keyturn.bulk.unchanged import directories
from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable, Usage
from keyturn.formats import input_source
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.input_source import PathSource
from keyturn.formats.manifest import Contents
from keyturn.formats.provenance import NOWHERE
from keyturn.formats.steps import Check
from keyturn.ports import HeldInput, StepMount

__all__ = ["LocalStepFiles", "require_free", "room_of", "unreadable_input"]

_TOOLS = {"PATH": "/usr/bin:/bin"}


class LocalStepFiles:
    """`ports.StepFiles` on this machine's disk, for one run; a context manager that leaves nothing behind."""

    def __init__(
        self,
        *,
        base: Path,
        destination: Path,
        allowed: Allowed,
        memory: RuntimeMemory | None,
        progress: Progress | None,
        sources: tuple[str, ...] = (),
        s3: S3Place | None = None,
        oci: OciPlace = ANONYMOUS,
        room: str | None = None,
        held: RememberedInputs | None = None,
    ) -> None:
        """`room` is the token of a staging directory that an earlier process of this run may have made; `held`, what it read."""
        self._base = base
        self._allowed = allowed
        self._elsewhere = HeldInputs(base, self._check_input, sources, s3, oci)
        self._memory = memory
        self._progress = progress
        self._destination = destination.parent.resolve() / destination.name
        require_free(self._destination)
        allowed.check(self._destination, what="destination", roots=allowed.work)
        self._again = room is not None
        self._named = room_of(self._destination, room or secrets.token_hex(8))
        self._left = False
        self._remembered = held
        self._given: dict[str, Path] = {}
        self._held: list[tuple[Path, tuple[Found, ...]]] = []
        self._directories: list[tuple[tuple[int, ...], ...]] = []
        self._manifests: dict[str, Contents] = {}
        self._runtimes: list[tuple[Path, dict[str, runtime.Status]]] = []

    def __enter__(self) -> Self:
        try:
            durable_files.make_directories(self._named.parent, mode=0o777)
            _remove_dead(self._destination)
        except OSError as err:
            raise Unavailable("destination-unwritable", f"`{self._named.parent}`: {err.strerror}") from err
        self._staging = Staging(self._named, again=self._again)
        self._room = self._staging.inside
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._left:
            self._staging.remove()
        self._staging.close()

    def leave(self) -> None:
        """Keep the staging directory when the block ends, for the process that goes on with this run."""
        self._left = True

    def put_input(self, source: str, content: bytes) -> None:
        """Keep `content` as the input that `hold_input(source)` gives. `source` is no path: it begins with NUL."""
        place = self._room / "given" / source.removeprefix("\0")
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
        self._given[source] = place

    def hold_input(self, source: str, check: Check) -> HeldInput:
        """See `ports.StepFiles`. `on_read` is refused: nobody watches a step's reads on a single machine."""
        given = self._given.get(source)
        named = PathSource(source) if given is not None else input_source.parse(source)
        if check == "on_read":
            raise Refused("step-check", "`on_read` cannot be had here: say `full`, or `snapshot` for a private copy")
        origin = NOWHERE
        if isinstance(named, PathSource):
            path = given or self._check_input(self._base / source)
            if check == "snapshot":
                copy = self._place_for_input(path.name)
                if not self._knows(copy):
                    _copy(path, _emptied(copy))
                path = copy
        elif check != "snapshot":
            raise Refused(
                "step-check",
                f"expected the input `{source[:200]}` to be taken as a `snapshot`, got `{check}`",
                hint="leave `check` out of its table",
            )
        else:
            path = _emptied(self._place_for_input("input"))
            try:
                origin = self._elsewhere.hold(named, path, progress=self._progress)
            except OSError as err:
                raise unreadable_input(source, err) from err
        found = manifest.look(path)  # before it is read: `check_held` covers the reading too
        self._held.append((path, found))
        self._directories.append(directories(path))
        called = self._staging.name_of(path)
        known = None if self._remembered is None else self._remembered.recall(called, found)
        self._manifests[source] = known or manifest.contents(path, progress=self._progress, listed=found)
        if known is None and self._remembered is not None:
            self._remembered.keep(called, found, self._manifests[source])
        return HeldInput(self._manifests[source].identity, str(called), origin)

    def read_beside(self, path: str, *, size_bytes_max: int) -> bytes:
        return read_small(self._check_input(self._base / path), size_bytes_max=size_bytes_max)

    def _check_input(self, path: Path) -> Path:
        return self._allowed.check(path, what="input", roots=self._allowed.work)

    def _place_for_input(self, name: str) -> Path:
        return self._room / "inputs" / str(len(self._held)) / name

    def _knows(self, path: Path) -> bool:
        return (
            self._remembered is not None
            and path.exists()
            and self._remembered.recall(self._staging.name_of(path), manifest.look(path)) is not None
        )

    def hold_runtime(self, path: str) -> tuple[ArtifactDigest, str]:
        place = Path(os.path.normpath(self._base / path))
        real = self._allowed.check(place, what="runtime", roots=self._allowed.runtime)
        known = self._memory.recall(real) if self._memory is not None else {}
        found = runtime.make(real, known)
        if self._memory is not None and found.entries != known:
            self._memory.keep(real, found.entries)
        self._runtimes.append((real, {path: entry.status for path, entry in found.entries.items()}))
        return found.digest, str(place)

    def staging(self, resume: str | None) -> tuple[str, ArtifactDigest | None]:
        place = self._room / "out"
        place.mkdir(exist_ok=True)
        kept = None if resume is None else self._staged(resume)
        for entry in place.iterdir():
            if entry != kept:
                clear(entry)
        named = str(self._staging.name_of(place))
        if kept is None or not os.path.lexists(kept):
            return named, None
        try:
            settling.settle(kept)
            return named, manifest.contents(kept, progress=self._progress).identity
        except (KeyturnError, OSError):  # torn, or no plain files: the command begins as it did the first time
            clear(kept)
            return named, None

    def check_mounted(self, seen: Callable[[str], Path], mounts: Sequence[StepMount]) -> None:
        """Compare what is at each place of a sandbox, as `seen` there, with what was held and staged under the names given.

        INVARIANT: a name in a work directory leads where its owner likes, at each moment: so to a private place after it was
        looked at, for as long as it takes to mount it.
        """
        held = {str(self._staging.name_of(path)): index for index, (path, _) in enumerate(self._held)}
        for mount in mounts:
            index = held[mount.source]
            place, before = self._held[index]
            try:
                now_there = manifest.look(seen(mount.target))
            except (KeyturnError, OSError) as err:
                raise _other_mounted(place, mount.target) from err
            if [(f.path, f.status) for f in now_there] != [(f.path, f.status) for f in before] and not (
                len(before) == len(now_there) == 1 and before[0].status == now_there[0].status
            ):
                raise _other_mounted(place, mount.target)
        out, own = seen("/out").stat(), (self._room / "out").stat()
        if (out.st_dev, out.st_ino) != (own.st_dev, own.st_ino):
            raise _other_mounted(self._named, "/out")

    def check_held(self) -> None:
        """Compare with what was held. A runtime may have gained byte code, which Python in the sandbox does not read."""
        for (path, before), within in zip(self._held, self._directories, strict=True):
            try:
                now_there = manifest.look(path)
            except KeyturnError as err:
                raise _input_changed(path, (err.message,)) from err
            if now_there == before and directories(path) != within:
                raise _input_changed(path, ("its directories were renamed or written to, and are as they were again",))
            if now_there != before:
                files = ({file.path: file for file in listing} for listing in (before, now_there))
                raise _input_changed(path, differences(*files))
        for path, known in self._runtimes:
            now = runtime.look(path)
            gained = (name for name in now.keys() - known.keys() if "__pycache__/" not in name)
            if any(now.get(name) != status for name, status in known.items()) or any(gained):
                raise Refused("runtime-changed", f"runtime `{path}` changed while the step ran", hint="run it again")

    def settle(self, paths: Sequence[str]) -> None:
        for path in paths:
            place = self._staged(path)
            settling.require_left(place, called=path)
            try:
                settling.settle(place)
            except OSError as err:
                raise Unavailable("output-unreadable", f"output `{path}` cannot be read: {err.strerror}") from err
        settling.sync(self._room / "out")
        self._staging.sync()

    def staged(self, paths: Sequence[str]) -> bool:
        return all(os.path.lexists(self._staged(path)) for path in paths)

    def take_output(self, path: str) -> ArtifactDigest:
        self._manifests[path] = manifest.contents(self._staged(path), progress=self._progress)
        return self._manifests[path].identity

    def lacks(self, path: str, source: str) -> tuple[str, ...]:
        before, after = ({f.path: f.sha256 for f in self._manifests[name].files} for name in (source, path))
        return differences(before, after, extra=False)

    def read_output(self, path: str, *, size_bytes_max: int) -> bytes:
        place = self._staged(path)
        if not stat.S_ISREG(place.lstat().st_mode):
            raise Refused("output-not-a-file", f"expected a file at `{path}`")
        with place.open("rb") as file:
            content = file.read(size_bytes_max + 1)
        if len(content) > size_bytes_max:
            raise Malformed("output-too-large", f"`{path}`: expected at most {size_bytes_max} bytes")
        return content

    def publish(self, outputs: Sequence[str], more: Mapping[str, bytes]) -> None:
        whole = self._room / "publish"
        whole.mkdir(mode=0o755, exist_ok=True)
        whole.chmod(0o755)
        for path in outputs:
            place = self._staged(path)
            if os.path.lexists(place) or not os.path.lexists(whole / place.name):  # a process died between two renames
                _move(place, whole / place.name)
        for name, content in more.items():
            with (whole / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        try:
            self._staging.publish(
                whole.name, self._destination.name
            )  # over nothing, or an empty directory: all at once
        except OSError as err:
            raise _in_the_way(self._destination) from err

    def _staged(self, path: str) -> Path:
        head, _, name = path.rpartition("/")
        if head != "/out" or name in ("", ".", ".."):
            raise Malformed("output-path", f"expected a path directly below `/out`, got `{path[:120]}`")
        return self._room / "out" / name


def unreadable_input(source: str, err: OSError) -> Unavailable:
    return Unavailable(
        "input-unreadable",
        f"`{source[:200]}` cannot be copied: {err.strerror}",
        hint="look at its owner and mode, and at the room where outputs go; then run the step again",
    )


def room_of(destination: Path, token: str) -> Path:
    """Where a run stages what goes to `destination`."""
    return destination.with_name(f".{destination.name}.{token}.keyturn")


def _remove_dead(destination: Path) -> None:
    """Remove the staging directories beside `destination` of runs on one's own machine whose process is gone."""
    shape = re.compile(re.escape(f".{destination.name}.") + r"[0-9a-f]{16}\.keyturn\Z")  # a builder's token is longer
    for place in destination.parent.iterdir():
        if shape.match(place.name) and not place.is_symlink():
            with suppress(OSError):
                descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(descriptor).st_uid == os.geteuid():
                        clear(place)
                finally:
                    os.close(descriptor)


def require_free(destination: Path) -> None:
    """Refuse a destination where outputs would be laid over something, as `Usage`; an empty directory is none."""
    taken = destination.exists() and not (destination.is_dir() and not any(destination.iterdir()))
    if destination.is_symlink() or taken:
        raise _in_the_way(destination)


def _move(place: Path, target: Path) -> None:
    try:
        place.rename(target)
    except OSError as err:
        raise Unavailable("output-unreadable", f"output `{place.name}` cannot be published: {err.strerror}") from err


def _emptied(place: Path) -> Path:
    """Make the directory of `place`, which an earlier attempt may have begun to fill."""
    clear(place.parent)
    place.parent.mkdir(parents=True)
    return place


def _copy(source: Path, copy: Path) -> None:
    manifest.look(source)  # refuses links and devices before anything is copied
    try:
        # `cp` leaves holes as they are: a file of 100 GB that takes no room on the disk takes none as a copy.
        copied = ("cp", "-R", "-P", "--reflink=auto", "--sparse=auto", "--", str(source), str(copy))
        subprocess.run(copied, env=_TOOLS, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError) as err:
        why = (
            (err.stderr or "").strip().splitlines()[-1:]
            if isinstance(err, subprocess.CalledProcessError)
            else [str(err)]
        )
        raise Unavailable(
            "input-uncopied",
            f"`{source}` cannot be copied: {''.join(why)[:300]}",
            hint='free space for a private copy, or say check = "full"',
        ) from err


def _input_changed(path: Path, wrong: Sequence[str]) -> Refused:
    return Refused(
        "input-changed",
        f"input `{path}` changed while the step ran: {wrong[0]}" + (", and others" if len(wrong) > 1 else ""),
        reasons=tuple(("input-changed", f"`{path}`: {one}") for one in wrong),
        hint='run it again, or with check = "snapshot"',
    )


def _other_mounted(path: Path, target: str) -> Refused:
    return Refused(
        "input-changed",
        f"what was mounted at `{target}` is not what was held at `{path}`: its name led elsewhere",
        hint="find out who renames things in the work directory; nothing ran",
    )


def _in_the_way(place: Path) -> Usage:
    return Usage(
        "destination-taken",
        f"`{place}` is there already, and nothing is overwritten",
        hint="remove it, or say --out DIR",
    )
