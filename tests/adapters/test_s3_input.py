"""Objects below a prefix of S3 as an input: what was listed is what is held, or nothing is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.inputs import s3_input
from keyturn.adapters.inputs.held_inputs import ANYWHERE, HeldInputs
from keyturn.adapters.inputs.s3_place import S3Keys, S3Place, place_of_environment
from keyturn.bulk import manifest
from keyturn.bulk.manifest import Progress
from keyturn.errors import KeyturnError
from keyturn.formats import input_source
from keyturn.formats.input_source import S3Prefix
from keyturn.formats.provenance import Origin
from support.s3 import S3Server, serve_s3

FILES = {"a.txt": b"first", "deep/er/b é%41.bin": b"\0\xff" * 2_000_000, "z": b""}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with serve_s3() as serving:
        serving.put("data", {f"v1/{path}": content for path, content in FILES.items()})
        serving.put("data", {"v10/other": b"of another prefix", "v1-more": b"beside"})
        serving.client.put_object(Bucket="data", Key="open/a", Body=b"for everybody", ACL="public-read")
        yield serving


@pytest.fixture
def place(server: S3Server) -> S3Place:
    return S3Place(server.endpoint, "us-east-1", keys=S3Keys(*server.keys))


def hold(
    text: str, place: S3Place, base: Path, *, progress: Progress | None = None, **more: Any
) -> tuple[Origin, Path]:
    source, into = input_source.parse(text), base / f"held{len(list(base.glob('held*')))}"
    assert isinstance(source, S3Prefix)
    return s3_input.hold(source, place, into, progress=progress, **more), into


def refused(text: str, place: S3Place, base: Path, **more: Any) -> KeyturnError:
    with pytest.raises(KeyturnError) as caught:
        hold(text, place, base, **more)
    return caught.value


def test_what_lies_below_the_prefix_is_held_as_files(server: S3Server, place: S3Place, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for path, content in FILES.items():
        (plain / path).parent.mkdir(parents=True, exist_ok=True)
        (plain / path).write_bytes(content)
    seen: list[tuple[int, int]] = []
    origin, held = hold("s3://data/v1/", place, tmp_path, progress=lambda *now: seen.append(now))
    assert origin == Origin("s3://data/v1/")
    assert manifest.make(held).identity == manifest.make(plain).identity
    assert seen[-1] == (4_000_005, 4_000_005)
    assert len(seen) > 2
    assert (hold("s3://data/", place, tmp_path)[1] / "v1-more").read_bytes() == b"beside"


def test_the_builder_asks_with_its_own_keys_and_whatever_stands_in_the_environment_has_no_say(
    server: S3Server, place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ENDPOINT_URL", "ENDPOINT_URL_S3"):
        monkeypatch.setenv(f"AWS_{name}", "http://127.0.0.1:1")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "of-somebody-else")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    own = S3Place(server.endpoint, "us-east-1", server.write_credentials(tmp_path / "credentials"))
    nobody, wrong = (S3Place(server.endpoint, "us-east-1", keys=keys) for keys in (None, S3Keys(server.keys[0], "x")))
    assert hold("s3://data/open/", nobody, tmp_path)[0].uri == "s3://data/open/", "not signed, where everybody may read"
    assert refused("s3://data/v10/", nobody, tmp_path).code == "s3-fetch"
    with server.ask_for_keys():
        assert hold("s3://data/v10/", own, tmp_path)[0].uri == "s3://data/v10/"
        for other in (nobody, wrong, S3Place(server.endpoint, "us-east-1", keys=S3Keys("AKIANOBODY", "x"))):
            found = refused("s3://data/v10/", other, tmp_path)
            assert found.code == "s3-fetch"
            assert server.keys[1] not in f"{found.message}{found.hint}{found.detail}"
    assert server.keys[1] not in repr(place) + repr(wrong)
    assert refused("s3://data/v1/", S3Place("http://127.0.0.1:1", "us-east-1"), tmp_path).code == "s3-fetch"


def _mode(path: Path) -> None:
    path.chmod(0o640)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(_mode, "credentials-open", id="keys that others may read"),
        pytest.param(lambda p: (p.unlink(), p.mkdir(0o700)), "credentials-open", id="a directory"),
        pytest.param(Path.unlink, "s3-credentials", id="none"),
        pytest.param(lambda p: p.write_text("secret"), "s3-credentials", id="no such file"),
        pytest.param(lambda p: p.write_text("[other]\naws_access_key_id = secret"), "s3-credentials", id="another's"),
        pytest.param(lambda p: p.write_text("[default]\naws_access_key_id = secret"), "s3-credentials", id="half"),
        pytest.param(lambda p: p.write_bytes(b"\xffsecret"), "s3-credentials", id="no text"),
    ],
)
def test_keys_that_are_not_the_operators_alone_are_refused(
    server: S3Server, tmp_path: Path, spoil: Callable[[Path], Any], code: str
) -> None:
    path = server.write_credentials(tmp_path / "credentials")
    spoil(path)
    found = refused("s3://data/v1/", S3Place(server.endpoint, "us-east-1", path), tmp_path)
    assert found.code == code
    assert "secret" not in found.message.replace("aws_secret_access_key", "")


def test_on_ones_own_machine_s3_is_where_awss_tools_find_it(server: S3Server, tmp_path: Path) -> None:
    file = server.write_credentials(tmp_path / ".aws" / "credentials")
    around = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_DEFAULT_REGION": "eu-west-1"}
    assert place_of_environment(around) == S3Place("https://s3.eu-west-1.amazonaws.com", "eu-west-1", file)
    around |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert place_of_environment(around) == S3Place("http://127.0.0.1:9", "eu-west-1", keys=S3Keys("a", "b"))
    around = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_REGION": "us-west-2"}
    assert place_of_environment(around) == S3Place("https://s3.us-west-2.amazonaws.com", "us-west-2")


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        pytest.param(("a/../b",), "s3-key", id="a key that climbs"),
        pytest.param(("./a",), "s3-key", id="a key with a dot"),
        pytest.param(("a//b",), "s3-key", id="an empty part"),
        pytest.param(("/a",), "s3-key", id="an absolute key"),
        pytest.param(("a\\b",), "s3-key", id="a backslash"),
        pytest.param(("a\x1b[31m",), "s3-key", id="a terminal escape"),
        pytest.param(("Data.bin", "data.bin"), "s3-key", id="two keys that fold to one"),
        pytest.param(("\u00e9", "e\u0301"), "s3-key", id="two ways to write a letter"),
        pytest.param(("a", "a/b"), "s3-key", id="a file that is a directory"),
        pytest.param(("a/", "a/b"), "s3-key", id="a marker of a directory with something in it"),
        pytest.param(("a", "a/"), "s3-key", id="a file and a marker of that name"),
        pytest.param(("", "a"), "s3-key", id="the prefix itself"),
        pytest.param(("a/",), "s3-gone", id="a marker of an empty directory"),
        pytest.param((), "s3-empty", id="nothing"),
        pytest.param(("a", "b", "c", "d"), "files-too-many", id="more than there may be"),
    ],
)
def test_keys_that_are_no_paths_of_different_files_are_refused(
    server: S3Server, place: S3Place, tmp_path: Path, keys: tuple[str, ...], code: str
) -> None:
    bucket = f"bad-{abs(hash(keys)):x}"[:60]
    server.put(bucket, {"pre/fix/" + key: key.encode() for key in keys})
    found = refused(f"s3://{bucket}/pre/fix/", place, tmp_path, objects_max=3)
    assert found.code == code
    assert found.message.isprintable()
    assert "../" not in "".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert not any(path.is_file() for path in tmp_path.rglob("*")) or code == "s3-gone"


def _again(server: S3Server, bucket: str) -> None:
    server.client.put_object(Bucket=bucket, Key="x/b", Body=b"other")


@pytest.mark.parametrize(
    ("meanwhile", "code", "says"),
    [
        pytest.param(_again, "s3-changed", "'b' was written to after it was listed", id="an object that changed"),
        pytest.param(lambda s, b: s.client.delete_object(Bucket=b, Key="x/b"), "s3-gone", "'b' was listed", id="gone"),
        pytest.param(
            lambda s, b: s.client.put_object(Bucket=b, Key="x/0", Body=b""),
            "s3-changed",
            "other objects",
            id="one more",
        ),
        pytest.param(
            lambda s, b: s.client.put_object(Bucket=b, Key="x/a", Body=b"A"), "s3-changed", "other objects", id="read"
        ),
        pytest.param(
            lambda s, b: s.client.delete_object(Bucket=b, Key="x/a"), "s3-changed", "other objects", id="one less"
        ),
    ],
)
def test_what_changes_between_listing_and_reading_is_refused(
    server: S3Server,
    place: S3Place,
    tmp_path: Path,
    meanwhile: Callable[[S3Server, str], Any],
    code: str,
    says: str,
    request: pytest.FixtureRequest,
) -> None:
    bucket = "moving-" + request.node.callspec.id.replace(" ", "-")
    server.put(bucket, {"x/a": b"a", "x/b": b"bbbbb", "x/c": b"c"})
    waiting = [meanwhile]

    def on_first(_done: int, _total: int) -> None:
        while waiting:
            waiting.pop()(server, bucket)

    found = refused(f"s3://{bucket}/x/", place, tmp_path, progress=on_first, threads=1)
    assert (found.code, says in found.message) == (code, True), found.message
    assert not list(tmp_path.glob("held*/c")) or says == "other objects", "the first that fails ends it"


def test_only_what_lies_below_the_operators_addresses_is_asked_for(
    server: S3Server, place: S3Place, tmp_path: Path
) -> None:
    def held(sources: tuple[str, ...], prefix: str, s3: S3Place | None = place) -> str:
        source, into = S3Prefix("data", prefix), tmp_path / f"held{len(list(tmp_path.iterdir()))}"
        try:
            return HeldInputs(tmp_path, Path.resolve, sources, s3).hold(source, into).uri
        except KeyturnError as err:
            return err.code

    for sources in (ANYWHERE, ("s3://data/",), ("s3://data/v1/",), ("s3://data/v1",), ("s3://other/", "s3://data/")):
        assert held(sources, "v1") == "s3://data/v1/"
    for sources in ((), ("s3://dat/",), ("s3://data/v",), ("s3://data/v1/deep/",), ("git+https://data/v1/",)):
        assert held(sources, "v1") == "source-not-allowed"
    assert held(("s3://data/v1",), "v10") == "source-not-allowed"
    assert held(ANYWHERE, "v1", None) == "s3-none"


@pytest.mark.parametrize(("status", "address"), [(302, "127.0.0.1"), (307, "::1")])
def test_a_service_sends_the_builder_to_no_other_host_and_a_session_token_goes_nowhere(
    status: int, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever answers there has the builder ask what is on its closed network, in the name of its keys."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):  # else the operator's proxy decides
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with _answers("127.0.0.1", 200, "") as (inside, heard):
        port = inside.rpartition(":")[2]
        with _answers(address, status, f"http://localhost:{port}/inside") as (endpoint, asked):
            place = S3Place(endpoint, "us-east-1", keys=S3Keys("key", "secret", "a-session-token"))
            found = refused("s3://data/v1/", place, tmp_path)
    assert (found.code, "token" in found.message) == ("s3-fetch", False)
    assert asked
    assert heard == []


@contextmanager
def _answers(address: str, status: int, location: str) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything by `status` and `location`: its address, and what it is asked for."""
    heard: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(status)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = int(socket.AF_INET6 if ":" in address else socket.AF_INET)

    with Server((address, 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host = f"[{address}]" if ":" in address else address
        try:
            yield f"http://{host}:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()
