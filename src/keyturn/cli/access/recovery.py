"""`keyturn recovery`: let one member in without log and targets, by as many holders of root keys as a new root would take.

The grant lies in a file that goes from one holder to the next, and then to the gate; it is logged when the log is there again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.completion import offer_names
from keyturn.cli.names import Resource, a_duration, a_gate, seconds
from keyturn.cli.options import Json, Lab, OtherTrustKey, Yes, said_to_people

__all__ = ["app"]

app = typer.Typer(help="Recovery grants: by holders of root keys, when nothing else works.", no_args_is_help=True)

Grant = Annotated[Path, typer.Argument(metavar="GRANT", help="The file with the recovery grant.")]


@app.command()
def new(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="As `host:root`.")],
    resource: Resource,
    gate: Annotated[
        str, typer.Option(help="The gate, as `gpu1`.", callback=a_gate, autocompletion=offer_names("gates"))
    ],
    beneficiary: Annotated[str, typer.Option(help="Who is let in.", autocompletion=offer_names("members"))],
    session_key: Annotated[
        str, typer.Option(help="The key that the session will prove: base64 of its SubjectPublicKeyInfo.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why: the others sign it.", callback=said_to_people)],
    out: Annotated[Path, typer.Option(help="The new file.")],
    duration: Annotated[
        str, typer.Option(help="How long it is open, as `2h`: `4h` at most.", callback=a_duration)
    ] = "1h",
    starts_in: Annotated[
        str | None, typer.Option(help="When it opens, from now; so that others can sign.", callback=a_duration)
    ] = None,
    trust_key: OtherTrustKey = None,
    lab: Lab = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a recovery grant, and sign it as the first holder of a root key. Others sign it, until they are enough."""
    from keyturn.adapters.clock import SystemClock, SystemEntropy
    from keyturn.adapters.files.config_files import require_new, write_new
    from keyturn.app.access.recovery_file import add_signature, payload_of, shown
    from keyturn.config.person import home_of
    from keyturn.crypto.keys import PublicKey
    from keyturn.errors import Usage
    from keyturn.formats import dsse
    from keyturn.formats.recovery import RecoveryGrant
    from keyturn.wiring.access.recovery import root_in_force
    from keyturn.wiring.keys.own_keys import own_trust_signer
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.typed import typed, uri

    typed("`--session-key`", PublicKey.from_text, session_key)
    root = root_in_force(find_lab(lab))
    require_new(out)
    now = SystemClock().now()
    begin = now + (0 if starts_in is None else seconds(starts_in))
    try:
        made = RecoveryGrant(
            lab=root.lab,
            nonce=SystemEntropy().nonce(),
            beneficiary=beneficiary,
            action=action,
            resource=str(uri("RESOURCE", resource, lab=root.lab)),
            gate=str(uri("`--gate`", gate if "/" in gate else f"gate/{gate}", lab=root.lab)),
            justification=reason,
            root_version=root.version,
            signed_at=now,
            not_before=begin,
            not_after=begin + seconds(duration),
            session_key=session_key,
        )
    except ValueError as err:
        raise Usage("recovery-invalid", str(err), hint="--duration of at most 4h, over within 24h of now") from err
    payload = payload_of(made)
    output.warn(asked.table(shown(made)), json=json)
    output.confirm("Sign this recovery grant?", yes=yes)
    signed = add_signature(payload, None, own_trust_signer(home_of(os.environ), named=trust_key), root=root)
    write_new(out, dsse.render(signed))
    output.emit(
        {"grant": str(out), "signatures": 1, "needed": root.threshold},
        json=json,
        human=lambda screen: screen.print(f"{out}: signed by 1 of {root.threshold}; next: keyturn recovery sign {out}"),
    )


@app.command()
def sign(grant: Grant, trust_key: OtherTrustKey = None, lab: Lab = None, yes: Yes = False, json: Json = False) -> None:
    """Sign a recovery grant with your root key, after it was shown whole; the signature is put into the file."""
    from keyturn.adapters.files.config_files import read_small, replace_file
    from keyturn.app.access.recovery_file import add_signature, recovery_in, shown, signers_of
    from keyturn.config.person import home_of
    from keyturn.formats import dsse
    from keyturn.wiring.access.recovery import root_in_force
    from keyturn.wiring.keys.own_keys import own_trust_signer
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    own = own_trust_signer(home_of(os.environ), named=trust_key)
    envelope, made = recovery_in(read_small(grant))
    root = root_in_force(place)
    output.warn(asked.table((*shown(made), ("signed by", ", ".join(signers_of(envelope, root))))), json=json)
    output.confirm("Sign this recovery grant?", yes=yes)
    signed = add_signature(envelope.payload, envelope, own, root=root)
    replace_file(grant, dsse.render(signed))
    count = len(signed.signatures)
    output.emit(
        {"grant": str(grant), "signatures": count, "needed": root.threshold},
        json=json,
        human=lambda screen: screen.print(f"{grant}: signed by {count} of {root.threshold}"),
    )


@app.command()
def show(grant: Grant, lab: Lab = None, json: Json = False) -> None:
    """Show a recovery grant whole, and whether the root in force would let it open: exits with 1 when not."""
    from keyturn.adapters.files.config_files import read_small
    from keyturn.app.access.recovery_file import recovery_in, shown
    from keyturn.grants.recovery import require_root_threshold
    from keyturn.wiring.access.recovery import root_in_force
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    envelope, made = recovery_in(read_small(grant))
    output.warn(asked.table(shown(made)), json=json)
    signers = sorted(require_root_threshold(envelope, made, root_in_force(place)))
    output.emit(
        {"recovery": made, "signers": signers},
        json=json,
        human=lambda screen: screen.print(f"signed by enough: {', '.join(signers)}"),
    )


@app.command()
def log(grant: Grant, lab: Lab = None, json: Json = False) -> None:
    """Log a recovery grant, after it was used: everybody is to know of it."""
    from keyturn.adapters.files.config_files import read_small
    from keyturn.app.access.recovery_file import recovery_in
    from keyturn.formats import records
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import log_writer

    place = find_lab(lab)
    raw = read_small(grant)
    envelope, _ = recovery_in(raw)
    with log_writer(place) as writer:
        index = writer.append(raw)
    name = records.record_id("rcv", envelope.record_digest)
    output.emit(
        {"id": name, "index": index}, json=json, human=lambda screen: screen.print(f"{name}: logged at {index}")
    )
