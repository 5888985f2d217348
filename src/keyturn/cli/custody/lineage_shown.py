"""Say a lineage: as trees for people, as JSON for scripts, and as a picture to be drawn. What is left out is always said."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.tree import Tree

from keyturn.cli.custody.chains import input_json
from keyturn.cli.custody.lineage_picture import Picture
from keyturn.cli.output import plain
from keyturn.custody.lineage import outputs_of
from keyturn.formats.posix_time import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.custody.show_lineage import ShownLineage, Side
    from keyturn.custody.lineage import Step
    from keyturn.custody.outside import Outside
    from keyturn.formats.digest import ArtifactDigest

    _Signed = dict[ArtifactDigest, list[Outside]]

__all__ = ["as_json", "pictured", "show_tree"]

_CUT = 60


def show_tree(screen: Console, shown: ShownLineage) -> None:
    """Draw what was made from what as trees."""
    signed: _Signed = {}
    for one in shown.outside:
        signed.setdefault(one.artifact, []).append(one)
    if shown.bounds.behind:
        behind = Tree(f"{shown.artifact} was made by")
        _grow(behind, shown, signed, back=True)
        screen.print(behind)
    if shown.ahead.steps:
        ahead = Tree(f"{shown.artifact} went into")
        _grow(ahead, shown, signed, back=False)
        screen.print(ahead)
    for artifact, several in signed.items():  # of what stands in no tree, as a runtime
        about = Tree(plain(f"{artifact}"))
        _hang(about, artifact, {artifact: several})
        screen.print(about)
    for line in _notes(shown):
        screen.print(plain(line))


def as_json(shown: ShownLineage) -> dict[str, Any]:
    """Everything that is shown, and how much is not."""

    def say(step: Step) -> dict[str, Any]:
        made = step.value
        return {
            "index": step.index,
            "step": made.step,
            "build": made.build,
            "builder": str(made.builder),
            "key": step.keyid,
            "level": made.level,
            "sandbox": made.sandbox,
            "attempt": made.attempt,
            "inputs": [input_json(d) for d in made.dependencies],
            "outputs": [{"name": o.name, "digest": str(o.digest)} for o in made.outputs],
        }

    return {
        "artifact": str(shown.artifact),
        "behind": [say(step) for step in shown.behind.steps],
        "ahead": [say(step) for step in shown.ahead.steps],
        "releases": [
            {"index": one.index, "resource": one.label, "model": str(model)} for one, model in shown.ahead.releases
        ],
        "left_out": {
            name: {"steps": side.left_out, "counted": side.counted}
            for name, side in (("behind", shown.behind), ("ahead", shown.ahead))
        },
        "evidence": [
            {
                "index": one.index,
                "artifact": one.evidence.artifact,
                "signer": one.evidence.found.signer,
                "issuer": one.evidence.found.issuer,
                "statement": one.evidence.found.statement,
                "level": one.evidence.found.level,
                "bound": one.evidence.bound,
                "outside": one.evidence.outside,
                "member": one.evidence.member,
            }
            for one in shown.outside
        ],
        "evidence_left_out": shown.outside_left_out,
        "sources": [str(digest) for digest in shown.sources],
        "failures": [{"index": f.index, "code": f.code, "message": f.message} for f in shown.failures],
        "disposals": [
            {"index": one.index, "artifact": name, "by_and_where": one.label} for one, name in shown.disposals
        ],
        "as_of": shown.as_of,
        "log_size": shown.log_size,
    }


def pictured(shown: ShownLineage) -> Picture:
    """The picture of what is shown, both ways: inputs, code and parameters before each step, and outputs behind it; what others
    signed hangs on what it is about by a dashed line."""
    picture = Picture(notes=list(_notes(shown)))
    picture.box(str(shown.artifact), "asked", (_short(shown.artifact),), str(shown.artifact))
    for step in {one.index: one for one in (*shown.behind.steps, *shown.ahead.steps)}.values():
        index, made = step.index, step.value
        picture.box(f"entry {index}", "step", (made.step, f"{made.build}, entry {index}"), str(made.builder))
        for taken in made.dependencies:
            if taken.role != "runtime":
                lines = (taken.name, _short(taken.digest)) if taken.role != "input" else (_short(taken.digest),)
                picture.box(str(taken.digest), "artifact", lines, f"{taken.role} {taken.name} {taken.digest}")
                picture.link(str(taken.digest), f"entry {index}", dashed=taken.role != "input")
        for output in made.outputs:
            picture.box(str(output.digest), "artifact", (_short(output.digest),), f"{output.name} {output.digest}")
            picture.link(f"entry {index}", str(output.digest))
    for one in shown.outside:
        made_by, statement = one.evidence.found.signer, one.evidence.found.statement
        said = ("signed outside", _cut(made_by), _cut(statement), f"entry {one.index}")
        picture.box(one.evidence.artifact, "artifact", (_short(one.artifact),), one.evidence.artifact)
        picture.box(f"evidence {one.index}", "outside", said, _signed_outside(one))
        picture.link(f"evidence {one.index}", one.evidence.artifact, dashed=True)
    for release, model in shown.ahead.releases:
        picture.box(f"entry {release.index}", "release", ("released", release.label, f"entry {release.index}"))
        if str(model) in picture.boxes:
            picture.link(str(model), f"entry {release.index}")
    return picture


def _notes(shown: ShownLineage) -> Iterator[str]:
    for one, _ in shown.ahead.releases:
        yield f"released as {one.label}, entry {one.index}"
    for name, side in (("behind", shown.behind), ("ahead of", shown.ahead)):
        if side.left_out or not side.counted:
            yield f"{_left_out(side)} {name} it are not shown: --depth, --steps"
    if shown.outside_left_out:
        yield f"{shown.outside_left_out:,} more that others signed are not shown: --steps"
    for failure in shown.failures:
        yield f"FAILURE at log index {failure.index}: {failure.message} [{failure.code}]"
    for one, name in shown.disposals:
        yield f"DISPOSED of {name} by {one.label}, entry {one.index}: the digest stands, other copies may"
    yield f"as of {rfc3339(shown.as_of)}, log size {shown.log_size}"


def _left_out(side: Side) -> str:
    return f"{side.left_out:,} steps" if side.counted else f"more than {side.left_out:,} steps"


def _grow(tree: Tree, shown: ShownLineage, signed: _Signed, *, back: bool) -> None:
    """Hang steps and artifacts below `tree`, nearest first; each step once with what is behind it. What is hung of `signed` is
    taken out of it."""
    links_ahead = shown.lineage.takers
    links = shown.lineage.makers if back else shown.lineage.takers
    sources = frozenset(shown.sources)
    seen: set[int] = set()
    todo: deque[tuple[Tree, ArtifactDigest]] = deque([(tree, shown.artifact)])
    while todo:
        at, artifact = todo.popleft()
        _hang(at, artifact, signed)
        steps = links.get(artifact, ())
        if back and not steps:
            here = artifact in sources or not shown.behind.left_out
            for whose in _other_labs(links_ahead, artifact):
                at.add(plain(whose))
            at.add("custody begins here: no step in the log made this" if here else "made by steps that are not shown")
        for step in steps:
            made = step.value
            who = f"{made.builder.kind} {made.builder.name}"
            label = f"{made.step} ({made.build}) by {who}, level {made.level}, entry {step.index}"
            if made.attempt > 1:
                label += f", attempt {made.attempt}"
            if step.index in seen:
                at.add(plain(f"{label}, shown already"))
                continue
            seen.add(step.index)
            branch = at.add(plain(label))
            if not back:
                todo.extend((branch.add(_short(digest)), digest) for digest in outputs_of(step))
                continue
            for one in made.dependencies:
                if one.role != "runtime":
                    origin = f" from {one.origin.uri}" if one.origin.uri else ""
                    leaf = branch.add(plain(f"{one.role} {one.name}  {_short(one.digest)}{origin}"))
                    if one.role == "input":
                        todo.append((leaf, one.digest))
                    else:
                        _hang(leaf, one.digest, signed)


def _hang(at: Tree, artifact: ArtifactDigest, signed: _Signed) -> None:
    for one in signed.pop(artifact, ()):
        at.add(plain(_signed_outside(one)))


def _signed_outside(one: Outside) -> str:
    """What others signed: under their name, and whose word it is that they did."""
    evidence = one.evidence
    found = evidence.found
    by = f"{found.signer} ({found.issuer})" if found.issuer else found.signer
    level = f", level {found.level}" if found.level else ""
    bound = "" if one.by_digest else f", whose files {evidence.member} compared"
    return f"signed outside by {by}: {found.statement}{level}{bound}, taken in by {evidence.member}, entry {one.index}"


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else f"{text[: _CUT // 2 - 1]}…{text[-_CUT // 2 :]}"


def _other_labs(takers: Mapping[ArtifactDigest, tuple[Step, ...]], artifact: ArtifactDigest) -> list[str]:
    """Whose release the artifact is, as the packs that came with it say."""
    taken = [d.origin for step in takers.get(artifact, ()) for d in step.value.dependencies if d.digest == artifact]
    said = [f"released as {one.uri} by another lab: pack sha256:{one.pack}" for one in taken if one.pack]
    return list(dict.fromkeys(said))


def _short(digest: ArtifactDigest) -> str:
    """Enough of a digest to tell artifacts apart on a line; `--json` has all of it."""
    return f"{digest.algorithm}:{digest.hex[:16]}"
