"""Any TUF client follows a lab: python-tuf's own `ngclient.Updater`, over HTTP, through targets versions and root rotation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tuf.api.exceptions import RepositoryError
from tuf.ngclient import Updater

from .conftest import Ceremony


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def url(founded: Ceremony) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(founded.trust)))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def today(ceremony: Ceremony) -> None:
    ceremony.clock.at = int(
        datetime.now(UTC).timestamp()
    )  # ngclient asks the system's clock whether metadata is expired


def _client(founded: Ceremony, url: str, tmp_path: Path) -> Updater:
    for name in ("client", "client-targets"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Updater(
        metadata_dir=str(tmp_path / "client"),
        metadata_base_url=f"{url}/metadata/",
        target_dir=str(tmp_path / "client-targets"),
        target_base_url=f"{url}/targets/",
        bootstrap=(founded.trust / "root.json").read_bytes(),
    )


def _download(updater: Updater, path: str) -> bytes:
    info = updater.get_targetinfo(path)
    assert info is not None
    return Path(updater.download_target(info)).read_bytes()


def _publish(founded: Ceremony, *signers: str) -> None:
    founded.propose(replace=True)
    for member in signers:
        founded.sign(member)
    founded.publish()


def test_python_tufs_own_client_follows_a_lab(today: None, founded: Ceremony, url: str, tmp_path: Path) -> None:
    first = _client(founded, url, tmp_path)
    first.refresh()
    assert _download(first, "roster.toml") == founded.store.draft()["roster.toml"]

    founded.edit("limits.toml", lambda text: text.replace("3600", "1800"))
    founded.edit("policy/release.cedar", lambda _: POLICY)
    _publish(founded, "ada", "bob")
    second = _client(founded, url, tmp_path)
    second.refresh()
    assert b"1800" in _download(second, "limits.toml")
    assert _download(second, "policy/release.cedar") == POLICY.encode()

    founded.join("cyd")
    founded.edit(
        "root.toml", lambda text: "[[holders]]".join(p for p in text.split("[[holders]]") if 'human = "bob"' not in p)
    )
    _publish(founded, "ada", "bob", "cyd")
    third = _client(founded, url, tmp_path)
    third.refresh()
    assert b"cyd" in _download(third, "roster.toml")

    founded.edit("limits.toml", lambda text: text.replace("1800", "900"))
    _publish(founded, "ada", "cyd")
    fourth = _client(founded, url, tmp_path)
    fourth.refresh()
    assert b"900" in _download(fourth, "limits.toml")
    assert (tmp_path / "client" / "root.json").read_bytes() == (founded.trust / "metadata" / "2.root.json").read_bytes()

    fresh = tmp_path / "another"
    fresh.mkdir()
    newcomer = _client(founded, url, fresh)
    newcomer.refresh()
    assert b"900" in _download(newcomer, "limits.toml")


def test_a_client_refuses_a_target_that_the_server_changed(
    today: None, founded: Ceremony, url: str, tmp_path: Path
) -> None:
    updater = _client(founded, url, tmp_path)
    updater.refresh()
    (path,) = (founded.trust / "targets").glob("*.limits.toml")
    path.write_bytes(path.read_bytes().replace(b"3600", b"9999"))
    with pytest.raises(RepositoryError):
        _download(updater, "limits.toml")


POLICY = """@id("model-release")
@quorum("1 releasers")
@pending_max("8h")
permit (principal, action == Action::"model:release", resource);
"""
