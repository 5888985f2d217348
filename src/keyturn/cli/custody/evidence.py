"""`keyturn evidence`: take in what somebody outside signed about an artifact, and verify it again, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.completion import offer_records
from keyturn.cli.custody.evidence_lines import evidence_lines
from keyturn.cli.names import a_record
from keyturn.cli.options import Json, Key, Lab, Yes
from keyturn.formats.evidence_format import EvidenceFormat  # Typer reads the choices

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.custody.show_evidence import ShownEvidence
    from keyturn.formats.evidence import Evidence

__all__ = ["app"]

app = typer.Typer(
    help="Evidence from outside: what others signed about artifacts, verified offline, with bytes and signer's name.",
    no_args_is_help=True,
)


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What was signed: a bundle, envelope, links.", show_default=False)
    ],
    about: Annotated[str, typer.Option("--for", metavar="ARTIFACT", help="A path, or dirHash:... or sha256:...")],
    outside: Annotated[
        str, typer.Option(help="Whose it must be: a signer of the lab's evidence.toml, by its name there.")
    ],
    form: Annotated[
        EvidenceFormat | None,
        typer.Option("--type", help="How FILE is written. Default: as it looks.", show_default=False),
    ] = None,
    trusted_root: Annotated[
        Path | None, typer.Option(help="The Sigstore trusted root that evidence.toml pins.", show_default=False)
    ] = None,
    layout: Annotated[
        Path | None, typer.Option(help="The in-toto layout that evidence.toml pins.", show_default=False)
    ] = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Verify FILE as what the lab expects of a signer outside, and log that you took it in. Its bytes stay as they came."""
    from keyturn.wiring.custody.evidence import log_evidence, take
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    taken = take(
        place, file, artifact=about, outside=outside, form=form, trusted_root=trusted_root, layout=layout, key=key
    )
    output.warn(asked.table(_rows(taken.evidence)), json=json)
    output.confirm("Sign that you took this in?", yes=yes)
    with output.progress("logging the parts of the original", len(taken.parts), json=json) as advance:
        logged = log_evidence(place, taken, advance)
    output.emit(
        {"id": logged.id, "digest": logged.digest, "index": logged.index},
        json=json,
        human=lambda screen: screen.print(f"{logged.id} is logged as entry {logged.index}"),
    )


@app.command()
def show(
    evidence: Annotated[
        str,
        typer.Argument(
            metavar="EVIDENCE",
            help="Its id, as `evd-1a2b3c4d` (8 digits or more).",
            callback=a_record("evd"),
            autocompletion=offer_records("evd"),
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the original bytes to this new file.", show_default=False)
    ] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Show one piece of evidence, and give its original bytes back as they came."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.errors import Refused, Usage
    from keyturn.wiring.custody.evidence import evidence_in
    from keyturn.wiring.lab.places import find_lab

    found = evidence_in(find_lab(lab), (evidence,), None)
    if len(found) != 1:
        raise Usage("record-ambiguous", f"`{evidence}` means {len(found)} records: type more of its digits")
    if out is not None:
        if (original := found[0].original) is None:
            raise Refused(
                "evidence-part-missing",
                f"the original of {found[0].id} is in {len(found[0].evidence.parts)} parts that make no whole",
                hint="the log lacks some of them, or has others: keyturn evidence verify says which",
            )
        write_new(out, original)
    output.emit(_as_json(found[0]), json=json, human=lambda screen: _show(screen, found[0]))


@app.command()
def verify(
    evidence: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EVIDENCE]...",
            help="Ids, as `evd-1a2b3c4d`; all that the log holds when none is said.",
            callback=a_record("evd"),
            autocompletion=offer_records("evd"),
            show_default=False,
        ),
    ] = None,
    about: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="ARTIFACT",
            help="Only what is about this artifact. Where its files are, they are compared again.",
            show_default=False,
        ),
    ] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Verify evidence from outside again, from its original bytes; exits with 1 when any does not hold. Asks nobody outside."""
    from keyturn.wiring.custody.evidence import evidence_in
    from keyturn.wiring.lab.places import find_lab

    found = evidence_in(find_lab(lab), tuple(evidence or ()), about)

    def draw(screen: Console) -> None:
        for one in found:
            screen.print(output.plain(_line(one)))
        if not found:
            screen.print("no evidence from outside")

    output.emit([_as_json(one) for one in found], json=json, human=draw)
    if any(one.held is None for one in found):
        raise typer.Exit(1)


def _line(one: ShownEvidence) -> str:
    holds = "HOLDS, its files compared here" if one.compared else "HOLDS"
    said = holds if one.failure is None else f"DOES NOT HOLD: {one.failure.message} [{one.failure.code}]"
    return f"{one.id}  {said}\n  " + "\n  ".join(evidence_lines(one.evidence))


def _show(screen: Console, one: ShownEvidence) -> None:
    screen.print(output.plain(_line(one).splitlines()[0]))
    screen.print(output.plain(asked.table((("entry", str(one.index)), *_rows(one.evidence)))))


def _rows(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    from keyturn.formats.digest import sha256
    from keyturn.formats.posix_time import rfc3339

    found = evidence.found
    return (
        ("evidence about", evidence.artifact),
        ("signed outside by", found.signer),
        ("vouched for by", found.issuer or "-"),
        ("who is for the lab", evidence.outside),
        ("what it says", found.statement + (f", build level {found.level}" if found.level else "")),
        ("it is about", "\n".join(found.subjects) or "files by other digests than SHA-256"),
        ("bound by", evidence.bound if evidence.bound == "digest" else f"files that {evidence.member} compared"),
        ("format", evidence.format),
        ("original", f"sha256:{evidence.digest}, {evidence.size_bytes} bytes{_in_parts(evidence)}"),
        *((one.name.replace("-", " "), f"sha256:{sha256(one.content)}") for one in evidence.materials),
        ("taken in by", f"{evidence.member} at {rfc3339(evidence.signed_at)}"),
    )


def _in_parts(evidence: Evidence) -> str:
    return f" in {len(evidence.parts)} parts, each a record" if evidence.parts else ""


def _as_json(one: ShownEvidence) -> dict[str, Any]:
    import msgspec

    evidence = one.evidence
    return {
        "id": one.id,
        "index": one.index,
        "holds": one.held is not None,
        "failure": None if one.failure is None else {"code": one.failure.code, "message": one.failure.message},
        "artifact": evidence.artifact,
        "outside": evidence.outside,
        "format": evidence.format,
        "digest": evidence.digest,
        "found": msgspec.to_builtins(evidence.found),
        "bound": evidence.bound,
        "compared": one.compared,
        "member": evidence.member,
        "signed_at": evidence.signed_at,
    }
