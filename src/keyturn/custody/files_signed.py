"""Compare the files that a model signature names by BLAKE3 with a manifest, which has both digests of each file.

Evidence that is bound by files rests on the member who compared them. A manifest that somebody else made of the same artifact,
and signed, says the same of the same bytes: in a pack the release gate does (`files.json`).

This is NOT reading files: who has them compares them (`ports.EvidenceVerifier.compare_files`), and rests on nobody's word.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.custody.evidence import Failure
from keyturn.custody.outside import Outside
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import outside_statement
from keyturn.formats.digest import Sha256
from keyturn.formats.manifest import Manifest

__all__ = ["has_signed_files", "held_against"]


def held_against(files: Manifest, outside: Iterable[Outside]) -> tuple[tuple[Sha256, ...], tuple[Failure, ...]]:
    """Of the evidence in `outside` that is bound by files, about the artifact of `files`: the records that these bear out, and
    what fails."""
    same: list[Sha256] = []
    failures: list[Failure] = []
    for one in outside:
        if one.artifact == files.identity and not one.by_digest:
            try:
                if has_signed_files(one, files):
                    same.append(one.record)
            except KeyturnError as err:
                failures.append(Failure(one.index, err.code, err.message))
    return tuple(same), tuple(failures)


def has_signed_files(one: Outside, files: Manifest) -> bool:
    """Whether `files`, of the artifact of `one`, are those whose BLAKE3s it names; `Refused` when they are others.

    It is not when `one` names shards or digests that no manifest has: then nobody can say from a manifest.
    """
    signed = outside_statement.parse_files(outside_statement.bundled(one.original))
    if signed.method != "files" or signed.algorithms != {"blake3"}:
        return False
    found = {"." if files.kind == "file" else file.path: ("blake3", file.blake3) for file in files.files}
    if found != signed.digests:
        other = sorted(name for name in {*found, *signed.digests} if found.get(name) != signed.digests.get(name))
        raise Refused(
            "evidence-other-subject",
            f"evidence `{one.evidence.outside}`: the manifest has other files than were signed: `{other[0][:200]}` and "
            f"{len(other) - 1} more",
        )
    return True
