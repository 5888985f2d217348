"""Where a gate's events go: standard output, a file, syslog over TCP or TLS, or HTTP.

    -                          standard output
    /path/to/file              appended and synced
    syslog+tcp://host:port     RFC 5424 messages, octet-counted (RFC 6587), facility 13 (log audit)
    syslog+tls://host:port     the same over TLS (RFC 5425), the server's certificate verified
    https://host/path          POST of lines of JSON, at most `BATCH_MAX` at once; only a 2xx has taken them

`send` returns when the other side has what was sent, as far as its protocol says so: for syslog that is when the kernel took it,
so the last events before a broken connection may be lost there, and are sent again where the sender knows. In the clear only to
this machine: http and syslog+tcp elsewhere are refused, since events name people.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import urllib3

from keyturn.errors import Unavailable, Usage

__all__ = ["BATCH_MAX", "Event", "Sink", "open_sink", "syslog_message"]

BATCH_MAX = 100
_WITHIN_S = 20.0
_END_WITHIN_S = 2.0
_FACILITY = 13
_SYSLOG_SEVERITY = {1: 6, 2: 4, 3: 3, 4: 1}
"""Of OCSF's severities: informational, warning, error, alert."""
_TOKEN_BYTES_MAX = 8192


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its line of JSON, OCSF's severity, its time as RFC 3339, and what it is in a word."""

    line: bytes
    severity: int
    at: str
    what: str


class Sink(Protocol):
    """Takes events."""

    def send(self, events: Sequence[Event]) -> None:
        """Deliver all of `events`, in order, or raise `Unavailable`; then none or some were delivered."""

    def close(self) -> None:
        """Let go of its connection."""


def open_sink(target: str, *, ca: Path | None, token_file: Path | None) -> Sink:
    """The sink that `target` names; `Usage` when it names none, or would carry names of people in the clear."""
    if target == "-":
        return _StandardOutput()
    if "://" not in target:
        return _File(Path(target))
    try:
        url = urlsplit(target)
        host, port = url.hostname, url.port
    except ValueError as err:
        raise _no_target(target) from err
    if host is None or url.username is not None or url.scheme not in ("https", "http", "syslog+tcp", "syslog+tls"):
        raise _no_target(target)
    if url.scheme in ("http", "syslog+tcp") and not _is_here(host):
        raise Usage(
            "export-in-the-clear",
            f"`{url.scheme}` to `{host}` would send names of people in the clear",
            hint="https:// or syslog+tls://, or a collector on this machine",
        )
    context = None if url.scheme in ("http", "syslog+tcp") else _context(ca)
    if url.scheme.startswith("http"):
        return _Http(target, context, None if token_file is None else _token(token_file))
    if port is None or url.path not in ("", "/"):
        raise _no_target(target)
    return _Syslog(host, port, context)


def syslog_message(event: Event, *, host: str) -> bytes:
    """Render `event` as an octet-counted RFC 5424 message."""
    priority = _FACILITY * 8 + _SYSLOG_SEVERITY[event.severity]
    message = f"<{priority}>1 {event.at} {host} keyturn {os.getpid()} {event.what} - ".encode("ascii") + event.line
    return f"{len(message)} ".encode("ascii") + message


class _StandardOutput:
    def send(self, events: Sequence[Event]) -> None:
        sys.stdout.buffer.write(b"".join(event.line + b"\n" for event in events))
        sys.stdout.buffer.flush()

    def close(self) -> None:
        pass  # standard output is the caller's


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, events: Sequence[Event]) -> None:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(b"".join(event.line + b"\n" for event in events))
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise _failed(str(self._path), str(err.strerror)) from err

    def close(self) -> None:
        pass  # nothing is open between two calls


@dataclass
class _Syslog:
    host: str
    port: int
    context: ssl.SSLContext | None
    connection: socket.socket | None = field(default=None, repr=False)

    def send(self, events: Sequence[Event]) -> None:
        name = socket.gethostname().encode("ascii", "replace").decode()[:255] or "-"
        try:
            if self.connection is not None and _was_closed(self.connection):
                self.close()
            if self.connection is None:
                self.connection = self._connect()
            for event in events:
                self.connection.sendall(syslog_message(event, host=name))
        except OSError as err:
            self.close()
            raise _failed(f"{self.host}:{self.port}", str(err)) from err

    def _connect(self) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout=_WITHIN_S)
        if self.context is None:
            return plain
        try:
            return self.context.wrap_socket(plain, server_hostname=self.host)
        except OSError:
            plain.close()
            raise

    def close(self) -> None:
        if self.connection is not None:
            with closing(self.connection), suppress(OSError):
                _end(self.connection)
        self.connection = None


class _Http:
    def __init__(self, url: str, context: ssl.SSLContext | None, token: str | None) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(ssl_context=context, retries=False, timeout=_WITHIN_S)
        self._headers = {"Content-Type": "application/x-ndjson"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def send(self, events: Sequence[Event]) -> None:
        for start in range(0, len(events), BATCH_MAX):
            body = b"".join(event.line + b"\n" for event in events[start : start + BATCH_MAX])
            try:
                with closing(
                    self._pool.request(
                        "POST", self._url, body=body, headers=self._headers, redirect=False, preload_content=False
                    )
                ) as answer:
                    status = answer.status
            except (urllib3.exceptions.HTTPError, OSError) as err:
                raise _failed(self._url, str(err)) from err
            if not 200 <= status < 300:
                raise _failed(self._url, f"HTTP {status}")

    def close(self) -> None:
        self._pool.clear()


def _end(connection: socket.socket) -> None:
    """Say that nothing follows, and wait for the other side: a socket that is closed while bytes are unread in it (the session
    tickets of TLS 1.3) resets the connection, and the collector loses what it had not read yet."""
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(_END_WITHIN_S)
        connection.unwrap()


def _was_closed(connection: socket.socket) -> bool:
    """Whether the other side ended: a collector sends nothing, so whatever can be read is its end."""
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        connection.settimeout(_WITHIN_S)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as err:
        raise Usage("export-ca", f"`{ca}`: expected certificates in PEM", hint="--ca FILE, or leave it out") from err


def _token(path: Path) -> str:
    about = path.stat()
    if about.st_mode & 0o077:
        raise Usage(
            "token-readable-by-others",
            f"`{path}`: expected mode 0600, got {stat.S_IMODE(about.st_mode):04o}",
            hint=f"chmod 600 {path}; if others could have read it, have another token made",
        )
    text = path.read_bytes()[:_TOKEN_BYTES_MAX].decode("ascii", "replace").strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Usage("token-invalid", f"`{path}`: expected one token of printable ASCII", hint="--token-file FILE")
    return text


def _no_target(target: str) -> Usage:
    return Usage(
        "export-target",
        f"expected a file, `-`, https://..., syslog+tls://host:port or syslog+tcp://127.0.0.1:port, got `{target[:80]}`",
        hint="keyturn gate export --help",
    )


def _failed(where: str, why: str) -> Unavailable:
    return Unavailable(
        "export-failed",
        f"`{where}` did not take the events: {why[:200]}",
        hint="run it again: it goes on after the last that was taken",
    )
