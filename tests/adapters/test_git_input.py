"""The tree of one git commit as an input: from its objects alone, each hashed again, from this machine or over HTTPS."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from keyturn.adapters.inputs.held_inputs import ANYWHERE, HeldInputs
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats import input_source
from keyturn.formats.provenance import Origin
from support.https import make_certificate

WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "-c", "init.defaultBranch=main")


def git(place: Path, *words: str, text: str | None = None) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *WHO, *words], cwd=place, env=environment, check=True, capture_output=True, text=True, input=text
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    place = tmp_path / "train"
    (place / "src" / "deep").mkdir(parents=True)
    (place / "README").write_text("read me\n")
    (place / "src" / "run.sh").write_text("#!/bin/sh\n")
    (place / "src" / "run.sh").chmod(0o755)
    (place / "src" / "deep" / "é.txt").write_bytes(b"\0\xff" * 700_000)
    git(place, "init", "-q")
    git(place, "add", "--all")
    git(place, "commit", "-q", "-m", "first")
    return place, git(place, "rev-parse", "HEAD")


def hold(text: str, base: Path, sources: tuple[str, ...] = (), check: Path | None = None) -> tuple[Origin, Path]:
    into = base / f"held{len(list(base.glob('held*')))}"

    def checked(path: Path) -> Path:
        if check is not None and not path.resolve().is_relative_to(check.resolve()):
            raise KeyturnError("path-not-allowed", f"{path}")
        return path.resolve()

    source = input_source.parse(text)
    assert not isinstance(source, input_source.PathSource)
    return HeldInputs(base, checked, sources).hold(source, into), into


def refused(text: str, base: Path, *more: tuple[str, ...], check: Path | None = None) -> str:
    with pytest.raises(KeyturnError) as caught:
        hold(text, base, *more, check=check)
    return caught.value.code


def test_the_tree_of_exactly_that_commit_is_held_and_the_work_tree_has_no_say(
    repository: tuple[Path, str], tmp_path: Path
) -> None:
    place, commit = repository
    expected = manifest.make(place / "src").identity
    (place / "src" / "run.sh").write_text("#!/bin/sh\necho changed\n")
    (place / ".gitattributes").write_text("* text eol=crlf\n")
    git(place, "add", "--all")
    git(place, "commit", "-q", "-m", "second")
    origin, held = hold(f"git+file:train@{commit}", tmp_path, check=tmp_path)
    assert origin == Origin(f"git+file:train@{commit}", commit)
    assert sorted(str(p.relative_to(held)) for p in held.rglob("*") if p.is_file()) == [
        "README", "src/deep/é.txt", "src/run.sh",
    ]  # fmt: skip
    assert (held / "src" / "run.sh").stat().st_mode & 0o111
    assert not (held / "README").stat().st_mode & 0o111
    origin, held = hold(f"git+file:{place}@{commit}#subdirectory=src", tmp_path)
    assert manifest.make(held).identity == expected
    assert origin.uri.endswith("#subdirectory=src")


def test_a_repository_that_lacks_lies_or_borrows_is_refused(repository: tuple[Path, str], tmp_path: Path) -> None:
    place, commit = repository
    text = f"git+file:train@{commit}"
    assert refused(f"git+file:train@{'0' * 40}", tmp_path) == "source-object-missing"
    assert refused(f"git+file:train@{'0' * 64}", tmp_path) == "source-ref"
    assert refused(f"{text}#subdirectory=nothing", tmp_path) == "source-part"
    assert refused(f"{text}#subdirectory=README", tmp_path) == "source-part"
    assert refused(text, tmp_path, check=tmp_path / "elsewhere") == "path-not-allowed"
    tree = git(place, "rev-parse", "HEAD^{tree}")
    assert refused(f"git+file:train@{tree}", tmp_path) == "source-object"

    # A repository whose directory points out of what the builder may read: by a file, by a link, by borrowing.
    (tmp_path / "work" / "by-file").mkdir(parents=True)
    (tmp_path / "work" / "by-file" / ".git").write_text(f"gitdir: {place / '.git'}\n")
    (tmp_path / "work" / "by-link").symlink_to(place)
    for name in ("by-file", "by-link"):
        assert refused(f"git+file:work/{name}@{commit}", tmp_path, check=tmp_path / "work") == "path-not-allowed"
    git(tmp_path / "work", "clone", "-q", "--shared", str(place), "borrowing")
    assert refused(f"git+file:work/borrowing@{commit}", tmp_path, check=tmp_path / "work") == "source-borrows"
    info = place / ".git" / "objects" / "info"
    (info / "http-alternates").write_text("https://elsewhere.example/objects\n")
    assert refused(text, tmp_path) == "source-borrows"
    (info / "http-alternates").unlink()
    git(tmp_path / "work", "clone", "-q", "--no-hardlinks", str(place), "linking")
    blob = git(place, "rev-parse", "HEAD:README")
    loose = tmp_path / "work" / "linking" / ".git" / "objects" / blob[:2] / blob[2:]
    loose.unlink()
    loose.symlink_to(place / ".git" / "objects" / blob[:2] / blob[2:])
    assert refused(f"git+file:work/linking@{commit}", tmp_path, check=tmp_path / "work") == "file-symlink"

    # An object that is not the one that its name says, and one that is gone.
    loose.unlink()
    loose.write_bytes(zlib.compress(b"blob 8\0replaced"[:15]))
    assert refused(f"git+file:work/linking@{commit}", tmp_path, check=tmp_path / "work") == "source-object"
    loose.unlink()
    assert refused(f"git+file:work/linking@{commit}", tmp_path, check=tmp_path / "work") == "source-object-missing"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        pytest.param("120000 blob {blob}\tlink", "source-symlink", id="a link"),
        pytest.param("160000 commit {commit}\tother", "source-submodule", id="a submodule"),
        pytest.param("100644 blob {blob}\t..", "path-invalid", id="the directory above"),
        pytest.param("40000 tree {tree}\t..", "path-invalid", id="a directory that is the one above"),
        pytest.param("100644 blob {blob}\ta/b", "path-invalid", id="a path below for a name"),
        pytest.param("100644 blob {blob}\ta/../../../b", "path-invalid", id="a path for a name"),
        pytest.param("100644 blob {blob}\tREADME", "source-tree", id="a name twice"),
    ],
)
def test_a_tree_writes_nothing_outside_and_nothing_that_is_no_file(
    repository: tuple[Path, str], tmp_path: Path, entry: str, code: str
) -> None:
    place, commit = repository
    blob, tree = git(place, "rev-parse", "HEAD:README"), git(place, "rev-parse", "HEAD:src")
    mode, _, rest = entry.format(blob=blob, commit=commit, tree=tree).partition(" ")
    _, name_id, name = rest.split("\t")[0].split(" ")[0], rest.split("\t")[0].split(" ")[1], rest.split("\t")[1]
    raw = b"".join(
        f"{m} {n}\0".encode() + bytes.fromhex(i) for m, n, i in (("100644", "README", blob), (mode, name, name_id))
    )
    made = subprocess.run(
        ["git", "hash-object", "--literally", "-t", "tree", "-w", "--stdin"], cwd=place, input=raw, capture_output=True
    ).stdout.decode().strip()  # fmt: skip
    evil = git(place, "commit-tree", made, "-m", "evil")
    before = {p for p in tmp_path.rglob("*") if ".git" not in p.parts}
    assert refused(f"git+file:train@{evil}", tmp_path) == code
    outside = {p for p in tmp_path.rglob("*") if ".git" not in p.parts} - before
    assert all(p.relative_to(tmp_path).parts[0] == "held0" for p in outside), outside


@pytest.fixture
def served(repository: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    place, _ = repository
    certificate = make_certificate("localhost", tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate.pem))

    class Git(BaseHTTPRequestHandler):
        def _answer(self, *words: str, given: bytes, prefix: bytes, kind: str) -> None:
            environment = {"PATH": os.environ["PATH"], "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
            done = subprocess.run(
                ["git", "upload-pack", "--stateless-rpc", *words, str(place)],
                env=environment,
                input=given,
                capture_output=True,
            )
            self.send_response(200)
            self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
            self.send_header("Content-Length", str(len(prefix + done.stdout)))
            self.end_headers()
            self.wfile.write(prefix + done.stdout)

        def do_GET(self) -> None:
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Content-Length", "0")
                self.send_header("Location", self.path.replace("/moved", "/train"))
                self.end_headers()
                return
            prefix = b"001e# service=git-upload-pack\n0000"
            self._answer("--advertise-refs", given=b"", prefix=prefix, kind="advertisement")

        def do_POST(self) -> None:
            given = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(given=given, prefix=b"", kind="result")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Git)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"git+https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_commit_is_fetched_by_its_id_from_where_the_operator_said_and_from_nowhere_else(
    repository: tuple[Path, str], served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, commit = repository
    expected = manifest.make(place / "src").identity
    (place / "README").write_text("newer\n")
    git(place, "commit", "-q", "-a", "-m", "second")
    origin, held = hold(f"{served}/train@{commit}#subdirectory=src", tmp_path, (f"{served}/",))
    assert manifest.make(held).identity == expected
    assert origin == Origin(f"{served}/train@{commit}#subdirectory=src", commit)
    assert not list(tmp_path.glob("keyturn-git-*"))
    assert refused(f"{served}/train@{commit}", tmp_path) == "source-not-allowed"
    assert refused(f"{served}/train@{commit}", tmp_path, (f"{served}/trai",)) == "source-not-allowed"
    assert refused(f"{served}/train@{commit}", tmp_path, (served[:-1],)) == "source-not-allowed"
    hold(f"{served}/train@{commit}", tmp_path, (f"{served}/train",))
    assert refused(f"{served}/train@{'0' * 40}", tmp_path, ANYWHERE) == "source-fetch"
    assert refused(f"{served}/moved@{commit}", tmp_path, ANYWHERE) == "source-fetch", "a redirect leads anywhere"
    monkeypatch.delenv("GIT_SSL_CAINFO")
    assert refused(f"{served}/train@{commit}", tmp_path, ANYWHERE) == "source-fetch", "nobody knows that certificate"
