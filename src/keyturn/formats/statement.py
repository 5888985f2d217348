"""Parse and render in-toto Statement v1, the payload of every record.

Follows in-toto/attestation spec/v1 (statement.md, digest_set.md). `Statement[P]` is the strict form for records that
are ours: known predicate, canonical JSON, digest sets of `sha256` or `dirHash` only. `peek` reads just the predicate
type, to choose the type to parse with. Subjects are matched by digest only; names are for people.
"""

from __future__ import annotations

import functools
from typing import Generic, TypeVar

import msgspec

from keyturn.errors import Malformed
from keyturn.formats import canonical_json
from keyturn.formats.built import built
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.text import Short, check_free_text, is_hex_digest

__all__ = [
    "STATEMENT_V1",
    "DigestSet",
    "Statement",
    "Subject",
    "likely_type",
    "make",
    "parse",
    "peek",
    "subject_digests",
]

STATEMENT_V1 = "https://in-toto.io/Statement/v1"
SUBJECTS_MAX = 4096
SUBJECT_NAME_BYTES_MAX = 4096

P = TypeVar("P", bound=msgspec.Struct)


class DigestSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Exactly one digest of an artifact."""

    sha256: Short | None = None
    dirHash: Short | None = None  # noqa: N815  # in-toto's own name

    def __post_init__(self) -> None:
        if (self.sha256 is None) == (self.dirHash is None):
            raise ValueError("expected exactly one of `sha256` and `dirHash` in a digest set")
        if not is_hex_digest(self.sha256 or self.dirHash or ""):
            raise Malformed("json-invalid", "digest set: expected 64 lower-case hex digits")

    @classmethod
    def of(cls, digest: ArtifactDigest) -> DigestSet:
        return cls(sha256=digest.hex) if digest.algorithm == "sha256" else cls(dirHash=digest.hex)

    @property
    def artifact(self) -> ArtifactDigest:
        if self.dirHash is not None:
            return ArtifactDigest("dirHash", Sha256(self.dirHash))
        assert self.sha256 is not None  # the constructor saw to it
        return ArtifactDigest("sha256", Sha256(self.sha256))

    def __str__(self) -> str:
        """The text of `artifact`, without making it."""
        return f"sha256:{self.sha256}" if self.dirHash is None else f"dirHash:{self.dirHash}"


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What a statement is about: matched by `digest`, `name` is a label."""

    digest: DigestSet
    name: str = ""

    def __post_init__(self) -> None:
        check_free_text(self.name, what="subject name", size_bytes_max=SUBJECT_NAME_BYTES_MAX)


class Statement(
    msgspec.Struct,
    Generic[P],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename="camel",
    gc=False,
):
    """An in-toto Statement v1 with a predicate of a known type."""

    type_: str = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: P


class _Peek(msgspec.Struct, frozen=True, rename="camel"):
    predicate_type: str


def peek(payload: bytes) -> str:
    """Read the predicate type of a payload without believing anything else in it."""
    if len(payload) > canonical_json.SIZE_BYTES_MAX:
        raise Malformed("json-too-large", f"statement: expected at most {canonical_json.SIZE_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(payload, type=built(_Peek)).predicate_type
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("statement-invalid", f"statement: {err}") from err


_TYPE, _SUBJECT = b'"predicateType":"', b'","subject":['


def likely_type(payload: bytes) -> str:
    """Say which strict parser to ask, faster than `peek` does: that parser reads the predicate type again."""
    start = payload.rfind(_TYPE) + len(_TYPE)
    end = payload.find(b'"', start)
    if start < len(_TYPE) or not payload.startswith(_SUBJECT, end):
        return peek(payload)
    return payload[start:end].decode("ascii", "replace")


class _ForeignSubject(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Subjects(msgspec.Struct, frozen=True):
    subject: tuple[_ForeignSubject, ...]


def subject_digests(
    payload: bytes, *, size_bytes_max: int = canonical_json.SIZE_BYTES_MAX
) -> tuple[ArtifactDigest, ...]:
    """Read the `sha256` and `dirHash` digests of a foreign statement's subjects; other algorithms identify nothing here."""
    if len(payload) > size_bytes_max:
        raise Malformed("json-too-large", f"statement: expected at most {size_bytes_max} bytes")
    try:
        subjects = msgspec.json.decode(payload, type=built(_Subjects)).subject
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("statement-invalid", f"statement: {err}") from err
    if not 1 <= len(subjects) <= SUBJECTS_MAX:
        raise Malformed(
            "statement-subject-count", f"statement: expected 1 to {SUBJECTS_MAX} subjects, got {len(subjects)}"
        )
    texts = (f"{name}:{value}" for s in subjects for name, value in s.digest.items() if name in ("sha256", "dirHash"))
    return tuple(ArtifactDigest.parse(text) for text in texts)


def parse(payload: bytes, kind: type[P], predicate_type: str) -> Statement[P]:
    """Parse one of Keyturn's own payloads as a statement with predicate `kind`, or raise `Malformed`."""
    statement: Statement[P] = canonical_json.decode(payload, _statement_of(kind), what="statement")
    if statement.type_ != STATEMENT_V1:
        raise Malformed("statement-type", f"statement: expected `_type` `{STATEMENT_V1}`, got `{statement.type_[:80]}`")
    if statement.predicate_type != predicate_type:
        raise Malformed(
            "statement-predicate-type",
            f"statement: expected predicateType `{predicate_type}`, got `{statement.predicate_type[:120]}`",
        )
    if not 1 <= len(statement.subject) <= SUBJECTS_MAX:
        raise Malformed(
            "statement-subject-count", f"statement: expected 1 to {SUBJECTS_MAX} subjects, got {len(statement.subject)}"
        )
    return statement


@functools.cache
def _statement_of(kind: type[P]) -> type[Statement[P]]:
    # Subscripting a generic struct takes 20 us, decoding one 2 us.
    return Statement[kind]  # type: ignore[valid-type]  # a type made at run time


def make(predicate: P, predicate_type: str, subject: tuple[Subject, ...]) -> bytes:
    """Render the canonical payload of a statement, or raise `Malformed`: the same bytes that `parse` accepts."""
    payload = canonical_json.encode(
        Statement(type_=STATEMENT_V1, subject=subject, predicate_type=predicate_type, predicate=predicate)
    )
    parse(payload, type(predicate), predicate_type)  # a struct's constructor looks at no pattern or bound
    return payload
