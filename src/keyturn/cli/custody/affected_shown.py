"""Say what is affected: every release and deployment and the first models for people, and all of it as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from keyturn.cli.output import plain
from keyturn.formats.posix_time import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.custody.find_affected import Affected
    from keyturn.app.custody.shortest_paths import Hop

__all__ = ["as_json", "show_affected"]

_PATHS_SHOWN = 50


def as_json(found: Affected) -> dict[str, Any]:
    """All of it, each model with its path."""

    def of_hop(one: Hop) -> dict[str, Any]:
        if one.artifact is not None:
            return {"artifact": one.artifact}
        return {"index": one.index, "kind": one.kind, "of": one.label}

    def path(hops: tuple[Hop, ...]) -> list[dict[str, Any]]:
        return [of_hop(one) for one in hops]

    return {
        "of": found.of,
        "verdict": found.verdict,
        "signed": found.signed,
        "models": [
            msgspec.Raw(  # each as text at once: there may be hundreds of thousands
                msgspec.json.encode(
                    {"artifact": one.artifact, "build": one.build, "made_at": one.made_at, "path": path(one.path)}
                )
            )
            for one in found.models
        ],
        "releases": [
            {
                "index": one.index,
                "resource": one.resource,
                "model": one.model,
                "state": one.state,
                "withdrawn_by": [{"member": member, "index": index} for member, index in one.by],
                "path": path(one.path),
            }
            for one in found.releases
        ],
        "deployments": [
            {"index": one.index, "host": one.host, "ended_at": one.ended_at, "path": path(one.path)}
            for one in found.deployments
        ],
        "artifacts": found.artifacts,
        "failures": [{"index": f.index, "code": f.code, "message": f.message} for f in found.failures],
        "unread": [{"index": one.index, "kind": one.kind, "record": one.record} for one in found.unread],
        "as_of": found.as_of,
        "log_size": found.log_size,
    }


def show_affected(screen: Console, found: Affected) -> None:
    """Print releases, deployments and the first models with their paths, and how many models there are."""
    lines: list[str] = []
    for release in found.releases:
        over = ", ".join(f"{member} at entry {index}" for member, index in release.by)
        state = (
            "WITHDRAWN by"
            if release.state == "withdrawn"
            else "released; a request was ended by"
            if over
            else "released"
        )
        lines.append(f"release {release.resource}, entry {release.index} {state} {over}".rstrip())
        lines += _path(release.path)
    for one in found.deployments:
        until = "RUNS" if one.ended_at is None else f"ended at entry {one.ended_at}, ran"
        lines.append(f"deployment, entry {one.index}: {until} on {one.host}")
        lines += _path(one.path)
    for model in found.models[:_PATHS_SHOWN]:
        lines.append(f"model {model.artifact}, by {model.build}, entry {model.made_at[0]}")
        lines += _path(model.path)
    if len(found.models) > _PATHS_SHOWN:
        lines.append(f"and {len(found.models) - _PATHS_SHOWN} models more: --json has all")
    lines += [f"FAILURE at log index {failed.index}: {failed.message} [{failed.code}]" for failed in found.failures]
    lines += [
        f"UNREAD at log index {lost.index}: `{lost.kind}` record, erased; this key may have signed it"
        for lost in found.unread
    ]
    signed = f" ({len(found.signed)} statements)" if found.signed else ""
    count = f"{len(found.models)} models, {len(found.releases)} releases, {found.artifacts} artifacts in all"
    lines += [
        f"{found.verdict.upper()} by {found.of}{signed}: {count}",
        f"as of {rfc3339(found.as_of)}, log size {found.log_size}",
    ]
    for line in lines:
        screen.print(plain(line))


def _path(hops: tuple[Hop, ...]) -> Iterator[str]:
    for one in hops:
        yield f"    {one.artifact}" if one.artifact is not None else f"    > {one.kind} {one.label}, entry {one.index}"
