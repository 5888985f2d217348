"""Read and write `notify.toml`: whom the notifier tells, where, and when it asks more people to look.

    version = 1
    root = "<sha256 of the lab's first root>"
    service = "https://log.acme.example"        # absent: the log beside it, in the same lab directory
    link = "https://keys.acme.example/request/" # absent: the command to look with; the request's id is put behind it
    expiring_s = 900                            # how long before something ends its requester is told
    keep_s = 604800                             # how long a receiver that does not answer is tried
    [[receivers]]
    name = "bob-mail"
    member = "bob"                              # or `group = "security"`
    url_file = "bob-mail.url"                   # an apprise URL: in a file of mode 0600, or `url_env`, a variable's name
    paging = false                              # true: only what is urgent goes there
    [[escalation]]
    after_s = 1800                              # a request that waits for so long ...
    group = "security"                          # ... is told to this group as well
    [[away]]
    member = "bob"
    deputy = "eve"                              # is told instead; nobody votes for anybody
    until = 2026-12-31T00:00:00Z

The file belongs to whoever operates the notifier. It says who is told, and never who may approve: people and quorums come from
the signed targets. Secrets are in no key of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.errors import Usage
from keyturn.formats.text import HexDigest, HttpUrl, MemberId, Name

__all__ = ["Absence", "NotifyConfig", "ReceiverConfig", "Step", "parse", "render"]

_Seconds = Annotated[int, Meta(ge=1, le=30 * 86400)]


class ReceiverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where one member, or a group together, is told. The address itself is in `url_file` or the variable `url_env`."""

    name: Name
    member: MemberId | None = None
    group: Name | None = None
    url_file: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,4096}\Z")] | None = None
    url_env: Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z")] | None = None
    paging: bool = False

    def __post_init__(self) -> None:
        if (self.member is None) == (self.group is None):
            raise ValueError(f"receiver `{self.name[:64]}`: expected exactly one of `member` and `group`")
        if (self.url_file is None) == (self.url_env is None):
            raise ValueError(f"receiver `{self.name[:64]}`: expected exactly one of `url_file` and `url_env`")


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that waits for `after_s` is told to `group` as well."""

    after_s: _Seconds
    group: Name


class Absence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until then, `deputy` is told what `member` would be."""

    member: MemberId
    deputy: MemberId
    until: Annotated[datetime, Meta(tz=True)]

    @property
    def until_s(self) -> int:
        """POSIX seconds."""
        return int(self.until.astimezone(UTC).timestamp())


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the notifier's operator configured; see the file's docstring."""

    version: Literal[1]
    root: HexDigest
    service: HttpUrl | None = None
    link: HttpUrl | None = None
    expiring_s: _Seconds = 900
    keep_s: _Seconds = 7 * 86400
    receivers: Annotated[tuple[ReceiverConfig, ...], Meta(max_length=256)] = ()
    escalation: Annotated[tuple[Step, ...], Meta(max_length=8)] = ()
    away: Annotated[tuple[Absence, ...], Meta(max_length=256)] = ()


@dataclass(frozen=True, slots=True)
class _Once:
    what: str
    names: Iterable[str]


def parse(raw: bytes, *, where: str = "notify.toml") -> NotifyConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, NotifyConfig, where=where)
    for once in (
        _Once("receiver", (one.name for one in file.receivers)),
        _Once("absence of", (one.member for one in file.away)),
    ):
        seen: set[str] = set()
        for name in once.names:
            if name in seen:
                raise Usage("config-invalid", f"`{where}`: expected each {once.what} `{name}` once")
            seen.add(name)
    return file


def render(value: NotifyConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table = msgspec.to_builtins(value, builtin_types=(datetime,))
    return tomli_w.dumps(table).encode("utf-8")
