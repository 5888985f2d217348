"""`keyturn release MODEL`: ask people to release a model with its whole chain, then have the gate release it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names, offer_records
from keyturn.cli.custody import chains
from keyturn.cli.names import a_duration, a_record, a_resource, seconds
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

if TYPE_CHECKING:
    from keyturn.wiring.custody.release import OpenedRelease

__all__ = ["ask"]


def ask(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's directory, or its dirHash:...", show_default=False)
    ],
    resource: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="What it is released as: model/NAME, or the whole URI.",
            show_default=False,
            callback=a_resource,
            autocompletion=offer_names("resources"),
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Why it should be released; approvers read this.", callback=said_to_people)
    ] = "",
    ticket: Annotated[str, typer.Option(help="A reference that approvers know.", callback=said_to_people)] = "",
    permit: Annotated[
        str | None,
        typer.Option(
            help="The policy's permit. Default: the only one for releases.", autocompletion=offer_names("permits")
        ),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(
            help="The approved request (req-...) that the gate shall act on.",
            show_default=False,
            callback=a_record("req"),
            autocompletion=offer_records("req"),
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the pack goes.")] = Path("model.pack"),
    gate: Annotated[
        str, typer.Option(help="The release gate's name.", autocompletion=offer_names("gates"))
    ] = "release",
    send_path: Annotated[
        bool, typer.Option("--gate-hashes/--digest-only", help="Whether the gate hashes the model's files itself.")
    ] = False,
    duration: Annotated[
        str,
        typer.Option(help="How long, as `2h`: within it the request is approved and used, once.", callback=a_duration),
    ] = "8h",
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Ask for the release of MODEL; with --request, have the gate release it and write its pack.

    The first form shows the model's chain and makes the request that coworkers approve. The second takes the approved
    request to the release gate, which verifies everything again, and keeps its pack only when that verifies here.
    """
    from keyturn.errors import Usage
    from keyturn.wiring.custody import release as wiring
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    with output.hashing(model, json=json) as on_bytes:
        digest, path = wiring.artifact_digest(model, on_bytes)
    if request is not None:
        verified, written = wiring.release_by_gate(
            place, request=request, gate=gate, path=path if send_path else None, out=out, again=False
        )
        if verified.model != digest:
            raise Usage("request-other-model", f"`{request}` releases `{verified.model}`, and MODEL is `{digest}`")
        output.emit(
            {"released": str(verified.model), "pack": str(written), "request": request},
            json=json,
            human=lambda screen: screen.print(
                output.plain(
                    f"released {verified.model}\npack {written}\n"
                    f"next: keyturn verify {model} --pack {written} --root ROOT    (the lab's root.json, got by another way)"
                )
            ),
        )
        return
    if resource is None or not reason:
        raise Usage(
            "option-missing",
            "expected --as and --reason to ask, or --request to release what was approved",
            hint="keyturn release MODEL --as model/NAME --reason WHY",
        )
    opened = wiring.open_request(
        place,
        model=digest,
        resource=resource,
        permit=permit,
        gate=gate,
        justification=reason,
        ticket=ticket,
        duration_s=seconds(duration),
        key=key,
    )
    _show_request(opened, json=json)
    _require_chain(opened)
    wiring.require_grantable(opened)
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
            "chain": chains.as_json(opened.draft.chain),
        },
        json=json,
        human=lambda screen: screen.print(
            f"{name}\nnext: coworkers run `keyturn approve {name}`; then keyturn release {model} --request {name}"
        ),
    )


def _require_chain(opened: OpenedRelease) -> None:
    """Refuse to ask for what the gate must refuse: the request binds this chain, and nothing that is logged later mends it."""
    from keyturn.custody.verify import located
    from keyturn.errors import Refused

    failures = opened.draft.chain.failures
    if not failures:
        return
    outside = any(failure.code == "link-missing" for failure in failures)
    raise Refused(
        "chain-refused",
        f"no gate would release this: its chain of custody has {len(failures)} failure(s)",
        reasons=tuple((failure.code, located(failure)) for failure in failures),
        hint="data from outside comes in by a step of build_type ingest: docs/first-lab.md"
        if outside
        else f"keyturn lineage show {opened.draft.chain.model}",
    )


def _show_request(opened: OpenedRelease, *, json: bool) -> None:
    """Show the whole request on standard error, before it is submitted."""
    from keyturn.formats.posix_time import rfc3339

    asked = opened.request
    lines = [
        f"release {opened.draft.chain.model}",
        f"  as         {asked.resource}, by permit `{asked.permit}`, at {asked.gate}",
        f"  requester  {asked.requester}: {asked.justification}",
        *chains.release_lines(opened.draft),
        f"  until      {rfc3339(asked.not_after)}",
    ]
    output.warn("\n".join(lines), json=json)
