"""`keyturn login`: a person types a code at a real provider's page, a machine has a secret, and then the service answers."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.login.login_files import LoginFile, parse
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.config import person
from keyturn.config.person import PersonConfig
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.wiring.lab.credentials import credentials_for
from support.logins import logs_in, serving, tokens
from support.openid import AUDIENCE, OpenIdProvider
from support.processes import Process, running
from support.signed_records import request

NOW = int(time.time())


@contextmanager
def typed(home: Path, *words: str) -> Iterator[Process]:
    """Run `keyturn *words` as whoever has `home`."""
    with running([sys.executable, "-m", "keyturn", *words], environment={"KEYTURN_HOME": str(home)}) as process:
        yield process


def kept(home: Path) -> Path:
    (found,) = (home / "logins").glob("*.json")
    return found


@pytest.fixture
def lab(make_lab_on_disk: Callable[..., Any]) -> Any:
    return make_lab_on_disk()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("KEYTURN_HOME", str(place))
    return place


def test_a_person_logs_in_once_and_every_command_is_answered(lab: Any, provider: OpenIdProvider, home: Path) -> None:
    pins = {lab.lab.name: lab.lab.root_sha256}
    (home / "config.toml").write_bytes(person.render(PersonConfig(member="ada", lab=None, pins=pins)))
    with serving(lab, tokens(provider)) as (_, url):
        with typed(home, "log", "show", "--lab", url, "--json") as process:
            assert process.wait() == 3
            said = json.loads(process.output[process.output.index("{") :])["error"]
            assert (said["code"], said["hint"]) == ("login-needed", "keyturn login")
        output = logs_in({"KEYTURN_HOME": str(home)}, provider, url, name="ada")
        assert f"logged in at {url}" in output
        path = kept(home)
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
        login = parse(path.read_bytes())
        assert login.access_token not in output + repr(login)
        with typed(home, "log", "show", "--lab", url, "--json") as process:
            assert process.wait() == 0, process.describe()
        log = LogOverHttp(url, credentials=credentials_for(url))
        assert log.append(request(lab.lab, 1, at=NOW)) >= 1
        with pytest.raises(Unavailable, match="login-needed"):
            IndexOverHttp(url, credentials=credentials_for(url + "/elsewhere")).by_record(
                ""
            )  # another address has no login
        # A stolen login is nobody's key: what Ada did not sign is refused, though it comes with her token.
        with pytest.raises(Refused):
            log.append(request(lab.lab, 2, at=NOW, key=lab.lab.member_keys["bob"]))


def test_a_login_is_renewed_by_one_process_at_a_time(lab: Any, provider: OpenIdProvider, home: Path) -> None:
    with serving(lab, tokens(provider)) as (_, url):
        brief = f"{AUDIENCE}/brief"  # its tokens are good for one second
        logs_in({"KEYTURN_HOME": str(home)}, provider, url, name="ada", audience=brief)
        first = parse(kept(home).read_bytes()).access_token
        with ThreadPoolExecutor(4) as pool:  # the provider ends a login whose refresh token comes twice
            found = list(pool.map(lambda _: credentials_for(url).token(), range(8)))
        assert None not in found
        assert first not in found
        assert list(IndexOverHttp(url, credentials=credentials_for(url)).by_record("ff" * 32)) == []
        login = parse(kept(home).read_bytes())
        LoginFile(home, url, clock=SystemClock()).keep(msgspec.structs.replace(login, refresh_token="spent"))
        with pytest.raises(Unavailable, match="login-over"):
            credentials_for(url).token()


def test_a_machine_logs_in_by_its_secret(lab: Any, provider: OpenIdProvider, home: Path) -> None:
    secret = home / "secret"
    secret.write_text("gate-secret\n")
    with serving(lab, tokens(provider)) as (_, url):
        words = ["login", "--lab", url, "--issuer", provider.issuer, "--audience", AUDIENCE, "--client", "gate"]
        words += ["--secret-file", str(secret), "--json"]
        secret.chmod(0o644)
        with typed(home, *words) as process:
            assert process.wait() == 1
            assert "login-exposed" in process.output
        secret.chmod(0o600)
        with typed(home, *words) as process:
            assert process.wait() == 0, process.describe()
            assert json.loads(process.output)["renewed"] is True
        assert b"gate-secret" not in kept(home).read_bytes()
        assert list(IndexOverHttp(url, credentials=credentials_for(url)).by_record("ff" * 32)) == []
        login = parse(kept(home).read_bytes())
        LoginFile(home, url, clock=SystemClock()).keep(msgspec.structs.replace(login, expires_at=NOW - 1))
        assert list(IndexOverHttp(url, credentials=credentials_for(url)).by_record("ff" * 32)) == []
        assert (parse(kept(home).read_bytes()).expires_at or 0) > NOW


def test_the_issuer_is_said_by_the_person_and_the_address_is_private(provider: OpenIdProvider, home: Path) -> None:
    for words, code in (
        (("--lab", "http://127.0.0.1:9"), "login-issuer"),
        (("--lab", "http://keyturn.acme.example", "--issuer", provider.issuer), "login-address"),
        (("--lab", "http://127.0.0.1:9", "--issuer", "http://id.acme.example"), "login-provider-insecure"),
        (("--lab", "http://127.0.0.1:9", "--issuer", provider.issuer, "--client", "nobody"), "login-refused"),
    ):
        with typed(home, "login", *words) as process:
            assert process.wait() in (1, 2)
            assert code in process.output
    assert not (home / "logins").exists()


def test_a_kept_login_that_others_read_or_that_is_another_services_is_refused(home: Path) -> None:
    url = "http://127.0.0.1:9"
    file = LoginFile(home, url, clock=SystemClock())
    assert file.token() is None
    other = LoginFile(home, url + "0", clock=SystemClock())
    (home / "logins").mkdir(mode=0o700)
    login = parse(
        b'{"version":1,"service":"http://127.0.0.1:9","issuer":"i","client":"c","audience":"a","scope":"s","access_token":"t"}'
    )
    file.keep(login)
    assert file.token() == "t"
    os.link(file.path, other.path)
    with pytest.raises(Malformed, match="login-file"):
        other.token()
    file.path.chmod(0o640)
    with pytest.raises(Refused, match="login-exposed"):
        file.token()
