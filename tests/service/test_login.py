"""The running service where its operator asks for a login: a real provider's tokens, a proxy's certificates, and nobody else."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import urllib3

from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import access, statement
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.digest import Sha256
from keyturn.formats.records import leaf_of
from keyturn.formats.statement import DigestSet, Subject
from support.labs import make_key
from support.logins import serving, tokens
from support.openid import OpenIdProvider
from support.processes import wait_for
from support.signed_records import request, sign
from support.tls_proxy import PROXY_SECRET

NOW = int(time.time())
HTTP = urllib3.PoolManager(retries=False, maxsize=4)
DER = b"what a proxy verified"


@pytest.fixture
def lab(make_lab_on_disk: Callable[..., Any]) -> Any:
    return make_lab_on_disk()


CERTIFICATES = f"""
version = 1
[certificates]
gate-release = "{sha256(DER).hexdigest()}"
[proxy]
secret_file = "proxy.secret"
"""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def certificate(der: bytes) -> dict[str, str]:
    return {"Client-Cert": f":{base64.b64encode(der).decode()}:", "Keyturn-Proxy": PROXY_SECRET}


def get(url: str, headers: dict[str, str] | None = None, path: str = "/index/kinds?kinds=req") -> Any:
    return HTTP.request("GET", url + path, headers=headers)


def submit(url: str, raw: bytes, headers: dict[str, str] | None = None) -> Any:
    return HTTP.request("POST", f"{url}/submit", body=raw, headers=headers)


def listed(url: str, headers: dict[str, str], kind: str) -> list[str]:
    """The records of `kind` under the checkpoint, as soon as there are any."""
    where = f"/index/kinds?kinds={kind}"
    return [one["record"] for one in wait_for(f"`{kind}` in the log", lambda: get(url, headers, where).json() or None)]


def approval(lab: Any, asked: bytes, *, approver: str, key: SoftwareKey) -> bytes:
    """An approval of `asked` in the name of `approver`, which `key` signed."""
    about = leaf_of(asked).record
    made = HumanAuthorization(
        lab=lab.name,
        nonce="1" * 32,
        approver=approver,
        key=key.public.keyid,
        request=about,
        trust_version=1,
        decision="approve",
        signed_at=NOW,
        expires_at=NOW + 600,
    )
    subject = Subject(digest=DigestSet(sha256=Sha256(about)), name="request")
    return sign(statement.make(made, access.HUMAN_AUTHORIZATION, (subject,)), key)


def test_who_is_not_logged_in_reads_and_submits_nothing(lab: Any, provider: OpenIdProvider) -> None:
    raw = request(lab.lab, 1, at=NOW)
    with serving(lab, tokens(provider)) as (process, url):
        before = get(url, path="/checkpoint").data
        for headers in ({}, bearer(""), bearer("x.y.z"), {"Authorization": "Basic YWRhOmFkYQ=="}, certificate(DER)):
            for answer in (get(url, headers), submit(url, raw, headers), get(url, headers, "/trust/root.json")):
                said = answer.json()
                assert (answer.status, said["status"], said["hint"]) == (401, 401, "keyturn login")
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert get(url, path="/health").json()["status"] == "pass"
        assert get(url, path="/checkpoint").data.split(b"\n")[1] == before.split(b"\n")[1]  # as many entries
        ada = bearer(provider.person_tokens("ada")["access_token"])
        assert get(url, ada).json() == []
        assert submit(url, raw, ada).status == 200
        assert listed(url, ada, "req") == [leaf_of(raw).record]
        assert process.alive


def test_a_stolen_login_reads_and_approves_nothing(lab: Any, provider: OpenIdProvider) -> None:
    stolen = bearer(provider.person_tokens("ada")["access_token"])
    asked = request(lab.lab, 1, at=NOW)
    with serving(lab, tokens(provider)) as (_, url):
        assert submit(url, asked, stolen).status == 200  # Ada's key signed it: that is why, and not the login
        keys, thief = lab.lab.member_keys, make_key("thief")
        for name, raw in {
            "in Bob's name, by the thief's key": approval(lab.lab, asked, approver="bob", key=thief),
            "in Ada's name, by the thief's key": approval(lab.lab, asked, approver="ada", key=thief),
            "in Bob's name, by Ada's key": approval(lab.lab, asked, approver="bob", key=keys["ada"]),
            "a request of Ada's that she did not sign": request(lab.lab, 2, at=NOW, key=thief),
        }.items():
            answer = submit(url, raw, stolen)
            assert answer.status == 403, (name, answer.data)
        listed(url, stolen, "req")
        assert get(url, stolen, f"/envelope/{sha256(asked).hexdigest()}").data == asked
        real = approval(lab.lab, asked, approver="bob", key=keys["bob"])
        assert submit(url, real, stolen).status == 200  # Bob's own signature counts, whoever carries it
        assert listed(url, stolen, "apr") == [leaf_of(real).record]


def test_a_login_is_over_when_its_token_expires(lab: Any, provider: OpenIdProvider) -> None:
    with serving(lab, tokens(provider, skew_s=0)) as (process, url):
        brief = bearer(provider.machine_token("brief"))
        said = wait_for(
            "the end of the login",
            lambda: answer.json() if (answer := get(url, brief)).status == 401 else None,
            process,
        )
        assert (said["code"], said["hint"]) == ("login-expired", "keyturn login")


def test_the_process_log_names_the_member_and_never_the_token(lab: Any, provider: OpenIdProvider) -> None:
    token = provider.person_tokens("ada")["access_token"]
    with serving(lab, tokens(provider)) as (process, url):
        assert submit(url, b"{}", bearer(token)).status == 400
        said = json.loads(process.wait_for_line('"login":"ada"'))
        assert (said["event"], said["route"]) == ("request-refused", "/submit")
        assert get(url, bearer(token + "x")).status == 401
        process.wait_for_line("login-invalid")
        assert token[:20] not in process.output
        assert "ada@" not in process.output


def test_without_a_proxy_the_header_is_whatever_anybody_writes(lab: Any, provider: OpenIdProvider) -> None:
    path = lab.path / "login.toml"
    path.write_text(CERTIFICATES)
    with (
        pytest.raises(AssertionError, match="login-no-proxy"),
        lab.serving("serve", "--login", str(path), name="service"),
    ):
        pass
    path.write_text(CERTIFICATES.replace("[proxy]", "").replace('secret_file = "proxy.secret"', ""))
    with (
        pytest.raises(AssertionError, match=r"`\[certificates\]` and `\[proxy\]` together"),
        lab.serving("serve", "--behind-proxy", "--login", str(path), name="service"),
    ):
        pass
    (lab.path / "proxy.secret").write_text("short")
    (lab.path / "proxy.secret").chmod(0o600)
    path.write_text(CERTIFICATES)
    with (
        pytest.raises(AssertionError, match="login-secret"),
        lab.serving("serve", "--behind-proxy", "--login", str(path), name="service"),
    ):
        pass
    with serving(lab, tokens(provider)) as (_, url):
        assert get(url, certificate(DER)).status == 401


def test_two_ways_to_log_in_are_either(lab: Any, provider: OpenIdProvider) -> None:
    with serving(lab, tokens(provider) + CERTIFICATES.replace("version = 1", ""), "--behind-proxy") as (_, url):
        assert get(url, certificate(DER)).status == 200
        assert get(url, bearer(provider.machine_token("gate"))).status == 200
        assert get(url, bearer("x") | certificate(b"another")).status == 401
        document = get(url, path="/openapi.json").json()
        assert set(document["components"]["securitySchemes"]) == {"token", "certificate"}
