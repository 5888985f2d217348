"""A real registry on this machine: Debian's docker-registry, and what puts layouts there.

    with serve_registry(tmp_path / "registry") as registry:             # plain HTTP, on a loopback address
        registry.push("acme/tokens", layout)

`tls` is a PEM file with certificate and key; `login` are a name and the password "a secret"; `redirect` is an origin from which
all blobs are to be fetched, as registries do whose blobs lie in a cloud's store. They lie below `files`, by its paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import urllib3

from support.processes import running
from support.tls_proxy import free_port

__all__ = ["PASSWORD", "RegistryServer", "push", "serve_registry"]

PASSWORD = "a secret"
_BCRYPT = "$2b$04$Nbl/aBFPQ49qe4OljX89aOzaZEnHQFqHYbkrrG2/LQRnjoffO03Nq"
"""Of `PASSWORD`, of the least cost."""


@dataclass(frozen=True)
class RegistryServer:
    """`host` is as an `oci://` address has it."""

    host: str
    url: str
    files: Path
    http: urllib3.PoolManager
    headers: dict[str, str]

    def push(self, repository: str, layout: Path) -> None:
        push(self.url, repository, layout, http=self.http, headers=self.headers)

    def blob(self, digest: str) -> Path:
        """Where the registry keeps it."""
        digest = digest.removeprefix("sha256:")
        return self.files / "docker" / "registry" / "v2" / "blobs" / "sha256" / digest[:2] / digest / "data"


def push(
    url: str,
    repository: str,
    layout: Path,
    *,
    http: urllib3.PoolManager | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Put every blob of `layout` there as a blob, and those that are manifests also as what they are."""
    pools = http or urllib3.PoolManager()

    def send(method: str, path: str, body: bytes, media_type: str = "application/octet-stream") -> str:
        answer = pools.request(method, url + path, body=body, headers={**headers, "Content-Type": media_type})
        assert answer.status in (201, 202), (answer.status, answer.data)
        return answer.headers["Location"].removeprefix(url)

    manifests: list[tuple[bool, str, bytes]] = []
    for path in (layout / "blobs" / "sha256").iterdir():
        content = path.read_bytes()
        place = send("POST", f"/v2/{repository}/blobs/uploads/", b"")
        send("PUT", f"{place}&digest=sha256:{path.name}", content)
        if content.startswith(b'{"schemaVersion"') and json.loads(content).get("manifests") != []:
            manifests.append(("manifests" in json.loads(content), path.name, content))
    for is_index, digest, content in sorted(manifests):  # images before what names them
        kind = "index" if is_index else "manifest"
        media_type = f"application/vnd.oci.image.{kind}.v1+json"
        send("PUT", f"/v2/{repository}/manifests/sha256:{digest}", content, media_type)


@contextmanager
def serve_registry(
    directory: Path, *, tls: tuple[Path, Path] | None = None, login: str | None = None, redirect: str | None = None
) -> Iterator[RegistryServer]:
    """Serve what lies in `directory`, which is made. `tls` are the server's PEM file, and its authority's."""
    directory.mkdir(exist_ok=True)
    port = free_port()
    certified = {} if tls is None else {"tls": {"certificate": str(tls[0]), "key": str(tls[0])}}
    said: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "files")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of this test", **certified},
    }
    headers = {}
    if login is not None:
        (directory / "htpasswd").write_text(f"{login}:{_BCRYPT}\n")
        said["auth"] = {"htpasswd": {"realm": "acme", "path": str(directory / "htpasswd")}}
        headers = urllib3.make_headers(basic_auth=f"{login}:{PASSWORD}")
    if redirect is not None:
        said["middleware"] = {"storage": [{"name": "redirect", "options": {"baseurl": redirect}}]}
    (directory / "config.yml").write_text(json.dumps(said))  # YAML has JSON in it
    host, scheme = f"localhost:{port}", "http" if tls is None else "https"
    with (
        urllib3.PoolManager(ca_certs=None if tls is None else str(tls[1])) as http,
        running(["docker-registry", "serve", directory / "config.yml"]) as process,
    ):
        url = f"{scheme}://{host}"
        process.wait_for_line("listening on")
        yield RegistryServer(host, url, directory / "files", http, dict(headers))
