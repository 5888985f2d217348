"""Say whose signatures from outside the lab count as evidence, and about what: the target file `evidence.toml`.

Each signer has a name of the lab's, and one method: `keyturn` (another lab: its name as `identity`, and the SHA-256 of its first
root as `trusted_root`), `sigstore` (an identity, the issuer that vouches for it, and the SHA-256 of
the trusted root under which that is checked), `key` (a public key), `certificate` (root certificates, and the name that the
signing certificate must have). Who is expected is said here alone, by the lab's keyholders: evidence never says it of itself.

The file may be missing: then nobody from outside is believed. Normative page docs/formats/evidence.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import base64_text
from keyturn.formats.release import RELEASE
from keyturn.formats.text import HexDigest, Name

__all__ = ["EvidenceFile", "OutsideMethod", "OutsideSigner", "other_lab", "outside_signers", "render_outside"]

OutsideMethod = Literal["certificate", "key", "keyturn", "sigstore"]

_Printable = Annotated[str, Meta(pattern=r"\A[!-~]{1,500}\Z")]
_Subject = Annotated[str, Meta(pattern=r"\A[ -~]{1,500}\Z")]
_Base64 = Annotated[str, Meta(max_length=8192)]


class _Signer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    method: OutsideMethod
    statements: Annotated[tuple[_Printable, ...], Meta(min_length=1, max_length=16)]
    identity: _Subject | None = None
    issuer: _Printable | None = None
    trusted_root: HexDigest | None = None
    public: _Base64 | None = None
    roots: Annotated[tuple[_Base64, ...], Meta(max_length=16)] = ()
    builder: _Printable | None = None
    verifier: _Printable | None = None
    resource: _Printable | None = None
    level: Annotated[int, Meta(ge=1, le=4)] | None = None
    layout: HexDigest | None = None


class EvidenceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`evidence.toml` as it is written."""

    version: Literal[1]
    signers: Annotated[tuple[_Signer, ...], Meta(max_length=256)] = ()


@dataclass(frozen=True, slots=True)
class OutsideSigner:
    """Somebody outside the lab, by the lab's own `name`, whose `statements` (predicate types, or `signature`) count.

    `identity` with `issuer` and `trusted_root` for Sigstore; `identity` and `roots` (DER) for certificates; `public` (DER) for a
    key. `builder`: the SLSA builder id that provenance must name. `verifier`, `resource` and `level`: what a verification summary
    must say. `layout`: the SHA-256 of the in-toto layout that links must satisfy, which the key signed.
    """

    name: str
    method: OutsideMethod
    statements: frozenset[str]
    identity: str = ""
    issuer: str = ""
    trusted_root: str = ""
    public: bytes = b""
    roots: tuple[bytes, ...] = ()
    builder: str = ""
    verifier: str = ""
    resource: str = ""
    level: int = 0
    layout: str = ""

    def __post_init__(self) -> None:
        needed = {
            "sigstore": {"identity", "issuer", "trusted_root"},
            "key": {"public"},
            "keyturn": {"identity", "trusted_root"},
            "certificate": {"identity", "roots"},
        }
        given = {field for field in ("identity", "issuer", "trusted_root", "public", "roots") if getattr(self, field)}
        wanted = needed[self.method]
        if given != wanted:
            raise Malformed(
                "outside-signer",
                f"`evidence.toml`: signer `{self.name}`: method `{self.method}` needs {', '.join(sorted(wanted))} and no other "
                f"of its kind, got {', '.join(sorted(given)) or 'none'}",
            )
        if len({bool(self.verifier), bool(self.resource), bool(self.level)}) != 1:
            raise Malformed(
                "outside-signer",
                f"`evidence.toml`: signer `{self.name}`: verifier, resource and level stand together",
            )


def other_lab(signers: Mapping[str, OutsideSigner], *, root_sha256: str) -> OutsideSigner | None:
    """The other lab among `signers` whose first root has this SHA-256, and whose releases count; `None` when there is none."""
    for one in signers.values():
        if one.method == "keyturn" and one.trusted_root == root_sha256 and RELEASE in one.statements:
            return one
    return None


def outside_signers(file: EvidenceFile | None) -> Mapping[str, OutsideSigner]:
    """The signers that `file` lists, by name; `Malformed` when one stands there twice, or says too little or too much."""
    found: dict[str, OutsideSigner] = {}
    for one in file.signers if file is not None else ():
        if one.name in found:
            raise Malformed("targets-duplicate", f"outside signer `{one.name}` is listed 2 times")
        found[one.name] = OutsideSigner(
            name=one.name,
            method=one.method,
            statements=frozenset(one.statements),
            identity=one.identity or "",
            issuer=one.issuer or "",
            trusted_root=one.trusted_root or "",
            public=b"" if one.public is None else base64_text.decode(one.public, what="public"),
            roots=tuple(base64_text.decode(root, what="root") for root in one.roots),
            builder=one.builder or "",
            verifier=one.verifier or "",
            resource=one.resource or "",
            level=one.level or 0,
            layout=one.layout or "",
        )
    return MappingProxyType(found)


def render_outside(signers: Iterable[OutsideSigner]) -> dict[str, Any]:
    """The table of `evidence.toml`; `outside_signers` reads the same."""
    return {"signers": [_row(one) for one in signers]}


def _row(one: OutsideSigner) -> dict[str, Any]:
    row: dict[str, Any] = {"name": one.name, "method": one.method, "statements": sorted(one.statements)}
    texts = ("identity", "issuer", "trusted_root", "builder", "verifier", "resource", "level", "layout")
    row |= {field: value for field in texts if (value := getattr(one, field))}
    if one.public:
        row["public"] = base64_text.encode(one.public)
    if one.roots:
        row["roots"] = [base64_text.encode(root) for root in one.roots]
    return row
