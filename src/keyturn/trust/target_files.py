"""The target files of one targets version as they are written: their names, and the shape of each.

Six TOML 1.0 files, `roster.toml`, `resources.toml`, `gates.toml`, `builders.toml`, `log.toml`, `limits.toml`; a seventh that
may be missing, `evidence.toml`; and any number of Cedar policies, `policy/<name>.cedar` (docs/formats/trust.md is normative).
Unknown keys, unknown files and missing files are refused here. What the files say, and may say together: `trust.targets`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats.built import built
from keyturn.formats.enrolled_key import EnrolledKey, RelyingPartyId
from keyturn.formats.text import MemberId, Name, check_free_text
from keyturn.trust.keyholders import HOLDERS_MAX, QUORUM_MIN
from keyturn.trust.roster import TOMBSTONE_SIGNERS_MIN, MemberKind

__all__ = [
    "FILES",
    "FILES_OPTIONAL",
    "AttestationTable",
    "BuildersFile",
    "GatesFile",
    "LimitsFile",
    "LogFile",
    "RecordingsTable",
    "ResourcesFile",
    "RosterFile",
    "check_names",
    "policy_texts",
    "read_toml",
]

FILE_BYTES_MAX = 256 * 1024
FILES = ("builders.toml", "gates.toml", "limits.toml", "log.toml", "resources.toml", "roster.toml")
FILES_OPTIONAL = ("evidence.toml",)
"""What a lab says that has something to say there: not there, it is as if nothing stood in it."""
_POLICY = re.compile(r"policy/[a-z0-9][a-z0-9_-]{0,62}\.cedar\Z")

T = TypeVar("T")
Text = Annotated[str, Meta(max_length=400)]
Seconds = Annotated[int, Meta(ge=1, le=366 * 86400)]
Certificate = Annotated[str, Meta(max_length=8192)]
"""A root certificate: base64 of its DER."""
Origin = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9./-]{0,200}\Z")]
"""A C2SP checkpoint origin: a URL without scheme."""


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Member(_Struct, frozen=True):
    id: MemberId
    kind: MemberKind
    name: Text
    keys: Annotated[tuple[EnrolledKey, ...], Meta(max_length=16)] = ()
    responsible: Annotated[tuple[MemberId, ...], Meta(max_length=16)] = ()


class _Group(_Struct, frozen=True):
    name: Name
    members: tuple[MemberId, ...] = ()
    groups: tuple[Name, ...] = ()


class _SigningPage(_Struct, frozen=True):
    origin: Text
    rp_id: RelyingPartyId
    operator: Name | None = None


class _Authenticator(_Struct, frozen=True):
    aaguid: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    name: Text
    roots: Annotated[tuple[Certificate, ...], Meta(max_length=64)]


class AttestationTable(_Struct, frozen=True):
    required: bool
    authenticators: Annotated[tuple[_Authenticator, ...], Meta(max_length=256)] = ()


class RosterFile(_Struct, frozen=True):
    version: Literal[1]
    signing: Annotated[tuple[_SigningPage, ...], Meta(max_length=16)] = ()
    attestation: AttestationTable | None = None
    members: tuple[_Member, ...] = ()
    groups: tuple[_Group, ...] = ()


class _Resource(_Struct, frozen=True):
    uri: Text
    parents: Annotated[tuple[Text, ...], Meta(max_length=16)] = ()


class ResourcesFile(_Struct, frozen=True):
    version: Literal[1]
    resources: tuple[_Resource, ...] = ()


class _Gate(_Struct, frozen=True):
    uri: Text
    kind: Name
    public: Text
    operator: Name


class _Keyholder(_Struct, frozen=True):
    human: Name
    public: Text


class RecordingsTable(_Struct, frozen=True):
    quorum: Annotated[int, Meta(ge=QUORUM_MIN, le=HOLDERS_MAX)]
    keyholders: Annotated[tuple[_Keyholder, ...], Meta(max_length=HOLDERS_MAX)]


class GatesFile(_Struct, frozen=True):
    version: Literal[1]
    recordings: RecordingsTable | None = None
    gates: tuple[_Gate, ...] = ()


class _Builder(_Struct, frozen=True):
    id: Text
    public: Text
    level_max: Literal[1, 2, 3]
    operator: Name


class BuildersFile(_Struct, frozen=True):
    version: Literal[1]
    builders: tuple[_Builder, ...] = ()


class _Witness(_Struct, frozen=True):
    name: Origin
    public: Text
    operator: Name


class _Void(_Struct, frozen=True):
    first: Annotated[int, Meta(ge=0, lt=2**53)]
    last: Annotated[int, Meta(ge=0, lt=2**53)]


class LogFile(_Struct, frozen=True):
    version: Literal[1]
    origin: Origin
    public: Text
    operator: Name
    lying_max: Annotated[int, Meta(ge=0, le=64)]
    witnesses: Annotated[tuple[_Witness, ...], Meta(max_length=64)] = ()
    void: Annotated[tuple[_Void, ...], Meta(max_length=1024)] = ()


class LimitsFile(_Struct, frozen=True):
    version: Literal[1]
    log_age_max_s: Seconds
    clock_skew_max_s: Annotated[int, Meta(ge=1, le=60)]
    negative_lifetime_max_s: Seconds
    suspension_max_s: Seconds
    breakglass_view_age_max_s: Annotated[int, Meta(ge=1, le=7 * 86400)] | None = None
    tombstone_signers: Annotated[int, Meta(ge=TOMBSTONE_SIGNERS_MIN, le=16)] = TOMBSTONE_SIGNERS_MIN
    version_min: Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,5})(\.(0|[1-9][0-9]{0,5})){2}\Z")] | None = None


def check_names(files: Mapping[str, bytes]) -> None:
    """Check that every file is there, and no other; `Malformed` by name."""
    for name in FILES:
        if name not in files:
            raise Malformed("targets-file-missing", f"expected the target file `{name}`, got none")
    for name in files:
        if name not in FILES and name not in FILES_OPTIONAL and not _POLICY.match(name):
            raise Malformed(
                "targets-file-unknown",
                f"expected {', '.join(FILES + FILES_OPTIONAL)} or policy/<name>.cedar, got `{name[:80]}`",
            )


def policy_texts(files: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
    """The Cedar policies among `files`, by name, in the order of their names."""
    return tuple((name, _text(files[name], name)) for name in sorted(files) if _POLICY.match(name))


def read_toml(files: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    """Read the file `name`, which is there, as a `kind`; `Malformed` for anything that it does not know."""
    try:
        return msgspec.convert(tomllib.loads(_text(files[name], name)), built(kind))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as err:
        text = str(err)[:300]
        raise Malformed("targets-file-invalid", f"`{name}`: {text[:1].lower()}{text[1:]}") from err


def _text(raw: bytes, name: str) -> str:
    if len(raw) > FILE_BYTES_MAX:
        raise Malformed("targets-file-too-large", f"`{name}`: expected at most {FILE_BYTES_MAX} bytes, got {len(raw)}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise Malformed("targets-file-invalid", f"`{name}`: expected UTF-8") from err
    # Signers read these files in a terminal: what would deceive them there is refused at the parser.
    check_free_text(text.replace("\t", " "), what=name, size_bytes_max=FILE_BYTES_MAX)
    return text
