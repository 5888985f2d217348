"""Events reach a file, a syslog collector in the clear and over TLS, and HTTP; what did not arrive is not taken as sent."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyturn.adapters.event_sinks import BATCH_MAX, Event, open_sink, syslog_message
from keyturn.errors import Unavailable, Usage
from support.processes import wait_for

TEXT = '{"text":"grün %d"}'
EVENTS = [
    Event(line=(TEXT % n).encode(), severity=1 + n % 4, at="2026-09-21T14:13:20Z", what="granted") for n in range(3)
]
MESSAGE = re.compile(rb"(\d+) (<(\d+)>1 2026-09-21T14:13:20Z \S+ keyturn \d+ granted - )")


def send(target: str, events: list[Event] = EVENTS, *, ca: Path | None = None, token_file: Path | None = None) -> None:
    with closing(open_sink(target, ca=ca, token_file=token_file)) as sink:
        sink.send(events)


def certificates(place: Path, address: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate of its own authority for `address`: its file, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "collector")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (place / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (place / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "ca.pem", place / "key.pem")
    return place / "ca.pem", context


@dataclass
class Collector:
    """What a syslog collector got, over all its connections."""

    port: int
    got: bytearray = field(default_factory=bytearray)
    drop: Callable[[], None] = lambda: None


@contextmanager
def collecting(context: ssl.SSLContext | None = None) -> Iterator[Collector]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        collector = Collector(server.getsockname()[1])
        connections: list[socket.socket] = []

        def take(connection: socket.socket) -> None:
            try:
                spoken = connection if context is None else context.wrap_socket(connection, server_side=True)
                connections.append(spoken)
                with spoken:
                    while part := spoken.recv(65536):
                        collector.got += part
            except OSError:
                pass  # what the client did not like, or the end of the test

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=take, args=(connection,), daemon=True).start()

        def drop() -> None:
            for one in connections:
                one.shutdown(socket.SHUT_RDWR)

        collector.drop = drop
        threading.Thread(target=accept, daemon=True).start()
        yield collector
        server.shutdown(socket.SHUT_RDWR)


def messages(raw: bytes) -> list[bytes]:
    found = []
    while raw:
        match = MESSAGE.match(raw)
        assert match, raw[:80]
        begin, length = match.start(2), int(match[1])
        found.append(raw[begin : begin + length][len(match[2]) :])
        raw = raw[begin + length :]
    return found


def test_a_file_is_appended_to_line_by_line(tmp_path: Path) -> None:
    for _ in range(2):
        send(str(tmp_path / "events.jsonl"))
    assert (tmp_path / "events.jsonl").read_bytes().splitlines() == [event.line for event in EVENTS] * 2
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Unavailable, match="export-failed"):
        send(str(tmp_path / "no" / "such" / "place"))


def test_syslog_messages_are_counted_in_bytes_with_their_priority() -> None:
    raw = b"".join(syslog_message(event, host="gate1") for event in EVENTS)
    assert messages(raw) == [event.line for event in EVENTS]
    assert [int(match[3]) for match in MESSAGE.finditer(raw)] == [13 * 8 + level for level in (6, 4, 3)]


def test_syslog_over_tcp_goes_on_after_the_collector_went_away() -> None:
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        sink = open_sink(f"syslog+tcp://127.0.0.1:{collector.port}", ca=None, token_file=None)
        stack.callback(sink.close)
        sink.send(EVENTS)
        wait_for("the first three", lambda: len(messages(bytes(collector.got))) == 3 or None)
        collector.drop()
        sink.send(EVENTS)
        wait_for("three more", lambda: len(messages(bytes(collector.got))) == 6 or None)


def test_syslog_over_tls_is_for_a_collector_that_proves_itself(tmp_path: Path) -> None:
    ca, context = certificates(tmp_path, "127.0.0.1")
    with collecting(context) as collector:
        target = f"syslog+tls://127.0.0.1:{collector.port}"
        send(target, ca=ca)
        wait_for("all of them", lambda: len(messages(bytes(collector.got))) == 3 or None)
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            send(target)
    other = tmp_path / "other"
    other.mkdir()
    ca, context = certificates(other, "127.0.0.2")
    with collecting(context) as collector, pytest.raises(Unavailable, match="IP address mismatch"):
        send(f"syslog+tls://127.0.0.1:{collector.port}", ca=ca)
    assert not collector.got


@contextmanager
def serving(status: int, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((str(self.headers["Authorization"]), body))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_http_takes_batches_with_a_token_from_a_file(tmp_path: Path) -> None:
    ca, context = certificates(tmp_path, "127.0.0.1")
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    many = EVENTS * BATCH_MAX
    with serving(202, context) as (port, got):
        send(f"https://127.0.0.1:{port}/in", many, ca=ca, token_file=token)
    assert [len(body.splitlines()) for _, body in got] == [BATCH_MAX] * 3
    assert {authorization for authorization, _ in got} == {"Bearer s3cret"}
    assert b"".join(body for _, body in got).splitlines() == [event.line for event in many]


@pytest.mark.parametrize("status", [400, 401, 500, 302])
def test_only_a_2xx_has_taken_events_and_nothing_is_redirected(status: int) -> None:
    with serving(status) as (port, got), pytest.raises(Unavailable, match=f"HTTP {status}"):
        send(f"http://127.0.0.1:{port}/in")
    assert len(got) == 1


@pytest.mark.parametrize("target", ["http://siem.example/in", "syslog+tcp://10.0.0.1:514", "http://127.0.0.1.example/"])
def test_names_of_people_go_nowhere_in_the_clear(target: str) -> None:
    with pytest.raises(Usage) as caught:
        send(target)
    assert caught.value.code == "export-in-the-clear"


@pytest.mark.parametrize(
    "target",
    [
        "ftp://x/",
        "https://",
        "https://user:secret@siem.example/",
        "syslog+tls://siem.example",
        "syslog+tls://x:70000",
        "https://[x/",
    ],
)
def test_what_is_no_target_is_usage(target: str) -> None:
    with pytest.raises(Usage) as caught:
        send(target)
    assert caught.value.code == "export-target"


def test_a_token_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    for text, mode, code in (
        ("x", 0o644, "token-readable-by-others"),
        ("a b", 0o600, "token-invalid"),
        ("", 0o600, "token-invalid"),
    ):
        token.write_text(text)
        token.chmod(mode)
        with pytest.raises(Usage) as caught:
            send("https://siem.example/", token_file=token)
        assert caught.value.code == code
