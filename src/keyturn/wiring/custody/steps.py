"""From a STEP.toml to what the use cases take: the signed request, and where everything lies.

`from-step:` digests are resolved here, from the receipt beside the input. A receipt is unsigned, and decides nothing: it says
which digest the member asks for and signs. Whether a step of the log made that, `custody.verify` finds out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from keyturn.adapters.inputs import oci_place, s3_place
from keyturn.adapters.inputs.held_inputs import ANYWHERE, HeldInputs
from keyturn.adapters.over_http.builder_over_http import Order
from keyturn.app.custody.admit_step import AdmittedStep
from keyturn.app.custody.run_step import RECEIPT_NAME, Layout, Receipt, require_criteria
from keyturn.bulk import manifest
from keyturn.bulk.manifest import Progress
from keyturn.config import step as step_config
from keyturn.config.step import (
    PARAMETERS_MOUNT,
    PARAMETERS_NAME,
    STEP_MOUNT,
    STEP_NAME,
    FromStep,
    InputSource,
    StepFile,
)
from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused, Usage
from keyturn.formats import dsse, input_source, statement
from keyturn.formats.built import built
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.input_source import PathSource
from keyturn.formats.manifest import Contents, Manifest
from keyturn.formats.steps import STEP_REQUEST, DeclaredInput, StepRequest, places_digest
from keyturn.trust.roster import TrustState

__all__ = [
    "STEP_SOURCE",
    "contents_of",
    "declared_inputs",
    "hold_here",
    "layout_of",
    "make_request",
    "require_as_signed",
    "sign_request",
]

STEP_SOURCE = f"\0{STEP_NAME}"
"""Stands for the STEP.toml as a source: its bytes are given, never read from a path."""

_RECEIPT_BYTES_MAX = 1 << 20


def declared_inputs(raw: bytes, step: StepFile, base: Path) -> tuple[DeclaredInput, ...]:
    """Give every input of `step` (whose text is `raw`, in the directory `base`) with its digest resolved."""
    inputs = [
        DeclaredInput(name=i.name, digest=str(_expected(i, base)), role=i.role, check=i.checked) for i in step.inputs
    ]
    if step.parameters is not None:
        found = manifest.contents((base / step.parameters).resolve()).identity
        inputs.append(DeclaredInput(name=PARAMETERS_NAME, digest=str(found), role="parameters"))
    inputs.append(DeclaredInput(name=STEP_NAME, digest=f"sha256:{sha256(raw)}", role="parameters"))
    return tuple(inputs)


def contents_of(source: str, progress: Progress, *, listed: bool) -> Contents | Manifest:
    """Digest what `source` names from here, as an input of that source would be; `listed` makes a manifest of it."""
    take = manifest.make if listed else manifest.contents
    named = input_source.parse(source)
    if isinstance(named, PathSource):
        return take(Path(source), progress=progress)
    with TemporaryDirectory(prefix="keyturn-input-") as place:
        held = Path(place, "input")
        hold_here(Path.cwd()).hold(named, held, progress=progress)
        return take(held, progress=progress)


def hold_here(base: Path) -> HeldInputs:
    """Take inputs on one's own machine and word, by the names and keys of this process's environment."""
    return HeldInputs(
        base,
        Path.resolve,
        ANYWHERE,
        s3_place.place_of_environment(os.environ),
        oci_place.place_of_environment(os.environ),
    )


def make_request(
    step: StepFile,
    inputs: tuple[DeclaredInput, ...],
    *,
    trust: TrustState,
    member: str,
    key: RecordSigner,
    builder: str | None,
    criteria: str | None,
    places: tuple[str, str],
    nonce: str,
    now: int,
) -> StepRequest:
    """Say what will run; what the member is shown, and then signs. `places` are the directories of STEP.toml and outputs."""
    if (step.build_type == "evaluate") != (criteria is not None):
        raise Usage(
            "step-criteria",
            "expected criteria for an evaluation, and for no other step",
            hint='keyturn run STEP.toml --criteria crt-..., or `criteria = "<64 hex>"` in the STEP.toml',
        )
    return StepRequest(
        lab=trust.lab,
        nonce=nonce,
        member=member,
        key=key.public.keyid,
        step=step.name,
        build=step.build_type,
        builder=builder,
        command=step.command,
        inputs=inputs,
        outputs=tuple(o.name for o in step.outputs),
        runtime=step.sandbox.runtime,
        network=step.sandbox.addresses,
        devices=step.sandbox.devices,
        timeout_s=step.sandbox.timeout_s,
        criteria=criteria,
        places=None if builder is None else places_digest(base=places[0], destination=places[1], nonce=nonce),
        trust_version=trust.targets_version,
        signed_at=now,
    )


def sign_request(request: StepRequest, key: RecordSigner) -> bytes:
    """Sign `request` into the envelope that the log keeps."""
    payload = statement.make(request, STEP_REQUEST, request.subjects)
    return dsse.render(dsse_signing.sign(payload, key))


def layout_of(step: StepFile) -> Layout:
    """Give the places of `step`: what its STEP.toml says, and where the two inputs that have no table are mounted."""
    inputs = {i.name: (i.source, i.mount) for i in step.inputs}
    inputs[STEP_NAME] = (STEP_SOURCE, STEP_MOUNT)
    if step.parameters is not None:
        inputs[PARAMETERS_NAME] = (step.parameters, PARAMETERS_MOUNT)
    return Layout(
        inputs=inputs,
        outputs={o.name: o.path for o in step.outputs},
        resume=step.resume,
        traced=step.sandbox.traced,
        packs={i.name: (i.pack, i.root) for i in step.inputs if i.pack is not None and i.root is not None},
    )


def require_as_signed(order: Order, admitted: AdmittedStep) -> StepFile:
    """Check that nothing is in `order` but what was signed, and give its STEP.toml; or raise `Refused`.

    INVARIANT: the request is in the log, and whoever reads it there could otherwise order it first, elsewhere, and use it up.
    """
    step, request = step_config.parse(order.step_file), admitted.request
    signed = {i.name: i.artifact for i in request.inputs}.get(STEP_NAME)
    if signed != ArtifactDigest("sha256", sha256(order.step_file)):
        raise Refused("step-differs", "the STEP.toml is not the one whose digest was signed")
    step_config.check_is_of(step, request)
    if request.places != places_digest(base=order.base, destination=order.destination, nonce=request.nonce):
        raise Refused(
            "step-places",
            f"`stp-{admitted.digest[:32]}` was not signed for `{order.base[:200]}` and `{order.destination[:200]}`",
            hint="run the command again, of this version of Keyturn: it signs a new request",
        )
    require_criteria(request, order.criteria)
    return step


def _expected(source: InputSource, base: Path) -> ArtifactDigest:
    expected = source.expected
    if isinstance(expected, ArtifactDigest):
        return expected
    place = (base / source.source).resolve().parent / RECEIPT_NAME
    outputs = _receipt_outputs(place, expected)
    if expected.output not in outputs:
        raise Usage("from-step", f"input `{source.name}`: step `{expected.step}` has no output `{expected.output}`")
    return ArtifactDigest.parse(outputs[expected.output])


def _receipt_outputs(place: Path, expected: FromStep) -> Mapping[str, str]:
    try:
        with place.open("rb") as file:
            receipt = msgspec.json.decode(file.read(_RECEIPT_BYTES_MAX), type=built(Receipt))
    except OSError as err:
        raise Usage(
            "from-step",
            f"expected the receipt of step `{expected.step}` at `{place}`: {err.strerror}",
            hint=f"run step `{expected.step}` first; `source` names one of its outputs",
        ) from err
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Usage("from-step", f"`{place}` is no receipt of a step: {err}") from err
    if receipt.step != expected.step:
        raise Usage("from-step", f"`{place}` is of step `{receipt.step}`, expected step `{expected.step}`")
    return receipt.outputs
