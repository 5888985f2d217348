"""`keyturn policy`: check who could get through each permit, and what a change of policy changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab
from keyturn.cli.trust.review_access import review

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.policy.coalitions import Change, Report
    from keyturn.policy.lint import Finding
    from keyturn.policy.load import Policy

__all__ = ["app"]

app = typer.Typer(help="What the policy allows, as the people who together get through.", no_args_is_help=True)
app.command()(review)

Against = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIRECTORY",
        help="A directory of .cedar files. Default: the policy in force.",
        exists=True,
        file_okay=False,
    ),
]


@app.command()
def check(directory: Against = None, lab: Lab = None, json: Json = False) -> None:
    """Find for each permit whether anybody can ever use it, how few people it takes, and who they are.

    Exits with 1 when some permit can never be used by anybody.
    """
    from keyturn.policy.coalitions import report
    from keyturn.policy.lint import lint, refuse_unapprovable

    policy = _policy(lab, directory)
    found, findings = report(policy), lint(policy)
    value = {
        "publishers": found.publishers,
        "permits": {
            name: {
                "quorum": str(permit.permit.quorum),
                "break_glass": permit.permit.break_glass,
                "size": permit.size,
                "count": permit.count,
                "complete": permit.complete,
                "coalitions": permit.coalitions,
            }
            for name, permit in found.permits.items()
        },
        "findings": findings,
    }
    output.emit(value, json=json, human=lambda screen: _checked(screen, found, findings))
    refuse_unapprovable(policy)


@app.command()
def diff(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY",
            help="A directory of .cedar files: the new policy, for the members in force.",
            exists=True,
            file_okay=False,
        ),
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Show what the policy in DIRECTORY would change against the one in force, as a change of coalitions."""
    from keyturn.policy.coalitions import diff as diff_policies

    changes = diff_policies(_policy(lab, None), _policy(lab, directory))
    output.emit(changes, json=json, human=lambda screen: _changed(screen, changes))


def _policy(lab: str | None, directory: Path | None) -> Policy:
    from dataclasses import replace

    from keyturn.errors import Refused, Usage
    from keyturn.policy.load import load
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import log_reader, trust_behind

    place = find_lab(lab)
    try:
        with log_reader(place) as reader:
            state = trust_behind(place, reader).newest
    except Refused as err:
        if directory is None or err.code != "trust-founding":
            raise
        hint = "keyturn trust propose checks the draft's policy, and shows who could then do what"
        raise Refused("trust-founding", err.message, hint=hint) from err
    if directory is None:
        return load(state)
    texts = []
    for path in sorted(directory.glob("*.cedar")):
        try:
            texts.append((f"policy/{path.name}", path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as err:
            raise Usage("policy-unreadable", f"cannot read `{path}`: {err}") from err
    return load(replace(state, policy=tuple(texts)))


def _checked(screen: Console, found: Report, findings: tuple[Finding, ...]) -> None:
    screen.print(f"everything, by publishing again: as many of {', '.join(found.publishers)} as root or targets need")
    for name, permit in found.permits.items():
        more = "" if permit.complete else " or more"
        size = (
            f"{permit.size} people are enough, in {permit.count}{more} way(s)"
            if permit.size
            else "nobody can ever use it"
        )
        glass = " (break-glass)" if permit.permit.break_glass else ""
        screen.print(output.plain(f"permit `{name}`{glass} needs {permit.permit.quorum}: {size}"))
        for row in permit.coalitions:
            classes = ", ".join(f"{count} {words}" for words, count in row.classes)
            screen.print(output.plain(f"  {row.count:>6} x {classes}; as {', '.join(row.example)}"))
    for finding in findings:
        screen.print(output.plain(f"{finding.level}: {finding.text} [{finding.code}]"))


def _changed(screen: Console, changes: tuple[Change, ...]) -> None:
    if not changes:
        screen.print("nothing changes")
    for change in changes:
        screen.print(output.plain(f"{'OPENS' if change.opens else 'closes'} {change.permit}"))
        for text in change.texts:
            screen.print(output.plain(f"  {text}"))
