"""docs/guide/siem.md is run as it stands, with a real rsyslog; its HTTPS collector is a program of this test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.pages import run_page
from support.tls_proxy import free_port

COLLECTOR = f"""#!{sys.executable}
import ssl, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, certificate, key, token = sys.argv[1:]

class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers["Authorization"] == f"Bearer {{token}}"
        if known:
            sys.stdout.write(body.decode().rstrip() + "\\n")
            sys.stdout.flush()
        self.send_response(204 if known else 403)
        self.end_headers()

    def log_message(self, *said):
        pass

server = HTTPServer(("127.0.0.1", int(port)), Collector)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
server.socket = tls.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""


@pytest.mark.timeout(240)
def test_decisions_reach_a_siem_as_it_is_written(tmp_path: Path) -> None:
    assert Path("/usr/sbin/rsyslogd").is_file(), "apt-get install rsyslog rsyslog-openssl, as ./bootstrap --tests does"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "collector").write_text(COLLECTOR)
    (programs / "collector").chmod(0o755)
    ports = {"6514": str(free_port()), "8088": str(free_port())}
    said = run_page("guide/siem.md", tmp_path, programs=programs, changed=ports, timeout_s=200)
    for words in (
        "release.jsonl: 1 events; decision 1 is next",
        "release.jsonl: 1 events; decision 2 is next",
        "2 release.jsonl",
        "warning keyturn refused",
        "exit status 3: nobody there yet",
        f"https://localhost:{ports['8088']}/keyturn: 3 events; decision 3 is next",
        f"https://localhost:{ports['8088']}/keyturn: 1 events; decision 4 is next",
        "5 events.jsonl",
    ):
        assert words in said, f"{words}\n\n{said}"
