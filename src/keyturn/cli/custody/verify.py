"""`keyturn verify`: verify a pack offline, and a model's files against it, holding only the lab's first root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli import output
from keyturn.cli.custody import chains
from keyturn.cli.custody.evidence_lines import evidence_lines
from keyturn.cli.options import Fast, Json

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.custody.verify_pack import PackVerdict
    from keyturn.custody.outside import Outside

__all__ = ["as_json", "show", "verify"]


def verify(
    subject: Annotated[
        Path, typer.Argument(metavar="PACK_OR_MODEL", help="A pack, or with --pack a model.", show_default=False)
    ],
    root: Annotated[
        Path,
        typer.Option(help="The lab's first root, which you got by another way than the pack.", show_default=False),
    ],
    pack: Annotated[Path | None, typer.Option(help="The pack of the model.", show_default=False)] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="The model's manifest, by which files that are not as released are named.", show_default=False
        ),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            help="Files that others signed, as a base model: compared here when their signature has other digests than SHA-256.",
            show_default=False,
        ),
    ] = None,
    fast: Fast = False,
    json: Json = False,
) -> None:
    """Verify PACK, or with --pack the files of MODEL: who released it, who built it, from what. Needs no network.

    Names every failure, and exits with 1 when there is one. The root is never taken from the pack.
    """
    from keyturn.errors import Usage
    from keyturn.wiring.custody.release import verify_files

    if pack is None and subject.is_dir():
        raise Usage(
            "pack-missing",
            f"`{subject}` is a directory, and so a model: expected its pack",
            hint="keyturn verify MODEL --pack PACK --root ROOT",
        )
    if pack is None:
        if fast:
            raise Usage(
                "fast-no-files",
                "`--fast` is how files are compared, and there are none",
                hint="keyturn verify MODEL --pack PACK --root ROOT --fast",
            )
        verdict = verify_files(subject, root, model=None, inputs=inputs or ())
    else:
        with output.hashing(subject, json=json) as on_bytes:
            verdict = verify_files(
                pack, root, model=subject, manifest=manifest, fast=fast, inputs=inputs or (), progress=on_bytes
            )
    output.emit(
        {"verified": True, "files": None if pack is None else str(subject), **as_json(verdict)},
        json=json,
        human=lambda screen: _show(screen, verdict, None if pack is None else subject),
    )


def _show(screen: Console, verdict: PackVerdict, files: Path | None) -> None:
    if files is not None:
        screen.print(output.plain(f"VERIFIED: `{files}` is the released model"))
    else:
        screen.print("VERIFIED: the pack proves the release of this model")
    show(screen, verdict)


def show(screen: Console, verdict: PackVerdict) -> None:
    """Say what `verdict` proves, line by line."""
    lines = [
        f"  model      {verdict.model}",
        f"  released   as {verdict.resource} at {_time(verdict.released_at)}, by {verdict.gate}",
        f"  lab        {verdict.lab}, profile {verdict.profile}, root {verdict.root_sha256}",
    ]
    if verdict.granted is not None:
        asked = verdict.granted.request
        lines.append(f"  requested  by {asked.requester}: {asked.justification}")
        lines.append(f"  approved   by {', '.join(sorted(verdict.granted.approvers))}, permit `{asked.permit}`")
    chain = verdict.chain
    if chain is not None:
        lines.append(f"  chain      {len(chain.steps)} steps, lowest build level {chain.level_min}")
        for step in chain.steps:
            made = step.value
            lines.append(
                f"  step       {made.step} ({made.build}) by {made.builder}, level {made.level}, {made.sandbox}"
                + (f", attempt {made.attempt}" if made.attempt > 1 else "")
            )
            for one in made.dependencies:
                if one.role != "runtime":
                    lines.append(f"               {one.role} {one.name}  {one.digest}")
                    if one.origin.uri:
                        lines.append(f"                 from {one.origin.uri}")
        lines += [f"  source     {digest} (custody begins here)" for digest in chain.sources]
        lines += [f"  {line}" for one in chain.outside for line in _evidence(verdict, one)]
        lines += [f"  {line}" for line in chains.reproduced_lines(chain)]
        lines += [f"  {line}" for line in chains.aside_lines(chain)]
        lines += [f"  {line}" for line in chains.evaluation_lines(chain)]
    lines.append(
        f"  log        {verdict.log_size} entries, cosigned by {', '.join(verdict.cosigners)}; "
        f"as of {_time(verdict.as_of)}; later withdrawals unknown"
    )
    for line in lines:
        screen.print(output.plain(line))


def _evidence(verdict: PackVerdict, one: Outside) -> list[str]:
    return evidence_lines(one.evidence, verdict.compared.get(one.record, ""))


def _time(at: int | None) -> str:
    from keyturn.formats.posix_time import rfc3339

    return "an unknown time" if at is None else rfc3339(at)


def as_json(verdict: PackVerdict) -> dict[str, Any]:
    """The same, as one JSON value."""
    chain, granted = verdict.chain, verdict.granted
    return {
        "lab": verdict.lab,
        "profile": verdict.profile,
        "root_sha256": verdict.root_sha256,
        "model": None if verdict.model is None else str(verdict.model),
        "resource": None if verdict.resource is None else str(verdict.resource),
        "released_at": verdict.released_at,
        "gate": verdict.gate,
        "log_size": verdict.log_size,
        "as_of": verdict.as_of,
        "cosigners": verdict.cosigners,
        "requester": None if granted is None else granted.request.requester,
        "justification": None if granted is None else granted.request.justification,
        "approvers": () if granted is None else tuple(sorted(granted.approvers)),
        "permit": None if granted is None else granted.request.permit,
        "chain": None if chain is None else chains.as_json(chain),
        "compared": dict(verdict.compared),
        "failures": [{"code": code, "message": message} for code, message in verdict.failures],
    }
