"""Say what a session on a host may do beyond a shell: part of an access request, so that coworkers see and sign it.

Everything is off unless it is named: no other account than the action's own, no source address but any, no forwarded port, no
sftp. Agent, X11 and tunnel forwarding, and ports that the host would listen on, cannot be asked for: whoever has the host would
have what lies behind them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.formats.text import check_free_text
from keyturn.formats.uri import Uri

__all__ = ["Account", "BastionTerms", "SessionTerms", "Watcher", "bastion_words", "host_key_words"]

Account = Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9._-]{0,31}\Z")]
"""A user's name on the host."""

Watcher = Annotated[str, Meta(pattern=r"\A(group|member):[a-z0-9][a-z0-9._-]{0,62}\Z")]
"""Who watches: one member, or anybody of a group."""

_DESTINATION = re.compile(r"(?:[a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\]):([1-9][0-9]{0,4})\Z")
_LISTED_MAX = 16


class BastionTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Through which bastion a session comes, which records it. `key` (SubjectPublicKeyInfo in base64) is what the bastion proves
    to the host in place of the session key, and `proof` the signature by the bastion's gate key that it is the bastion's."""

    gate: str
    key: Annotated[str, Meta(max_length=400)]
    proof: Annotated[str, Meta(max_length=200)]

    def __post_init__(self) -> None:
        if Uri.parse(self.gate).type != "gate":
            raise ValueError(f"expected a bastion's gate, got `{self.gate[:80]}`")


def bastion_words(*, gate: str, session_key: str, key: str) -> bytes:
    """What a bastion signs: that `key` is its own, for the session whose person proves `session_key`, and for no other."""
    return f"keyturn.dev/bastion-key/v1\n{gate}\n{session_key}\n{key}\n".encode()


def host_key_words(*, gate: str, host_key: str) -> bytes:
    """What a bastion signs: that `host_key`, as ssh writes public keys, is that of its SSH server."""
    return f"keyturn.dev/bastion-host-key/v1\n{gate}\n{host_key}\n".encode()


class SessionTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one session may do. `sources` are networks (CIDR) that it may come from, any if there are none; `command` is all
    that it runs; `forwards` are the destinations (`host:port`) that its client may be connected to; with a `bastion` it comes
    through that alone, and is recorded; with a `watcher` nothing goes through that unless he watches."""

    account: Account | None = None
    sources: Annotated[tuple[str, ...], Meta(max_length=_LISTED_MAX)] = ()
    command: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    sftp: bool = False
    forwards: Annotated[tuple[str, ...], Meta(max_length=_LISTED_MAX)] = ()
    bastion: BastionTerms | None = None
    watcher: Watcher | None = None

    def __post_init__(self) -> None:
        for source in self.sources:
            if str(ipaddress.ip_network(source)) != source:
                raise ValueError(f"expected a network as `{ipaddress.ip_network(source)}`, got `{source[:60]}`")
        for destination in self.forwards:
            port = _DESTINATION.match(destination)
            if port is None or int(port[1]) > 65535:
                raise ValueError(f"expected a destination as `db1:5432`, got `{destination[:60]}`")
        for listed in (self.sources, self.forwards):
            if list(listed) != sorted(set(listed)):
                raise ValueError("expected sources and forwards sorted, each once")
        if self.command is not None:
            check_free_text(self.command, what="command", size_bytes_max=1000)
            if "\n" in self.command or not self.command.strip():
                raise ValueError("expected a command on one line")
            if self.sftp:
                raise ValueError("expected a command or sftp, got both: a command is all that a session runs")
        if self.watcher is not None and self.bastion is None:
            raise ValueError("expected a watcher with a bastion alone: nobody sees what goes past one")
        if not (self.account or self.sources or self.command or self.sftp or self.forwards or self.bastion):
            raise ValueError("expected terms that say something: a request without any has none")
