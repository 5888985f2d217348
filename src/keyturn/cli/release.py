"""`keyturn release MODEL`: ask people to release a model with its whole chain, then have the gate release it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab, Yes

if TYPE_CHECKING:
    from keyturn.wiring.release import OpenedRelease

__all__ = ["release"]


def release(
    model: Annotated[str, typer.Argument(help="The model's directory, or its dirHash:...", show_default=False)],
    resource: Annotated[
        str | None, typer.Option("--as", help="What it is released as: keyturn://LAB/model/NAME.", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why it should be released; approvers read this.")] = "",
    ticket: Annotated[str, typer.Option(help="A reference that approvers know.")] = "",
    permit: Annotated[str | None, typer.Option(help="The policy's permit. Default: the only one for releases.")] = None,
    request: Annotated[
        str | None, typer.Option(help="The approved request (req-...) that the gate shall act on.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the pack goes.")] = Path("model.pack"),
    gate: Annotated[str, typer.Option(help="The release gate's name.")] = "release",
    send_path: Annotated[
        bool, typer.Option("--gate-hashes/--digest-only", help="Whether the gate hashes the model's files itself.")
    ] = False,
    open_for: Annotated[int, typer.Option(help="Seconds in which the request can be approved and used.")] = 8 * 3600,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Ask for the release of MODEL; with --request, have the gate release it and write its pack.

    The first form shows the model's chain and makes the request that coworkers approve. The second takes the approved
    request to the release gate, which verifies everything again, and keeps its pack only when that verifies here.
    """
    from keyturn.errors import Usage
    from keyturn.wiring import release as wiring
    from keyturn.wiring.places import find_lab

    place = find_lab(lab)
    digest, path = wiring.artifact_digest(model)
    if request is not None:
        verified, written = wiring.release_by_gate(
            place, request=request, gate=gate, path=path if send_path else None, out=out
        )
        if verified.model != digest:
            raise Usage("request-other-model", f"`{request}` releases `{verified.model}`, and MODEL is `{digest}`")
        output.emit(
            {"released": str(verified.model), "pack": str(written), "request": request},
            json=json,
            human=lambda screen: screen.print(
                f"released {verified.model}\npack {written}\ntry: keyturn verify {model} --pack {written} --root root.json"
            ),
        )
        return
    if resource is None or not reason:
        raise Usage("option-missing", "expected --as keyturn://LAB/model/NAME and --reason, or --request req-...")
    opened = wiring.open_and_sign(
        place,
        model=digest,
        resource=resource,
        permit=permit,
        gate=gate,
        justification=reason,
        ticket=ticket,
        open_for_s=open_for,
    )
    _show_request(opened)
    output.confirm("Sign and submit this request?", yes=yes)
    index, found = wiring.submit_request(place, opened)
    name = f"req-{found[:32]}"
    output.emit(
        {
            "request": name,
            "digest": found,
            "index": index,
            "model": str(digest),
            "pack_index": opened.draft.index.digest,
            "failures": [{"code": f.code, "message": f.message} for f in opened.draft.chain.failures],
        },
        json=json,
        human=lambda screen: screen.print(f"{name}\ntry: keyturn approve {name}"),
    )


def _show_request(opened: OpenedRelease) -> None:
    """Show the whole request on standard error, before it is submitted."""
    from keyturn.formats.posix_time import rfc3339

    asked, chain = opened.request, opened.draft.chain
    lines = [
        f"release {chain.model}",
        f"  as        {asked.resource}, by permit `{asked.permit}`, at {asked.gate}",
        f"  requester {asked.requester}: {asked.justification}",
        f"  chain     {len(chain.steps)} steps, lowest level {chain.level_min}, {len(chain.evaluations)} evaluations",
        f"  log       {opened.draft.index.size} entries, as of {rfc3339(opened.draft.index.as_of)}",
    ]
    lines += [f"  step      {s.value.step} ({s.value.build}) by {s.value.builder}" for s in chain.steps]
    lines += [f"  source    {digest}" for digest in chain.sources]
    lines += [f"  FAILURE   {failure.message} [{failure.code}]" for failure in chain.failures]
    lines.append(f"  until     {rfc3339(asked.not_after)}")
    output.warn("\n".join(lines))
