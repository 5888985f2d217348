"""Verify a chain of custody of 100,000 statements, against the bare signature checks of the same statements.

50,000 steps, each of which takes what the one before it made: as many step requests and as many provenance statements, each
with one Ed25519 signature. The peer checks the same signatures over the same bytes, on the same threads, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.measure import Row, paired, row
from keyturn.bulk.threads import cores, on_all_cores
from keyturn.crypto.keys import PublicKey
from keyturn.custody.evidence import Entry
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import Suspended, examine, verify_chain
from keyturn.formats import dsse, provenance, statement, steps
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature, pae
from keyturn.formats.provenance import BuilderId, Dependency, Output, Provenance
from keyturn.formats.steps import DeclaredInput, StepRequest
from keyturn.formats.uri import Uri
from support.labs import NOW, Lab, make_lab

STATEMENTS = 100_000
ROUNDS = 3
AURORA = Uri("acme.example", "model", "aurora")


def _artifact(number: int) -> ArtifactDigest:
    return ArtifactDigest("dirHash", sha256(b"%d" % number))


def _statements(lab: Lab, count: int) -> tuple[list[Entry], ArtifactDigest]:
    """Make the chain: request, provenance, request, provenance..."""
    member, builder = lab.member_keys["ada"], lab.builder_keys["builder"]
    entries: list[Entry] = []

    def append(payload: bytes, keyid: str, sig: bytes) -> None:
        raw = dsse.render(
            Envelope(payload_type=IN_TOTO, payload=payload, signatures=(Signature(keyid=keyid, sig=sig),))
        )
        entries.append(Entry(2 + len(entries), raw))

    for number in range(count // 2):
        build: steps.BuildKind = "train" if number else "ingest"
        request = StepRequest(
            lab=lab.name,
            nonce=f"{number:032x}",
            member="ada",
            key=member.public.keyid,
            step=build,
            build=build,
            builder="builder",
            command=("python", "/in/code/main.py"),
            inputs=(DeclaredInput(name="data", digest=str(_artifact(number))),),
            outputs=("out",),
            timeout_s=60,
            trust_version=1,
            signed_at=NOW,
        )
        payload = statement.make(request, steps.STEP_REQUEST, request.subjects)
        append(payload, member.public.keyid, member.sign(pae(IN_TOTO, payload)))
        made = Provenance(
            lab=lab.name,
            build=build,
            step=build,
            request=sha256(payload),
            command=request.command,
            dependencies=(Dependency("data", "input", _artifact(number), check="full"),),
            outputs=(Output("out", _artifact(number + 1)),),
            builder=BuilderId(lab.name, "builder", "builder"),
            level=1,
            sandbox="bubblewrap",
            started_at=NOW,
            finished_at=NOW,
        )
        payload = provenance.make(made)
        append(payload, builder.public.keyid, builder.sign(pae(IN_TOTO, payload)))
    return entries, _artifact(count // 2)


def _raw_checks(entries: Sequence[Entry], lab: Lab) -> Callable[[], None]:
    """The bare signature checks of `entries`, ready to run."""
    keys = (lab.member_keys["ada"].public, lab.builder_keys["builder"].public)
    checks: list[tuple[PublicKey, bytes, bytes]] = []
    for place, entry in enumerate(entries):
        envelope = dsse.parse_own(entry.raw)
        checks.append((keys[place % 2], envelope.signatures[0].sig, pae(IN_TOTO, envelope.payload)))
    batches = [checks[at : at + 256] for at in range(0, len(checks), 256)]

    def check(batch: list[tuple[PublicKey, bytes, bytes]]) -> None:
        for key, signature, message in batch:
            key.verify(signature, message)

    def run_all() -> None:
        on_all_cores(check, batches)

    return run_all


def run(count: int = STATEMENTS) -> list[Row]:
    """Measure the ratio of the two rates, in turns."""
    lab = make_lab()
    entries, model = _statements(lab, count)
    timeline = TrustTimeline((1,), (lab.state,))
    nobody = Suspended(frozenset(), frozenset())

    def whole_chain() -> None:
        verify_chain(
            examine(
                model, entries, lab=lab.name, resource=AURORA, timeline=timeline, suspended=nobody, each=on_all_cores
            )
        )

    found = paired(whole_chain, _raw_checks(entries, lab), rounds=ROUNDS, calls=1)
    return [
        row(
            f"verify a chain of {count:,} statements / bare signature checks",
            found.rate_ratio,
            "x",
            at_least=0.8,
            peer=f"{count:,} Ed25519 checks on {cores()} threads",
            spread=found.spread * found.rate_ratio**2,
        ),
        row("statements of a chain verified", count / found.ours_s, "1/s"),
    ]
