"""`keyturn source`: who stands behind a git revision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

if TYPE_CHECKING:
    from keyturn.adapters.git_objects import ReadRevision
    from keyturn.app.custody.attest_source import Standing

__all__ = ["app"]

app = typer.Typer(
    help="Say who stands behind a git revision: whoever attests it, its reviewers, and the level of SLSA's source track.",
    no_args_is_help=True,
)

Repository = Annotated[
    Path, typer.Argument(metavar="REPO", help="A git repository on this machine, bare or not.", show_default=False)
]
Ref = Annotated[
    str, typer.Argument(metavar="REF", help="A branch, a tag, a whole ref, HEAD or an object id.", show_default=False)
]
Kind = Annotated[
    Literal["code", "dataset", "training-config", "evaluation-set"],
    typer.Option("--source-kind", help="What the repository holds. Steps take `code` as their code."),
]
Called = Annotated[
    str | None,
    typer.Option(
        "--repository", help="What the repository is called. Default: where it was cloned from.", show_default=False
    ),
]
Why = Annotated[str, typer.Option("--reason", help="Why. Coworkers and auditors read it.", callback=said_to_people)]


@app.command()
def attest(
    repo: Repository,
    ref: Ref,
    kind: Kind = "code",
    repository: Called = None,
    author: Annotated[bool, typer.Option("--author", help="You made this revision yourself.")] = False,
    controls: Annotated[
        int | None,
        typer.Option(min=1, max=3, help="Up to which level of the source track the branch's rules are enforced there."),
    ] = None,
    reason: Why = "",
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Sign and log that REF is this revision with this content, before anybody takes it; another human reviews it."""
    role: Literal["author", "attester"] = "author" if author else "attester"
    _sign(repo, ref, role, kind, repository, controls, reason, key, yes=yes, lab=lab, json=json)


@app.command()
def review(
    repo: Repository,
    ref: Ref,
    kind: Kind = "code",
    repository: Called = None,
    reason: Why = "",
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Sign and log that you reviewed REF as it is now, all of it: a review of an earlier revision does not count."""
    _sign(repo, ref, "reviewer", kind, repository, None, reason, key, yes=yes, lab=lab, json=json)


@app.command()
def show(
    repo: Repository, ref: Ref, kind: Kind = "code", repository: Called = None, lab: Lab = None, json: Json = False
) -> None:
    """Show who stands behind REF as it is now, as the lab's witnessed log says; and why it is not two humans."""
    from keyturn.wiring.custody.source import read_named, standing_of
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    read = read_named(repo, ref, repository)
    found = standing_of(place, read, kind=kind)
    output.emit(_as_json(found, read), json=json, human=lambda screen: screen.print(output.plain(_lines(found, read))))


@app.command()
def summary(
    repo: Repository,
    ref: Ref,
    out: Annotated[Path, typer.Option(help="Write it to this new file.")],
    kind: Kind = "code",
    repository: Called = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Sign a SLSA verification summary about REF as it is now, with its source level, for readers of that format."""
    from keyturn.wiring.custody.source import prepare_summary, read_named
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    read = read_named(repo, ref, repository)
    prepared = prepare_summary(place, read, kind=kind, out=out, key=key)
    output.warn(_lines(prepared.found, read), json=json)
    output.confirm("Sign a summary of this?", yes=yes)
    prepared.write()
    output.emit(
        {**_as_json(prepared.found, read), "summary": str(out)},
        json=json,
        human=lambda screen: screen.print(output.plain(f"summary {out}")),
    )


def _sign(
    repo: Path,
    ref: str,
    role: Literal["author", "attester", "reviewer"],
    kind: Literal["code", "dataset", "training-config", "evaluation-set"],
    repository: str | None,
    controls: int | None,
    reason: str,
    key: str | None,
    *,
    yes: bool,
    lab: str | None,
    json: bool,
) -> None:
    from keyturn.app.custody.attest_source import shown
    from keyturn.wiring.custody.source import log_word, prepare_word, read_named
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    read = read_named(repo, ref, repository)
    prepared = prepare_word(place, read, role=role, kind=kind, controls=controls, reason=reason, key=key)
    output.warn(asked.table(shown(prepared.made, read.files)), json=json)
    output.confirm("Sign and log this?", yes=yes)
    logged = log_word(place, prepared)
    output.emit(
        {
            "id": logged.id,
            "digest": logged.digest,
            "index": logged.index,
            "tree": str(read.tree),
            "commit": read.commit,
        },
        json=json,
        human=lambda screen: screen.print(f"{logged.id} is logged as entry {logged.index}"),
    )


def _lines(found: Standing, read: ReadRevision) -> str:
    from keyturn.formats.posix_time import rfc3339

    said = [f"commit {read.commit} of {read.repository}", f"  content    {read.tree}, {read.files} files"]
    for one in found.code.revisions:
        said.append(f"  revision   {one.commit} of {one.repository}, SLSA_SOURCE_LEVEL_{one.level}")
        said += [f"    {word.value.role:<9}  {word.value.member}, entry {word.index}" for word in one.words]
        said += [f"    signed in git by {member}" for member in sorted(one.authors)]
    said += [f"  missing    {failure.message} [{failure.code}]" for failure in found.code.missing]
    said += [
        f"  elsewhere  {one.value.member} is {one.value.role} of commit {one.value.commit[:12]}, which is another revision"
        " [source-other-revision]"
        for one in found.elsewhere[-20:]
    ]
    said.append(f"  {'two humans stand behind it' if found.code.reviewed else 'not two humans'}")
    said.append(f"as of {rfc3339(found.as_of)}, log size {found.log_size}")
    return "\n".join(said)


def _as_json(found: Standing, read: ReadRevision) -> dict[str, Any]:
    return {
        "repository": read.repository,
        "ref": read.ref,
        "commit": read.commit,
        "tree": str(read.tree),
        "two_humans": found.code.reviewed,
        "revisions": [
            {
                "repository": one.repository,
                "commit": one.commit,
                "level": one.level,
                "two_humans": one.two_humans,
                "git_authors": sorted(one.authors),
                "words": [{"member": w.value.member, "role": w.value.role, "index": w.index} for w in one.words],
            }
            for one in found.code.revisions
        ],
        "missing": [{"code": failure.code, "message": failure.message} for failure in found.code.missing],
        "elsewhere": [
            {"member": w.value.member, "role": w.value.role, "commit": w.value.commit, "index": w.index}
            for w in found.elsewhere
        ],
        "as_of": found.as_of,
        "log_size": found.log_size,
    }
