"""docs/guide/login.md is run as it stands, with HAProxy and a real OpenID provider; the test is the person at the browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.openid import OpenIdProvider, running_provider
from support.pages import run_page
from support.tls_proxy import free_port, guide_configuration

ROOT = Path(__file__).resolve().parents[2]
AT_THE_BROWSER = f"""#!{sys.executable}
import re, subprocess, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from support.openid import OpenIdProvider

words = [sys.executable, "-m", "keyturn", *sys.argv[1:]]
if sys.argv[1] != "login" or "--issuer" not in sys.argv or "--secret-file" in sys.argv:
    import os
    os.execv(words[0], words)
with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
    for line in child.stderr:
        sys.stderr.write(line)
        if found := re.search(r"open (\\S+) and enter (\\S+)", line):
            OpenIdProvider("", None).enter_code(found[1], found[2], name="ada")
sys.exit(child.returncode)
"""


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with running_provider() as found:
        yield found


@pytest.mark.timeout(240)
def test_everybody_logs_in_as_it_is_written(tmp_path: Path, provider: OpenIdProvider) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "keyturn").write_text(AT_THE_BROWSER)
    (programs / "keyturn").chmod(0o755)
    ports = {"8443": str(free_port()), "8740": str(free_port())}
    configuration = guide_configuration().replace("*:443", "127.0.0.1:8443").replace("/etc/haproxy/keyturn/", "")
    said = run_page(
        "guide/login.md",
        tmp_path,
        programs=programs,
        environment={"ISSUER": provider.issuer},
        files={"haproxy.cfg": configuration},
        changed=ports,
        timeout_s=120,
    )
    for words in (
        "exit status 3: who is not logged in is told what to type",
        "keyturn login, or keyturn login --certificate FILE --certificate-key FILE",
        f"logged in at https://localhost:{ports['8443']}",
        f"https://localhost:{ports['8443']} is shown the certificate ",
        '"kind":"rot"',
    ):
        assert words in said, f"{words}\n\n{said}"
    assert "login-needed" in said.split("exit status 3")[0]
    assert "login-" not in said.split("exit status 3")[1]
