"""`keyturn up` runs a lab whose service asks for a login; its other processes show the login of the home that they have."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from keyturn.config import lab as lab_config
from support.logins import logs_in, tokens
from support.members import KEYTURN, People
from support.openid import OpenIdProvider
from support.processes import running
from support.tls_proxy import PROXY_SECRET, Authority, digest_of, free_port, tls_proxy


@pytest.mark.timeout(120)
def test_up_serves_a_closed_lab_to_tokens_and_certificates_and_its_gate_follows(
    provider: OpenIdProvider, tmp_path: Path
) -> None:
    people = People(tmp_path / "people")
    people.place.mkdir()
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    (people.place / "work").mkdir()
    people.by("ada", "builder", "init", "--work", str(people.place / "work"))
    people.by("ada", "gate", "init")
    authority, ports = Authority(tmp_path / "ca"), [free_port(), free_port()]
    shown, here, url = authority.issue("ada"), f"http://127.0.0.1:{ports[0]}", f"https://localhost:{ports[1]}"
    config = people.lab / "keyturn.toml"
    config.write_bytes(lab_config.render(replace(lab_config.parse(config.read_bytes()), service=url)))
    (people.lab / "proxy.secret").write_text(PROXY_SECRET)
    (people.lab / "proxy.secret").chmod(0o600)
    login = people.lab / "login.toml"
    listed = f'[certificates]\nada = "{digest_of(shown)}"\n[proxy]\nsecret_file = "proxy.secret"\n'
    login.write_text(tokens(provider) + listed)
    people.environment["SSL_CERT_FILE"] = str(authority.pem)
    home = {"KEYTURN_HOME": str(people.place / "ada"), "SSL_CERT_FILE": str(authority.pem)}
    # Ada is who types `up`: its gate shows what her home keeps.
    people.by("ada", "login", "--lab", url, "--certificate", str(shown))
    words = ("up", "--lab", people.lab, "--port", str(ports[0]), "--behind-proxy", "--login", login)
    with running([*KEYTURN, *words], cwd=people.place, environment=home) as process:
        process.wait_for_line("ready")
        with tls_proxy(here, authority, tmp_path, port=ports[1]):
            refused = urllib3.request("GET", f"{here}/index/kinds?kinds=req", retries=False)
            assert (refused.status, refused.json()["code"]) == (401, "login-needed")
            asked = people.ask()
            assert people.refused("bob", "deny", asked, "--reason", "no", "--yes", status=3) == "login-needed"
            bob = home | {"KEYTURN_HOME": str(people.place / "bob")}
            logs_in(bob, provider, url, name="ada")
            [at_gate] = people.by("bob", "deny", asked, "--reason", "no", "--yes")["gates"]
            assert (at_gate["in_force"], at_gate["size"] > 0) == (True, True)
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    # Now the service is of another machine, where it would stay open, unnoticed.
    for key in (people.lab / "keys").glob("log*"):
        key.unlink()
    again = ("up", "--behind-proxy", "--login", str(login))
    assert people.refused("ada", *again, status=2) == "lab-no-service"
