"""Read and write a person's `config.toml`, and say where their files lie.

    version = 1
    member = "ada"
    lab = "/srv/labs/acme"                    # default for --lab
    [[keys]]                                  # what the person signs with; without any: the software key in keys/member.pem
    kind = "ssh-sk"
    public = "<base64>"
    application = "ssh:"
    [trust]                                   # a trust key on a token; without: the software key in keys/trust.pem
    kind = "pkcs11"
    public = "<base64>"
    module = "/usr/lib/opensc-pkcs11.so"
    token = "ada"
    label = "trust"
    [pins]
    "acme.example" = "<sha256 of the lab's first root>"

The first key is for asking; the first that verifies its user, if there is one, for approving.
A home is `KEYTURN_HOME`, else `~/.config/keyturn`: `config.toml` and `keys/{member,trust}.pem`. One home is one member.
A pin is what the person compared with a coworker; nothing ever writes one on first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.text import HexDigest, LabName, MemberId

__all__ = ["Home", "OwnKey", "PersonConfig", "home_of", "parse", "render"]


@dataclass(frozen=True, slots=True)
class Home:
    """Where one member's files lie."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def member_key(self) -> Path:
        """The key that signs requests and, in demo, approvals."""
        return self.path / "keys" / "member.pem"

    @property
    def trust_key(self) -> Path:
        """The key that signs root and targets, and nothing else."""
        return self.path / "keys" / "trust.pem"


class OwnKey(EnrolledKey, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key as the roster lists it, and where it is on this machine.

    `file` is the private key of an SSH key that no agent holds; `module`, `token` and `label` name a PKCS#11 key.
    """

    file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    module: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    token: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    label: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    @classmethod
    def of(cls, enrolled: EnrolledKey) -> OwnKey:
        """The key `enrolled`, of which nothing needs to be said about where it is."""
        return cls(**{name: getattr(enrolled, name) for name in EnrolledKey.__struct_fields__})

    @property
    def enrolled(self) -> EnrolledKey:
        """The key without where it is."""
        return EnrolledKey(**{name: getattr(self, name) for name in EnrolledKey.__struct_fields__})


@dataclass(frozen=True, slots=True)
class PersonConfig:
    """Who the person is, the default lab (path or URL), the pinned first root of each lab by name, and the person's keys.

    `trust` is the trust key when it is not the software key in the home.
    """

    member: str
    lab: str | None
    pins: Mapping[str, str]
    keys: tuple[OwnKey, ...] = ()
    trust: OwnKey | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    member: MemberId
    lab: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    keys: Annotated[tuple[OwnKey, ...], Meta(max_length=16)] = ()
    trust: OwnKey | None = None
    pins: Annotated[dict[LabName, HexDigest], Meta(max_length=256)] = {}


def home_of(environment: Mapping[str, str]) -> Home:
    """Find the home of whoever runs this process, from its environment variables."""
    named = environment.get("KEYTURN_HOME", "")
    return Home(Path(named) if named else Path(environment.get("HOME", "/")) / ".config" / "keyturn")


def parse(raw: bytes, *, where: str = "config.toml") -> PersonConfig:
    """Parse `raw`, or raise `Usage`."""
    file = toml.parse(raw, _File, where=where)
    return PersonConfig(member=file.member, lab=file.lab, pins=file.pins, keys=file.keys, trust=file.trust)


def render(value: PersonConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table: dict[str, object] = {"version": 1, "member": value.member}
    if value.lab is not None:
        table["lab"] = value.lab
    if value.keys:
        table["keys"] = [msgspec.to_builtins(key) for key in value.keys]
    if value.trust is not None:
        table["trust"] = msgspec.to_builtins(value.trust)
    table["pins"] = dict(sorted(value.pins.items()))
    return tomli_w.dumps(table).encode("utf-8")
