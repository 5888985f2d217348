"""Join git revisions to this machine: read one of a repository here, sign a word for it, and say who stands behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.config_files import require_new, write_new
from keyturn.adapters.git_objects import ReadRevision, read_revision
from keyturn.app.custody.attest_source import Standing, standing, summary_of
from keyturn.app.records.sign_record import Logged, sign_and_log
from keyturn.crypto import dsse_signing
from keyturn.errors import Usage
from keyturn.formats import base64_text, dsse
from keyturn.formats.provenance import BuilderId
from keyturn.formats.source import Controls, SourceKind, SourceReview, SourceRole
from keyturn.wiring.custody.criteria import Author, author_of
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.log import log_reader, log_writer
from keyturn.wiring.log.pinned_log import root_of

__all__ = [
    "PreparedSummary",
    "PreparedWord",
    "log_word",
    "prepare_summary",
    "prepare_word",
    "read_named",
    "standing_of",
]


_CONTROLS: dict[int, Controls] = {1: 1, 2: 2, 3: 3}


@dataclass(frozen=True, slots=True)
class PreparedWord:
    """A word for a revision that can be shown, and is signed once its maker agreed."""

    made: SourceReview
    read: ReadRevision
    author: Author


def read_named(path: Path, ref: str, repository: str | None) -> ReadRevision:
    """The revision `ref` of the repository at `path`, by the name `repository` if that is given."""
    read = read_revision(path, ref)
    return read if repository is None else replace(read, repository=repository)


def prepare_word(
    place: LabPlace,
    read: ReadRevision,
    *,
    role: SourceRole,
    kind: SourceKind,
    controls: int | None,
    reason: str,
    key: str | None,
) -> PreparedWord:
    """What whoever runs the command would sign about the revision that was read."""
    author = author_of(place, key=key)
    try:
        made = SourceReview(
            lab=author.trust.lab,
            nonce=author.nonce,
            member=author.member,
            key=author.key.public.keyid,
            role=role,
            kind=kind,
            repository=read.repository,
            ref=read.ref,
            commit=read.commit,
            commit_object=base64_text.encode(read.commit_object),
            tree=read.tree.hex,
            controls=None if controls is None else _CONTROLS[controls],
            reason=reason,
            signed_at=author.now,
        )
    except ValueError as err:
        raise Usage("source-invalid", str(err), hint="keyturn source attest REPO REF") from err
    return PreparedWord(made, read, author)


def log_word(place: LabPlace, prepared: PreparedWord) -> Logged:
    """Sign the word, which was shown, and make it durable in the log."""
    with log_writer(place) as log:
        return sign_and_log(prepared.made, prepared.made.subjects, key=prepared.author.key, log=log)


def standing_of(place: LabPlace, read: ReadRevision, *, kind: SourceKind) -> Standing:
    """Who stands behind the revision that was read, as the lab's witnessed log says."""
    with log_reader(place) as log:
        root, pin = root_of(place, log)
        return standing(
            log,
            root_json=root,
            pinned_sha256=pin,
            artifact=read.tree,
            kind=kind,
            repository=read.repository,
            ref=read.ref,
            now=SystemClock().now(),
        )


@dataclass(frozen=True, slots=True)
class PreparedSummary:
    """A VSA that can be shown, and is signed and written once its maker agreed."""

    found: Standing
    payload: bytes
    author: Author
    out: Path

    def write(self) -> None:
        """Sign it, and write it to the new file."""
        write_new(self.out, dsse.render(dsse_signing.sign(self.payload, self.author.key)))


def prepare_summary(
    place: LabPlace, read: ReadRevision, *, kind: SourceKind, out: Path, key: str | None
) -> PreparedSummary:
    """The VSA that whoever runs the command would sign about the revision that was read."""
    require_new(out)
    found = standing_of(place, read, kind=kind)
    author = author_of(place, key=key)
    verifier = str(BuilderId(author.trust.lab, "member", author.member))
    payload = summary_of(found, read.commit, read.ref, verifier=verifier, now=author.now)
    return PreparedSummary(found, payload, author, out)
