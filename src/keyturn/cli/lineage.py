"""`keyturn lineage`: where an artifact came from, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from keyturn.app.custody.show_lineage import ShownLineage
    from keyturn.custody.lineage import Step
    from keyturn.formats.digest import ArtifactDigest

__all__ = ["app"]

app = typer.Typer(help="Where an artifact came from, and what became of it.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Where an artifact came from, and what became of it."""


@app.command()
def show(
    artifact: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="A path, or dirHash:... or sha256:...", show_default=False)
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Show the lineage of ARTIFACT as a tree, both ways: what it was made from, and what was made from it."""
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.release import artifact_digest, lineage_of

    digest, _ = artifact_digest(artifact)
    shown = lineage_of(find_lab(lab), digest)
    output.emit(_as_json(shown), json=json, human=lambda screen: _show(screen, shown))


def _show(screen: Console, shown: ShownLineage) -> None:
    from rich.tree import Tree

    from keyturn.formats.posix_time import rfc3339

    lineage = shown.lineage
    behind = Tree(f"{shown.artifact} was made by")
    _grow(behind, shown.artifact, shown, back=True, seen=set())
    screen.print(behind)
    if lineage.takers.get(shown.artifact):
        ahead = Tree(f"{shown.artifact} went into")
        _grow(ahead, shown.artifact, shown, back=False, seen=set())
        screen.print(ahead)
    for failure in shown.failures:
        screen.print(output.plain(f"FAILURE at log index {failure.index}: {failure.message} [{failure.code}]"))
    screen.print(f"as of {rfc3339(shown.as_of)}, log size {shown.log_size}")


_DEPTH_MAX = 200


def _grow(
    tree: Tree, artifact: ArtifactDigest, shown: ShownLineage, *, back: bool, seen: set[int], depth: int = 0
) -> None:
    from keyturn.custody.lineage import outputs_of

    steps = (shown.lineage.makers if back else shown.lineage.takers).get(artifact, ())
    if not steps and back:
        tree.add("custody begins here: no step in the log made this")
    for step in steps:
        made = step.value
        who = f"{made.builder.kind} {made.builder.name}"
        label = f"{made.step} ({made.build}) by {who}, level {made.level}, entry {step.index}"
        if step.index in seen or depth > _DEPTH_MAX:
            tree.add(output.plain(f"{label}, shown above"))
            continue
        seen.add(step.index)
        branch = tree.add(output.plain(label))
        if not back:
            for digest in outputs_of(step):
                _grow(branch.add(_short(digest)), digest, shown, back=False, seen=seen, depth=depth + 1)
            continue
        for one in made.dependencies:
            if one.role == "runtime":
                continue
            leaf = branch.add(output.plain(f"{one.role} {one.name}  {_short(one.digest)}"))
            if one.role == "input":
                _grow(leaf, one.digest, shown, back=True, seen=seen, depth=depth + 1)


def _short(digest: ArtifactDigest) -> str:
    """Enough of a digest to tell artifacts apart on a line; `--json` has all of it."""
    return f"{digest.algorithm}:{digest.hex[:16]}"


def _as_json(shown: ShownLineage) -> dict[str, Any]:
    def say(step: Step) -> dict[str, Any]:
        made = step.value
        return {
            "index": step.index,
            "step": made.step,
            "build": made.build,
            "builder": str(made.builder),
            "level": made.level,
            "sandbox": made.sandbox,
            "inputs": [{"name": d.name, "role": d.role, "digest": str(d.digest)} for d in made.dependencies],
            "outputs": [{"name": o.name, "digest": str(o.digest)} for o in made.outputs],
        }

    return {
        "artifact": str(shown.artifact),
        "behind": [say(step) for step in shown.lineage.behind(shown.artifact)],
        "ahead": [say(step) for step in shown.lineage.ahead(shown.artifact)],
        "sources": [str(digest) for digest in shown.lineage.sources(shown.artifact)],
        "failures": [{"index": f.index, "code": f.code, "message": f.message} for f in shown.failures],
        "as_of": shown.as_of,
        "log_size": shown.log_size,
    }
