"""An image of a real registry as an input: what it answers is compared, and it is followed nowhere that nobody allowed."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from adapters.test_oci_input import LAYER, put, put_image
from keyturn.adapters.inputs.held_inputs import ANYWHERE, HeldInputs
from keyturn.adapters.inputs.oci_place import ANY_HOST, OciPlace, place_of_environment
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats import input_source
from keyturn.formats.oci_image import MANIFEST_BYTES_MAX
from keyturn.formats.provenance import Origin
from support.registries import PASSWORD, serve_registry
from support.tls_proxy import Authority

Answers = dict[str, tuple[int, dict[str, str], bytes]]


@pytest.fixture
def layout(tmp_path: Path) -> tuple[Path, str, str]:
    """A layout; the digests of an image in it, and of an index of that and another."""
    place = tmp_path / "image"
    (place / "blobs" / "sha256").mkdir(parents=True)
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    image = put_image(place, LAYER, b"small", platform={"os": "linux", "architecture": "amd64"})
    arm = put_image(place, b"arm", platform={"os": "linux", "architecture": "arm64"})
    said = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [image, arm]}
    return place, image["digest"], put(place, said, "index.v1+json")["digest"]


def hold(text: str, base: Path, place: OciPlace | None = None) -> tuple[Origin, Path]:
    into = base / f"held{len(list(base.glob('held*')))}"
    source = input_source.parse(text)
    assert isinstance(source, input_source.OciImage | input_source.OciRegistryImage)
    return HeldInputs(base, Path.resolve, ANYWHERE, oci=place or OciPlace()).hold(source, into), into


def refused(text: str, base: Path, place: OciPlace | None = None) -> KeyturnError:
    with pytest.raises(KeyturnError) as found:
        hold(text, base, place)
    return found.value


def write_names(path: Path, host: str, password: str) -> Path:
    auth = base64.b64encode(f"ada:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}, "quay.io": {}}, "credsStore": "desktop"}))
    path.chmod(0o600)
    return path


@contextmanager
def answering(answers: Answers, asked: list[tuple[str, str | None]] | None = None) -> Iterator[str]:
    """A server that says whatever it is told to, over HTTP; yields host and port."""

    class Said(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if asked is not None:
                asked.append((self.path, self.headers.get("Authorization")))
            status, headers, body = answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, said in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, said)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = "Content-Length" in headers

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Said)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_image_of_a_registry_is_the_artifact_that_it_is_in_a_layout(
    layout: tuple[Path, str, str], tmp_path: Path
) -> None:
    place, image, index = layout
    same = manifest.contents(hold(f"oci:image@{image}", tmp_path)[1]).identity
    with serve_registry(tmp_path / "registry") as registry:
        registry.push("acme/tokens", place)
        at = f"oci://{registry.host}/acme/tokens"
        origin, held = hold(f"{at}@{image}", tmp_path)
        assert origin == Origin(f"{at}@{image}", oci_manifest=image.removeprefix("sha256:"))
        assert manifest.contents(held).identity == same
        origin, held = hold(f"{at}@{index}#platform=linux/amd64", tmp_path)
        assert (origin.oci_manifest, manifest.contents(held).identity) == (image.removeprefix("sha256:"), same)

        small = registry.blob(hashlib.sha256(b"small").hexdigest())
        for content, code in ((b"smell", "oci-blob"), (b"smaller", "oci-blob"), (b"s", "oci-fetch")):
            small.write_bytes(content)
            assert refused(f"{at}@{image}", tmp_path).code == code
        assert refused(f"{at}@sha256:{'0' * 64}", tmp_path).code == "oci-incomplete"
    assert refused(f"{at}@{image}", tmp_path).code == "oci-fetch", "it has ended"


def test_a_registry_is_told_who_asks_and_a_false_certificate_is_refused(
    layout: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, image, _ = layout
    authority = Authority(tmp_path / "ca")
    served = authority.issue("registry", host="localhost")
    with serve_registry(tmp_path / "registry", tls=(served, authority.pem), login="ada") as registry:
        registry.push("acme/tokens", place)
        source = f"oci://{registry.host}/acme/tokens@{image}"
        names = OciPlace(write_names(tmp_path / "names.json", registry.host, PASSWORD))
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused(source, tmp_path, names)), "no fall back to plain HTTP"
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
        assert hold(source, tmp_path, names)[0].uri == source
        assert "wants a name" in str(refused(source, tmp_path))
        write_names(tmp_path / "names.json", registry.host, "guessed")
        assert "does not let in" in str(refused(source, tmp_path, names))
        write_names(tmp_path / "names.json", "localhost", PASSWORD)
        assert refused(source, tmp_path, names).code == "oci-login", "it is of another host"
        (tmp_path / "names.json").write_text('{"auths": "secret"}')
        found = refused(source, tmp_path, names)
        assert (found.code, "secret" in str(found)) == ("oci-credentials", False)
        (tmp_path / "names.json").chmod(0o640)
        assert refused(source, tmp_path, names).code == "credentials-open"


def test_a_registry_sends_on_to_where_its_operator_allowed_and_nobody_is_named_there(
    layout: tuple[Path, str, str], tmp_path: Path
) -> None:
    place, image, _ = layout
    stored: Answers = {}
    asked: list[tuple[str, str | None]] = []
    with (
        answering(stored, asked) as store,
        serve_registry(tmp_path / "registry", login="ada", redirect=f"http://{store}") as registry,
    ):
        registry.push("acme/tokens", place)
        stored |= {
            f"/{path.relative_to(registry.files)}": (200, {}, path.read_bytes())
            for path in registry.files.rglob("blobs/sha256/*/*/data")
        }
        source = f"oci://{registry.host}/acme/tokens@{image}"
        names = write_names(tmp_path / "names.json", registry.host, PASSWORD)
        for follow in ((), ("https://storage.example", f"https://{store}"), (ANY_HOST,)):
            found = refused(source, tmp_path, OciPlace(names, follow))
            assert (found.code, f'"http://{store}" to `follow`' in (found.hint or "")) == ("oci-redirect", True)
        assert asked == []
        assert hold(source, tmp_path, OciPlace(names, (f"http://{store}",)))[0].uri == source
        assert {named for _, named in asked} == {None}
        assert len(asked) >= 2


def _image(answers: Answers, *, size: int | None = None, **layer: Any) -> str:
    """Put an image of one layer into `answers`, below `/v2/a/`; gives its digest."""
    content = b"layer"
    digest = hashlib.sha256(content).hexdigest()
    blob = {"mediaType": "x", "digest": f"sha256:{digest}", "size": len(content) if size is None else size}
    raw = json.dumps({"schemaVersion": 2, "config": blob, "layers": [blob]}).encode()
    named = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    answers |= {f"/v2/a/manifests/{named}": (200, {}, raw), f"/v2/a/blobs/sha256:{digest}": (200, {}, content)}
    return named


@pytest.mark.parametrize(
    ("which", "answer", "code", "says"),
    [
        pytest.param("manifests", (200, {}, b"x" * (MANIFEST_BYTES_MAX + 1)), "oci-manifest", "", id="a huge manifest"),
        pytest.param("manifests", (200, {}, b"{}"), "oci-blob", "", id="another manifest"),
        pytest.param("blobs", (200, {}, b"layers"), "oci-blob", "more bytes", id="a blob that goes on"),
        pytest.param("blobs", (200, {"Content-Length": "9"}, b"lay"), "oci-fetch", "", id="a blob that breaks off"),
        pytest.param("blobs", (200, {}, b"lay"), "oci-fetch", "after 3 of 5 bytes", id="a short blob"),
        pytest.param("blobs", (500, {}, b""), "oci-fetch", "status 500", id="an error"),
        pytest.param("blobs", (206, {}, b"layer"), "oci-fetch", "status 206", id="a part"),
        pytest.param("blobs", (403, {}, b""), "oci-login", "", id="no access"),
        pytest.param(
            "manifests",
            (401, {"WWW-Authenticate": 'Bearer realm="https://auth.example/token"'}, b""),
            "oci-token",
            "another address",
            id="a token",
        ),
        pytest.param("blobs", (302, {"Location": "/v2/a/moved"}, b"gone"), "", "", id="to another path of its own"),
        pytest.param("blobs", (302, {"Location": "/v2/a/loop"}, b""), "oci-fetch", "more than 3", id="round and round"),
        pytest.param("blobs", (302, {}, b""), "oci-fetch", "", id="to nowhere"),
        pytest.param(
            "blobs", (307, {"Location": "//u:p@127.0.0.1:{port}/v2/a/moved"}, b""), "oci-redirect", "", id="by a name"
        ),
        pytest.param("blobs", (307, {"Location": "http://[bad/"}, b""), "oci-redirect", "", id="to no address"),
        pytest.param("blobs", (307, {"Location": "file:///etc/passwd"}, b""), "oci-redirect", "", id="to a file"),
        pytest.param("blobs", (307, {"Location": "http://169.254.169.254/"}, b""), "oci-redirect", "", id="inside"),
    ],
)
def test_what_a_false_registry_says_is_refused(
    tmp_path: Path, which: str, answer: tuple[int, dict[str, str], bytes], code: str, says: str
) -> None:
    answers: Answers = {"/v2/a/loop": (302, {"Location": "loop"}, b""), "/v2/a/moved": (200, {}, b"layer")}
    image = _image(answers)
    with answering(answers) as host:
        source = f"oci://{host}/a@{image}"
        assert hold(source, tmp_path)[0].uri == source
        headers = {name: said.replace("{port}", host.rpartition(":")[2]) for name, said in answer[1].items()}
        answers |= {path: (answer[0], headers, answer[2]) for path in list(answers) if f"/{which}/" in path}
        if not code:
            assert hold(source, tmp_path)[0].uri == source
            return
        found = refused(source, tmp_path)
    assert (found.code, says in found.message) == (code, True), found


def test_a_registry_without_tls_is_asked_nothing_unless_its_name_is_a_loopback_address(tmp_path: Path) -> None:
    answers: Answers = {}
    asked: list[tuple[str, str | None]] = []
    image = _image(answers)
    with answering(answers, asked) as host:
        other = host.replace("127.0.0.1", "127.1")  # leads to the same server, by a name like any other
        assert refused(f"oci://{other}/a@{image}", tmp_path).code == "oci-fetch"
        assert asked == []
        assert hold(f"oci://{host}/a@{image}", tmp_path)[0].oci_manifest == image.removeprefix("sha256:")


def test_an_image_that_has_no_room_is_not_begun(tmp_path: Path) -> None:
    answers: Answers = {}
    asked: list[tuple[str, str | None]] = []
    image = _image(answers, size=2**52)
    with answering(answers, asked) as host:
        assert refused(f"oci://{host}/a@{image}", tmp_path).code == "oci-room"
    assert not any("/blobs/" in path for path, _ in asked)


def test_ones_own_names_are_where_other_tools_keep_them(tmp_path: Path) -> None:
    assert place_of_environment({"DOCKER_CONFIG": str(tmp_path)}) == OciPlace(None, (ANY_HOST,))
    file = write_names(tmp_path / "config.json", "registry.example", PASSWORD)
    assert place_of_environment({"DOCKER_CONFIG": str(tmp_path)}).credentials == file
    assert place_of_environment({"DOCKER_CONFIG": "/", "REGISTRY_AUTH_FILE": str(file)}).credentials == file
    assert OciPlace(file).authorization("quay.io") == {}
