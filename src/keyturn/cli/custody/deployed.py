"""`keyturn release deployed`, `ended`, `where`, `withdraw`: what runs where since when and by whose word, and taking it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli import in_force, output
from keyturn.cli.access import asked
from keyturn.cli.completion import offer_records
from keyturn.cli.names import a_record, a_resource, this_is_there
from keyturn.cli.options import Json, Key, Lab, Reason, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from keyturn.app.custody.deployments import Deployed, Released, ReleaseLog

__all__ = ["deployed", "ended", "where", "withdraw"]

GateDirectory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="A gate's own directory, as that of the serving host: its key signs. Default: yours does.",
        show_default=False,
        callback=this_is_there,
    ),
]


def _a_model(param: typer.CallbackParam, value: str) -> str:
    """Accept a digest, a release request, or a model's resource."""
    from keyturn.wiring.typed import artifact

    if value.startswith(("dirHash:", "sha256:")):
        artifact("MODEL", value)
    elif value.startswith("req-"):
        a_record("req")(value)
    else:
        a_resource(param, value)
    return value


def deployed(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="The release's pack.", show_default=False)],
    root: Annotated[
        Path, typer.Option(help="The lab's first root, got by another way than the pack.", show_default=False)
    ],
    host: Annotated[str, typer.Option("--on", metavar="HOST", help="The host, as gpu1.", show_default=False)],
    directory: GateDirectory = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Log that the model of PACK runs on HOST from now on: signed by you, or with --dir by the serving host's gate."""
    from keyturn.wiring.custody.deployments import own_pack, say, signing

    with signing(lab, key=key, gate=directory) as by:
        verified = own_pack(pack, root)
        rows = (("model", str(verified.model)), ("released as", str(verified.verdict.resource)), ("runs on", host))
        output.warn(asked.table(rows), json=json)
        if directory is None:
            output.confirm("Sign that it runs there?", yes=yes)
        said = say(by, verified, host=host)
    output.emit(
        asked.logged_as(said.logged, in_force=said.in_force),
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{said.logged.id}: runs on {host}\nnext: keyturn release ended {said.logged.id}, when it does not"
            )
        ),
    )


def ended(
    deployment: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOYMENT",
            help="The deployment's id, as `dep-1a2b3c4d` (8 digits or more).",
            show_default=False,
            callback=a_record("dep"),
            autocompletion=offer_records("dep"),
        ),
    ],
    reason: Reason,
    directory: GateDirectory = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Log that a deployment ended: the model does not run there any more."""
    from keyturn.wiring.custody.deployments import end, signing

    with signing(lab, key=key, gate=directory) as by:
        output.warn(asked.table((("ended", deployment), ("reason", reason))), json=json)
        if directory is None:
            output.confirm("Sign that it ended?", yes=yes)
        said = end(by, deployment, reason=reason)
    output.emit(
        asked.logged_as(said.logged, in_force=said.in_force),
        json=json,
        human=lambda screen: screen.print(output.plain(f"{said.logged.id}: {deployment} ended")),
    )


def where(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The model's dirHash:..., or what it was released as: model/NAME.",
            show_default=False,
            callback=_a_model,
        ),
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Say where MODEL runs, since when, by whose word, and who let it there: requester and approvers. Reads the whole log."""
    from keyturn.wiring.custody.deployments import where as look

    read, found = look(lab, model)
    output.emit(_as_json(read, found), json=json, human=lambda screen: _show(screen, read, found))


def withdraw(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The model's dirHash:..., what it was released as: model/NAME, or one release: req-1a2b3c4d.",
            show_default=False,
            callback=_a_model,
        ),
    ],
    reason: Reason,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take every release of MODEL back, for good: one human can. Whoever asks before serving is told no within the hour."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.custody.deployments import deployments, read_releases
    from keyturn.wiring.access.grants import desk
    from keyturn.wiring.custody.deployments import find_released, withdraw_all
    from keyturn.wiring.log.pinned_log import root_of

    with desk(lab, key=key) as here:
        seen = here.seen
        root, pin = root_of(seen.place, seen.reader)
        read = read_releases(seen.reader, root_json=root, pinned_sha256=pin, now=SystemClock().now())
        found = find_released(read, model, lab=seen.trust.lab)
        runs = [
            one.host
            for released in found
            for one in deployments(read, model=released.model)
            if one.runs and one.request == released.request
        ]
        rows = [(one.id, f"{one.resource}, {one.model}") for one in found]
        rows += [("runs on", host) for host in dict.fromkeys(runs)] or [("runs on", "no host that anybody said")]
        output.warn(asked.table((*rows, ("reason", reason))), json=json)
        output.confirm("Withdraw what was released?", yes=yes)
        with in_force.told_anyway(here, json=json):
            done = withdraw_all(here, found, reason=reason)
    output.emit(
        {
            "withdrawn": [
                {"request": one.id, **asked.logged_as(said.logged, in_force=said.in_force)} for one, said in done
            ],
            "runs_on": list(dict.fromkeys(runs)),
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain("\n".join(f"{said.logged.id}: {one.id} is withdrawn, in force" for one, said in done))
        ),
    )


def _let_in(one: Released | None) -> str:
    if one is None:
        return "NOBODY: the log has no such release"
    by = f"{one.requester} asked, {', '.join(one.approvers)} approved"
    taken = "; ".join(f"WITHDRAWN by {taken.by}: {taken.reason}" for taken in one.withdrawals)
    return f"{by}; {taken}" if taken else by


def _show(screen: Console, read: ReleaseLog, found: Sequence[Deployed]) -> None:
    from keyturn.formats.posix_time import rfc3339

    if not found:
        screen.print("nobody of the lab said that it runs anywhere")
    for one in found:
        ended = "" if one.ended_at is None else f", ended {rfc3339(one.ended_at)} ({one.ended_by})"
        for line in (
            f"{one.host.rpartition('/')[2]}: since {rfc3339(one.since)}{ended}",
            f"  said by    {one.by} ({one.id})",
            f"  model      {one.model}, as {one.resource}",
            f"  let in by  {_let_in(one.release)}",
        ):
            screen.print(output.plain(line))
    size, at = read.checkpoint.checkpoint.size, read.checkpoint.cosigned_at
    screen.print(f"as of {rfc3339(at)}, {size} entries; what nobody said is not known")


def _as_json(read: ReleaseLog, found: Sequence[Deployed]) -> dict[str, Any]:
    return {
        "as_of": read.checkpoint.cosigned_at,
        "log_size": read.checkpoint.checkpoint.size,
        "deployments": [
            {
                "id": one.id,
                "host": one.host,
                "model": str(one.model),
                "resource": one.resource,
                "by": one.by,
                "since": one.since,
                "ended_at": one.ended_at,
                "ended_by": one.ended_by,
                "release": None
                if one.release is None
                else {
                    "request": one.release.id,
                    "requester": one.release.requester,
                    "approvers": one.release.approvers,
                    "gate": one.release.gate,
                    "released_at": one.release.released_at,
                    "withdrawn": [{"by": t.by, "reason": t.reason} for t in one.release.withdrawals],
                },
            }
            for one in found
        ],
    }
