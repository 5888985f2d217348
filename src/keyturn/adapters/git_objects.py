"""Read one revision of a git repository from its objects: the commit, and the files in it as an artifact.

Nothing of the repository is run and none of its configuration is obeyed: `git cat-file` works in an empty repository of ours,
made for this reading, that borrows the objects of the other one. So no hook, filter, fsmonitor, replacement, attribute or
remote of it exists there, and no working tree. Each object that is read is hashed again: a repository can store anything under
any name.

1. Resolve the ref by its files (`adapters.git_refs`), and its tags by their objects.
2. Read the commit, and each tree below it.
3. Hash each blob as a file of the artifact: the `dirHash` that the checked-out tree has, where no filter changes files on the way
   (line ends, LFS). Symbolic links and submodules have no place in an artifact, and are refused by their path.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TypeVar

from keyturn.adapters.git_refs import ENVIRONMENT, digits_of, name_of, repository_parts, resolve, settings_of
from keyturn.errors import Malformed, Refused, Tampered, Unavailable, Usage
from keyturn.formats import git_commit
from keyturn.formats.digest import ArtifactDigest, Sha256, check_path, dir_hash
from keyturn.formats.manifest import FILES_MAX, check_names

__all__ = ["ReadRevision", "export_revision", "read_revision"]

_OBJECT_BYTES_MAX = 64 << 20
"""Of trees and tags. Blobs are never held whole."""
_T = TypeVar("_T")
_CHUNK_BYTES = 1 << 20
_DEPTH_MAX = 64
_REFUSED = {
    b"120000": ("source-symlink", "a symbolic link"),
    b"160000": ("source-submodule", "a submodule, which is another repository"),
}


@dataclass(frozen=True, slots=True)
class ReadRevision:
    """A commit: what it is called where it was read, its object, and the files in it."""

    repository: str
    ref: str
    commit: str
    commit_object: bytes
    tree: ArtifactDigest
    files: int


def read_revision(path: Path, ref: str) -> ReadRevision:
    """Read what `ref` (a branch, tag, whole ref or object id) is in the repository at `path`, bare or with a work tree.

    Raises `Usage` when there is no such repository or ref, `Refused` for what has no place in an artifact, `Tampered` for an
    object that is not the one that its name says.
    """
    there, common = repository_parts(path)
    settings = settings_of(common)
    digits = digits_of(settings, path)
    name, found = resolve(there, common, ref, digits)
    with _objects(common / "objects", digits) as objects:
        commit = objects.peeled(found)
        raw = objects.whole(commit, "commit", size_bytes_max=git_commit.COMMIT_BYTES_MAX)
        parsed = git_commit.parse(raw, commit=commit)
        files = list(objects.files(parsed.tree))
    check_names(file for file, _ in files)
    return ReadRevision(name_of(settings, path), name, commit, raw, dir_hash(files), len(files))


def export_revision(path: Path, commit: str, into: Path, *, part: str = "") -> None:
    """Write the files of the commit with the id `commit`, or of the directory `part` in it, into the new directory `into`.

    Every object from the commit down is hashed again. Raises as `read_revision`, and leaves then what it wrote.
    """
    _, common = repository_parts(path)
    digits = digits_of(settings_of(common), path)
    if len(commit) != digits:
        raise Usage("source-ref", f"expected a commit id of {digits} digits, got `{commit}`", hint="git rev-parse HEAD")
    with _objects(common / "objects", digits) as objects:
        raw = objects.whole(commit, "commit", size_bytes_max=git_commit.COMMIT_BYTES_MAX)
        tree = git_commit.parse(raw, commit=commit).tree
        for name in part.split("/") if part else ():
            tree = objects.directory(tree, name, of=part)
        into.mkdir()
        check_names([file for file, _ in objects.files(tree, into=into)])


class _Objects:
    """One `git cat-file --batch`, asked for one object after another."""

    def __init__(self, ask: IO[bytes], answer: IO[bytes], digits: int) -> None:
        self._ask = ask
        self._answer = answer
        self._digits = digits

    def peeled(self, name: str) -> str:
        """The commit that `name` is, or that the tag `name` is of."""
        for _ in range(_DEPTH_MAX):
            kind, raw = self._read(name, size_bytes_max=_OBJECT_BYTES_MAX)
            if kind == "commit":
                return name
            target = raw.partition(b"\n")[0].removeprefix(b"object ").decode("ascii", "replace")
            if kind != "tag" or not git_commit.is_object_id(target):
                break
            name = target
        raise Usage("source-ref", "expected a ref of a commit, got one of something else", hint="name a branch or tag")

    def whole(self, name: str, kind: str, *, size_bytes_max: int = _OBJECT_BYTES_MAX) -> bytes:
        """The content of the object `name`, which must be of `kind`."""
        found, raw = self._read(name, size_bytes_max=size_bytes_max)
        if found != kind:
            raise Tampered("source-object", f"git object `{name}`: expected a {kind}, got a {found}")
        return raw

    def directory(self, tree: str, name: str, *, of: str) -> str:
        """The tree called `name` in `tree`."""
        for mode, raw_name, found in _entries(self.whole(tree, "tree"), self._digits // 2):
            if raw_name == name.encode("utf-8") and mode == b"40000":
                return found
        raise Usage("source-part", f"the commit has no directory `{of}`", hint="`git ls-tree -d -r COMMIT` lists them")

    def files(
        self, tree: str, prefix: str = "", depth: int = 0, *, into: Path | None = None
    ) -> Iterator[tuple[str, Sha256]]:
        """Path and SHA-256 of each file in `tree`; with `into`, each is written there."""
        if depth > _DEPTH_MAX:
            raise Refused(
                "directory-too-deep", f"expected at most {_DEPTH_MAX} levels of directories, `{prefix}` has more"
            )
        for mode, raw_name, name in _entries(self.whole(tree, "tree"), self._digits // 2):
            try:
                path = prefix + raw_name.decode("utf-8")
            except UnicodeDecodeError as err:
                raise Malformed("path-invalid", f"path {prefix + repr(raw_name)} is not valid UTF-8") from err
            if b"/" in raw_name:
                raise Malformed("path-invalid", f"path {path!r}: a name in a git tree has no slash")
            place = None if into is None else into / check_path(path)
            if mode == b"40000":
                if place is not None:
                    _once(place.mkdir, path)
                yield from self.files(name, f"{path}/", depth + 1, into=into)
            elif mode in (b"100644", b"100755", b"100664"):
                yield path, self._digest(name) if place is None else self._written(name, place, path, mode)
            else:
                code, what = _REFUSED.get(mode, ("source-mode", "neither a file nor a directory"))
                raise Refused(
                    code, f"{path!r} is {what}, and has no place in an artifact", hint="take it out of the tree"
                )

    def _read(self, name: str, *, size_bytes_max: int) -> tuple[str, bytes]:
        kind, size = self._header(name)
        if size > size_bytes_max:
            raise Refused(
                "source-object-large", f"git object `{name}`: expected at most {size_bytes_max} bytes, got {size}"
            )
        raw = b"".join(self._content(size))
        if git_commit.object_id(kind, raw, digits=self._digits) != name:
            raise _other(name)
        return kind, raw

    def _written(self, name: str, place: Path, path: str, mode: bytes) -> Sha256:
        with _once(lambda: place.open("xb"), path) as file:
            digest = self._digest(name, file)
        if mode == b"100755":
            place.chmod(0o755)
        return digest

    def _digest(self, name: str, copy: IO[bytes] | None = None) -> Sha256:
        kind, size = self._header(name)
        if kind != "blob":
            raise Tampered("source-object", f"git object `{name}`: expected a blob, got a {kind}")
        own = hashlib.sha1(usedforsecurity=False) if self._digits == 40 else hashlib.sha256()
        own.update(b"blob %d\0" % size)
        content = hashlib.sha256()
        for chunk in self._content(size):
            own.update(chunk)
            content.update(chunk)
            if copy is not None:
                copy.write(chunk)
        if own.hexdigest() != name:
            raise _other(name)
        return Sha256(content.hexdigest())

    def _header(self, name: str) -> tuple[str, int]:
        try:
            self._ask.write(name.encode("ascii") + b"\n")
            self._ask.flush()
        except OSError as err:
            raise _ended() from err
        words = self._answer.readline(4096).split()
        if len(words) != 3 or not words[2].isdigit():
            raise Unavailable(
                "source-object-missing",
                f"the repository lacks the object `{name}`",
                hint="fetch it whole: a shallow or partial clone has not all of a revision",
            )
        return words[1].decode("ascii", "replace"), int(words[2])

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            chunk = self._answer.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise _ended()
            left -= len(chunk)
            yield chunk
        if self._answer.read(1) != b"\n":
            raise _ended()


def _once(make: Callable[[], _T], path: str) -> _T:
    try:
        return make()
    except FileExistsError as err:
        raise Malformed("source-tree", f"git tree: {path!r} is there twice") from err


def _other(name: str) -> Tampered:
    return Tampered("source-object", f"git object `{name}` has another content than its name says")


def _ended() -> Unavailable:
    return Unavailable("source-git", "`git cat-file` ended", hint="`git fsck` says what is wrong with the repository")


@contextmanager
def _objects(objects: Path, digits: int) -> Iterator[_Objects]:
    with TemporaryDirectory(prefix="keyturn-source-") as place:
        own = Path(place)
        (own / "refs").mkdir()
        (own / "objects").mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        more = "[extensions]\n\tobjectformat = sha256\n" if digits == 64 else ""
        (own / "config").write_text(
            f"[core]\n\trepositoryformatversion = {int(bool(more))}\n\tbare = true\n{more}", encoding="ascii"
        )
        try:
            process = subprocess.Popen(
                ["git", f"--git-dir={own}", "cat-file", "--batch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=own,
                env={**ENVIRONMENT, "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(objects)},
            )
        except FileNotFoundError as err:
            raise Unavailable(
                "source-git", "`git` reads objects, and is not installed here", hint="apt-get install git"
            ) from err
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _Objects(process.stdin, process.stdout, digits)
        finally:
            process.kill()
            process.communicate()


def _quoted(path: Path) -> str:
    """As git takes a path in a list of them: in quotes, which let it have a colon."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _entries(raw: bytes, id_bytes: int) -> Iterator[tuple[bytes, bytes, str]]:
    at, count = 0, 0
    while at < len(raw):
        space = raw.find(b" ", at)
        end = raw.find(b"\0", at)
        if not at < space < end or end + 1 + id_bytes > len(raw) or (count := count + 1) > FILES_MAX:
            raise Malformed("source-tree", "git tree: expected entries of mode, name and object id")
        yield raw[at:space], raw[space + 1 : end], raw[end + 1 : end + 1 + id_bytes].hex()
        at = end + 1 + id_bytes
