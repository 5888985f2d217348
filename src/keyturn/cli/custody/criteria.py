"""`keyturn step criteria`: say what a model must reach, before anybody measures it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.names import a_resource
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

__all__ = ["criteria"]


def criteria(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="As `model/aurora`, or the whole URI.",
            show_default=False,
            callback=a_resource,
            autocompletion=offer_names("resources"),
        ),
    ],
    metric: Annotated[str, typer.Option(help="The metric that is measured, as `bits-per-byte`.")],
    comparison: Annotated[
        Literal["above", "at-least", "at-most", "below"], typer.Option(help="How it must compare with the threshold.")
    ],
    threshold: Annotated[str, typer.Option(help="A decimal number.")],
    on: Annotated[
        list[str], typer.Option(help="Data that the evaluation must take: a path, or its digest. Repeat for more.")
    ],
    against: Annotated[
        str | None, typer.Option(help="Compare the difference to this other metric, as a baseline's.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why these.", callback=said_to_people)] = "",
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Log what a model must reach, before anybody measures it; `keyturn run --criteria` names the record."""
    from keyturn.errors import Usage
    from keyturn.formats.posix_time import rfc3339
    from keyturn.formats.steps import EvaluationCriteria
    from keyturn.wiring.custody.criteria import author_of, log_criteria
    from keyturn.wiring.custody.release import artifact_digest
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.typed import uri

    place = find_lab(lab)
    author = author_of(place, key=key)
    resource = str(uri("MODEL", model, lab=author.trust.lab))
    data = []
    for named in on:
        with output.hashing(named, json=json) as on_bytes:
            data.append(artifact_digest(named, on_bytes)[0])
    try:
        stated = EvaluationCriteria(
            lab=author.trust.lab,
            nonce=author.nonce,
            member=author.member,
            key=author.key.public.keyid,
            model=resource,
            metric=metric,
            comparison=comparison,
            threshold=threshold,
            against=against,
            reason=reason,
            trust_version=author.trust.targets_version,
            signed_at=author.now,
        )
    except ValueError as err:
        raise Usage("criteria-invalid", str(err)) from err
    difference = "" if against is None else f" minus {against}"
    said = [f"criteria of {resource}", f"  {metric}{difference} is {comparison} {threshold}"]
    said += [f"  on   {digest}" for digest in data]
    said += [f"  why  {reason or '-'}", f"  by   {author.member}, at {rfc3339(author.now)}"]
    output.warn("\n".join(said), json=json)
    output.confirm("Sign and log this?", yes=yes)
    logged = log_criteria(place, stated, data, author)
    output.emit(
        {"id": logged.id, "digest": logged.digest, "index": logged.index},
        json=json,
        human=lambda screen: screen.print(f"{logged.id} is logged as entry {logged.index}"),
    )
