"""What `keyturn step reproduce` does: ask another builder for a step that is in the log, with exactly what it took then.

The inputs' digests, the command and the runtime are those of the provenance, whose signature is verified; the STEP.toml must
be the one that it names. Where the builder finds the inputs is its own affair: beside the STEP.toml, on its machine.

This is NOT what decides that a step was reproduced: see `custody.reproduced`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.files.step_files import require_free
from keyturn.app.records.find_record import find_record
from keyturn.config import step as step_config
from keyturn.config.step import STEP_NAME
from keyturn.crypto import dsse_signing
from keyturn.errors import Refused, Usage
from keyturn.formats import dsse, provenance, records
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.provenance import Provenance
from keyturn.formats.steps import DeclaredInput, StepRequest
from keyturn.ports import LogReader, RecordIndex
from keyturn.trust.roster import TrustState
from keyturn.wiring.custody.run_command import PreparedStep
from keyturn.wiring.custody.steps import make_request
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import lab_index, log_reader, trust_behind

__all__ = ["Again", "prepare_again"]


@dataclass(frozen=True, slots=True)
class Again:
    """A step that another builder is to run once more, and what came out the first time."""

    prepared: PreparedStep
    first: Provenance

    def same(self, outputs: dict[str, str]) -> dict[str, bool]:
        """Whether each output is, by digest, what it was the first time."""
        return {output.name: outputs.get(output.name) == str(output.digest) for output in self.first.outputs}


def prepare_again(
    place: LabPlace, named: str, path: Path, *, builder: str | None, out: Path | None, key: str | None
) -> Again:
    """Find the step that `named` (a digest, or `prv-...`) came from, and make the request for another builder of the lab."""
    raw = read_small(path)
    step = step_config.parse(raw, where=str(path))
    base = path.absolute().parent
    destination = (out or base / "out.again").absolute()
    require_free(destination)
    person = find_person()
    with lab_index(place) as index, log_reader(place) as reader:
        record = _named(index, named)
        trust = trust_behind(place, reader).newest
        first = _read(reader.envelope(record), trust)
        other = _other(trust, first, builder)
        asked, criteria = _asked(index, reader, first)
    taken = {d.name: d.digest for d in first.dependencies if d.role != "runtime"}
    if taken.get(STEP_NAME) != ArtifactDigest("sha256", sha256(raw)):
        raise Refused(
            "reproduce-other-step",
            f"`{path}` is not the STEP.toml that `{first.step}` ran with: expected `{taken.get(STEP_NAME)}`",
            hint="take it from where the step ran first; git has older texts of it",
        )
    signer = own_signer(person, approving=False, named=key, view=PageView(trust.roster))
    request = make_request(
        step,
        tuple(
            DeclaredInput(name=d.name, digest=str(d.digest), role=d.role, check=d.check)
            for d in first.dependencies
            if d.role != "runtime" and d.check is not None
        ),
        trust=trust,
        member=person.config.member,
        key=signer,
        builder=other,
        criteria=asked.criteria,
        places=(str(base), str(destination)),
        nonce=SystemEntropy().nonce(),
        now=SystemClock().now(),
    )
    prepared = PreparedStep(
        raw=raw,
        step=step,
        base=base,
        destination=destination,
        request=request,
        criteria=criteria,
        trust=trust,
        key=signer,
    )
    return Again(prepared, first)


def _named(index: RecordIndex, named: str) -> Sha256:
    if not named.startswith(("dirHash:", "sha256:")):
        return Sha256(find_record(index, named if named.startswith("prv-") else f"prv-{named}").envelope)
    artifact = ArtifactDigest.parse(named)
    made = [one for one in index.about(str(artifact)) if one.kind == "prv"]
    if not made:
        raise Refused(
            "record-not-found", f"no step in the log made `{artifact}`", hint=f"keyturn lineage show {artifact}"
        )
    return Sha256(made[0].envelope)


def _read(raw: bytes, trust: TrustState) -> Provenance:
    envelope = dsse.parse_foreign(raw)
    made = provenance.read(envelope.payload)
    listed = trust.builders.get(made.builder.name) if made.builder.kind == "builder" else None
    if listed is None or made.segment is not None:
        raise Refused(
            "reproduce-no-builder",
            f"step `{made.step}` was signed by `{made.builder}`, which is no builder that the lab's targets list now",
            hint="run it with a builder first: keyturn run",
        )
    dsse_signing.verify_one(envelope, listed.key)
    return made


def _other(trust: TrustState, first: Provenance, named: str | None) -> str:
    operator = trust.builders[first.builder.name].operator
    others = sorted(one.id for one in trust.builders.values() if one.operator != operator)
    if named is None and len(others) != 1:
        raise Usage(
            "builder-which",
            f"expected one builder of another operator than `{operator}` in the lab's targets, there are {len(others)}",
            hint="--builder NAME" if others else "a second builder, of another operator, in builders.toml of the draft",
        )
    if named is not None and named not in others:
        raise Refused(
            "reproduce-same-operator",
            f"expected a builder of another operator than `{operator}`, whose `{first.builder.name}` ran the step; got `{named}`",
            hint=f"--builder {others[0]}"
            if others
            else "a second builder, of another operator, in builders.toml of the draft",
        )
    return named or others[0]


def _asked(index: RecordIndex, reader: LogReader, first: Provenance) -> tuple[StepRequest, bytes | None]:
    """The request that the step ran by, and the record of the criteria that it names."""
    asked = records.parse(reader.envelope(_envelope(index, first.request, "stp"))).statement.predicate
    if not isinstance(asked, StepRequest):
        raise Refused(
            "step-request-expected",
            f"`{first.request}` is no step request",
            hint="name another making of it: keyturn lineage show",
        )
    if asked.criteria is None:
        return asked, None
    return asked, reader.envelope(_envelope(index, asked.criteria, "crt"))


def _envelope(index: RecordIndex, digest: str, kind: str) -> Sha256:
    return Sha256(find_record(index, f"{kind}-{digest}").envelope)
