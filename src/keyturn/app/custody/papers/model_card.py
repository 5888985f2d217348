"""Render a release as a model card: Markdown, with the front matter that the Hugging Face Hub reads.

Follows https://huggingface.co/docs/hub/model-cards and the Hub's `model-index`. Metrics are those of evaluations that met
criteria for this very model. What the Hub asks for and no statement says has the Hub's own word for that: the licence is
`unknown`, the task `other`.

Texts of people stand in code spans, or as JSON strings in the front matter: whatever they wrote is text, and neither
Markdown, HTML nor YAML.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from keyturn.app.custody.papers.release_facts import ReleaseFacts, asks, told
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.provenance import build_type

__all__ = ["render"]


def render(facts: ReleaseFacts) -> bytes:
    """The model card, as the text of a `README.md`; the same for the same pack."""
    lines = ["---", *_front_matter(facts), "---", "", f"# {facts.resource.name}", ""]
    lines += [
        f"Released by {_code(facts.lab)} at {rfc3339(facts.released_at)}. Everything on this page is from the pack",
        f"whose SHA-256 is {_code(facts.pack)}:",
        "whoever has it, the files and the lab's root verifies them with `keyturn verify`.",
        "",
        "## Release",
        "",
        *_table(("what", "proved"), [(_code(name), _code(value)) for name, value in told(facts)]),
        "",
        "## Evaluations",
        "",
        *_evaluations(facts),
        "",
        "## Steps",
        "",
        *_steps(facts),
        "",
        "## What went in",
        "",
        *_parts(facts),
        "",
    ]
    return "\n".join(lines).encode()


def _front_matter(facts: ReleaseFacts) -> Iterator[str]:
    yield "license: unknown"
    yield "tags:"
    for tag in ("keyturn", f"slsa-build-level-{facts.level_min}"):
        yield f"- {tag}"
    if not facts.counted:
        return
    yield "model-index:"
    yield f"- name: {_json(facts.resource.name)}"
    yield "  results:"
    for one in facts.counted:
        on = facts.measured_on(one)
        yield "  - task:"
        yield "      type: other"
        yield "    dataset:"
        yield f"      type: {_json(', '.join(str(part.digest) for part in on) or 'unknown')}"
        yield f"      name: {_json(', '.join(part.name for part in on) or 'unknown')}"
        yield "    metrics:"
        for name, value in one.values:
            yield f"    - type: {_json(name)}"
            yield f"      value: {value}"
            if name == one.metric:
                yield f"      name: {_json(f'{name}; criteria: {asks(one)}')}"


def _evaluations(facts: ReleaseFacts) -> Sequence[str]:
    if not facts.evaluations:
        return ("The pack has none.",)
    rows = [
        (
            _code(one.metric),
            _code(", ".join(f"{name} = {value}" for name, value in one.values)),
            _code(asks(one)),
            ", ".join(_code(f"{part.name} {part.digest}") for part in facts.measured_on(one)) or "not said",
            "yes" if one.counts_for(facts.resource) else "no",
        )
        for one in facts.evaluations
    ]
    return _table(("metric", "measured", "criteria, logged before", "data", "of this very model"), rows)


def _steps(facts: ReleaseFacts) -> Sequence[str]:
    rows = [
        (
            _code(step.value.step),
            _code(build_type(step.value.build)),
            _code(str(step.value.builder)),
            f"{step.value.level}, {_code(step.value.sandbox)}",
            _code(shlex.join(step.value.command)),
            str(step.index),
        )
        for step in facts.steps
    ]
    return _table(("step", "build type", "builder", "level, sandbox", "command", "log index"), rows)


def _parts(facts: ReleaseFacts) -> Sequence[str]:
    rows = [
        (
            part.kind,
            ", ".join(map(_code, part.names)),
            _code(str(part.digest)),
            "by a step above" if part.made else "outside",
            ", ".join(_code(f"{one.evidence.found.statement} by {one.evidence.found.signer}") for one in part.evidence),
        )
        for part in facts.parts
    ]
    return _table(("kind", "name", "digest", "made", "signed outside"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]


def _code(text: str) -> str:
    """One line of code in a cell of a table: nothing in it ends the span, the cell or the line.

    A backslash before a bar is kept from it by a space: GFM reads the two backslashes of `\\\\|` as one, and ends the cell.
    """
    shown = " ".join(text.split()).replace("`", "'").replace("\\|", "\\ |").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def _json(text: str) -> str:
    """A JSON string, which is a string of YAML too."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
