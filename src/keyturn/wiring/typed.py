"""Read what somebody typed: what is malformed there is their own, so it is `Usage`, and says at which option.

The same words out of a record or a file stay `Malformed`: there, somebody else wrote them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from keyturn.errors import Malformed, Usage
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.digest import ArtifactDigest, Sha256, parse_sha256
from keyturn.formats.posix_time import posix
from keyturn.formats.session_terms import BastionTerms, SessionTerms
from keyturn.formats.text import check_free_text
from keyturn.formats.uri import Uri

__all__ = [
    "artifact",
    "database_terms",
    "free_text",
    "instant",
    "log_entries",
    "page_origin",
    "root_digest",
    "session_terms",
    "through",
    "typed",
    "uri",
]

T = TypeVar("T")
_AS_IT_SAYS = "type it as the message says; `--help` behind the command says what it takes"


def typed(option: str, parse: Callable[[str], T], text: str) -> T:
    """Parse `text`, which was typed at `option`; what is malformed is raised as `Usage`, with the same code."""
    try:
        return parse(text)
    except Malformed as err:
        raise Usage(
            err.code,
            f"{option}: {err.message}",
            hint=err.hint or _AS_IT_SAYS,
        ) from err


def uri(option: str, text: str, *, lab: str) -> Uri:
    """Read a whole URI, or the part of it after the lab: `model/aurora` is `keyturn://<lab>/model/aurora`."""
    return typed(option, Uri.parse, text if text.startswith("keyturn://") else f"keyturn://{lab}/{text}")


def artifact(option: str, text: str) -> ArtifactDigest:
    """Read a digest as `dirHash:...` or `sha256:...`."""
    return typed(option, ArtifactDigest.parse, text)


def root_digest(option: str, text: str) -> Sha256:
    """Read the SHA-256 of a root, as a coworker said it."""
    return typed(option, lambda said: parse_sha256(said, what="the root's SHA-256"), text)


def log_entries(option: str, texts: Sequence[str]) -> tuple[range, ...]:
    """Read log entries, as `17` or `17-40` (both included)."""
    found = []
    for text in texts:
        parts = re.fullmatch(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", text, re.ASCII)
        entries = None if parts is None else range(int(parts[1]), int(parts[2] or parts[1]) + 1)
        if not entries:
            raise Usage(
                "log-entries",
                f"{option}: expected a log entry as `17`, or some as `17-40`, got `{text[:40]}`",
                hint="keyturn trust void lists them",
            )
        found.append(entries)
    return tuple(found)


def instant(option: str, text: str, *, now: int, ago: bool) -> int:
    """Read a time as `2026-01-31T12:00:00Z`, a day as `2026-01-31` (its beginning, in UTC), or so many days or hours from now or
    ago as `30d`, `12h`; POSIX seconds."""
    if parts := re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text, re.ASCII):
        span = int(parts[1]) * (86_400 if parts[2] == "d" else 3_600)
        return now - span if ago else now + span
    return typed(
        option, posix, f"{text}T00:00:00Z" if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII) else text
    )


def session_terms(
    *,
    account: str | None,
    sources: Sequence[str] | None,
    command: str | None,
    sftp: bool,
    forwards: Sequence[str] | None,
    bastion: BastionTerms | None = None,
    watcher: str | None = None,
) -> SessionTerms | None:
    """Read what a session on a host may do; None when nothing was typed of it."""
    if not (account or sources or command or sftp or forwards or bastion or watcher):
        return None
    try:
        networks = {str(ipaddress.ip_network(source)) for source in sources or ()}
        said = {"account": account, "sources": sorted(networks), "command": command, "sftp": sftp}
        if bastion is not None:
            said["bastion"] = msgspec.to_builtins(bastion)
        if watcher is not None:
            said["watcher"] = watcher
        return msgspec.convert({**said, "forwards": sorted(set(forwards or ()))}, SessionTerms)
    except (ValueError, Malformed) as err:
        raise Usage(
            "session-terms",
            f"a session's terms: {str(err)[:300]}",
            hint="as --account ada --from 10.1.0.0/16 --forward db1:5432; --sftp and --command exclude each other",
        ) from err


def through(terms: SessionTerms | None, bastion: BastionTerms, *, watcher: str | None) -> SessionTerms:
    """`terms`, recorded by `bastion`, and watched by `watcher` if somebody must."""
    said = {} if terms is None else msgspec.to_builtins(terms)
    watched = {} if watcher is None else {"watcher": watcher}
    try:
        return msgspec.convert({**said, "bastion": msgspec.to_builtins(bastion), **watched}, SessionTerms)
    except (ValueError, Malformed) as err:
        raise Usage(
            "session-terms", f"a session's terms: {str(err)[:300]}", hint="as --watched-by group:security, member:dan"
        ) from err


def database_terms(
    *, read_only: bool, tables: Sequence[str] | None, statement_s: int | None, connections: int | None
) -> DatabaseTerms | None:
    """Read what a session in a database is held to; None when nothing was typed of it."""
    if not (read_only or tables or statement_s is not None or connections is not None):
        return None
    said = {"read_only": read_only, "tables": sorted(set(tables or ())), "statement_s": statement_s}
    try:
        return msgspec.convert({**said, "connections": connections}, DatabaseTerms)
    except ValueError as err:
        raise Usage(
            "database-terms",
            f"what the session is held to: {str(err)[:300]}",
            hint="as --table runs --statement-timeout 30s --connections 1; a table without its schema",
        ) from err


def page_origin(option: str, text: str) -> str:
    """Read the origin of a signing page that another operator serves; without a path."""
    if not re.fullmatch(r"https?://[a-z0-9.-]{1,253}(?::[1-9][0-9]{0,4})?", text, re.ASCII):
        raise Usage(
            "signing-page-origin", f"{option}: expected an origin, got `{text[:120]}`", hint="https://sign.example"
        )
    return text


def free_text(option: str, text: str) -> str:
    """Accept what a person wrote for others to read: printable, in UTF-8, at most 2000 bytes."""
    if any("\udc80" <= character <= "\udcff" for character in text):  # how Python shows bytes that are no UTF-8
        raise Usage("text-encoding", f"{option}: expected UTF-8, got other bytes")
    return typed(option, lambda said: check_free_text(said, what="text"), text)
