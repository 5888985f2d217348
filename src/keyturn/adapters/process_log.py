"""What a server process says of itself on standard error: lines of JSON for a collector, or of text for somebody at a terminal.

    {"time":"2026-11-30T11:08:56.123Z","level":"warning","process":"service","event":"publishing-failed",
     "code":"log-behind-witnesses","message":"the log has 3 entries, ...","hint":"restore the newest packs; ..."}

Events and codes are stable, and so are their fields (docs/formats/process-log.md); messages are for people. No line holds a
request's body, a record, a key, a password or an environment. What others wrote is in a message only as far as an error quotes
it, bounded, and with every character that could act on a terminal made plain. Nothing here is evidence: what was
granted is in the log of the lab, and in a gate's journal.

It is standard library `logging` with one handler, so that what libraries say comes out in the same form.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

import msgspec

from keyturn.errors import KeyturnError, Refused
from keyturn.formats.plain_text import plain

__all__ = ["begin", "ended", "say"]

Level = Literal["info", "warning", "error"]

_LEVELS: dict[Level, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NAMES = {number: name for name, number in _LEVELS.items()}
_LOGGER = logging.getLogger("keyturn")
_TEXT_MAX = 2000
_TRACE_MAX = 8000


def begin(process: str, *, log_json: bool) -> None:
    """Write what this process says as `process`: JSON when `log_json` or when standard error is no terminal."""
    handler = _StandardError()
    handler.setFormatter(_Json(process) if log_json or not sys.stderr.isatty() else _Text(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)


def say(
    level: Level,
    event: str,
    message: str = "",
    *,
    err: KeyturnError | None = None,
    trace: bool = False,
    about: Mapping[str, str | int] = MappingProxyType({}),
) -> None:
    """Say that `event` happened; with `err`, its code, public text, reasons' codes, hint and internal detail.

    `about` are further fields, of the event's own. `trace` adds the traceback of the exception that is handled: for defects.
    """
    said: dict[str, str | int | list[str]] = {"event": event, **about}
    if err is not None:
        message = message or err.message
        said["code"] = err.code
        if isinstance(err, Refused) and len(err.reasons) > 1:
            said["reasons"] = [code for code, _ in err.reasons]
        said |= {name: text for name, text in (("hint", err.hint), ("detail", err.detail)) if text and name not in said}
    if trace:
        said["trace"] = traceback.format_exc()[-_TRACE_MAX:]
    # Without `begin` (inside other programs) this is what comes out.
    text = f"{message or event}{'' if err is None else f' [{err.code}]'}"
    _LOGGER.log(_LEVELS[level], "%s", text, extra={"said": said, "message_alone": message})


def ended(err: KeyturnError, *, hint: str) -> None:
    """Say that the process ends, or never began to serve, because of `err`, and what to do next."""
    say("error", "ended", err=err, about={"hint": hint} if hint else {})


class _StandardError(logging.Handler):
    """Writes to standard error, whatever that is now; a process goes on when nobody reads what it says."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        said = dict(getattr(record, "said", {"event": "library", "library": record.name}))
        message = getattr(record, "message_alone", None)
        if message is None:
            message = record.getMessage()
            if record.exc_info:
                said["trace"] = self.formatException(record.exc_info)[-_TRACE_MAX:]
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": _NAMES.get(record.levelno, "error"),
            "process": self._process,
            "event": said.pop("event"),
            **({"code": said.pop("code")} if "code" in said else {}),
            **({"message": message} if message else {}),
            **said,
        }
        return msgspec.json.encode({name: _bounded(value, name) for name, value in line.items()}).decode()


class _Text(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        said = getattr(record, "said", {})
        lines = [f"{self._process}: {record.getMessage()}"]
        lines += [f"  {name}: {said[name]}" for name in ("hint", "detail", "trace") if name in said]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return plain("\n".join(lines))


def _bounded(value: object, name: str) -> object:
    return plain(value[: _TRACE_MAX if name == "trace" else _TEXT_MAX]) if isinstance(value, str) else value
