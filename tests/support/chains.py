"""Build chains of custody in memory: a list of log records, signed by a lab's real keys.

chain = MadeChain(make_lab())
model = chain.build()                       # ingest, train, evaluate, package, as the demo does
chain.entries(model), chain.timeline, chain.leaves, chain.fetch
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from blake3 import blake3
from msgspec.structs import replace as changed

from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.signers import SoftwareKey
from keyturn.custody import pack_index, timeline
from keyturn.custody.evidence import Entry
from keyturn.custody.timeline import TrustTimeline
from keyturn.formats import base64_text, dsse, git_commit, leaf, provenance, records, statement, steps, test_result
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import EVIDENCE, EVIDENCE_PART, Evidence, EvidencePart, Found, Material, Presented
from keyturn.formats.manifest import Manifest, ManifestFile
from keyturn.formats.provenance import BuilderId, Dependency, Output, Provenance
from keyturn.formats.source import SOURCE_REVIEW, SourceReview, SourceRole
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import BuildKind, DeclaredInput, EvaluationCriteria, StepRequest
from keyturn.formats.test_result import TestResult
from keyturn.formats.uri import Uri
from keyturn.tlog.frontier import Frontier
from keyturn.trust.history import TrustHistory
from support.labs import NOW, Lab

__all__ = ["AURORA", "COMMIT", "MadeChain", "artifact", "changed", "files", "signed"]

COMMIT = (
    b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor Ada <ada@acme.example> 1790000000 +0000\n"
    b"committer Ada <ada@acme.example> 1790000000 +0000\n\nthe final one\n"
)
"""A commit object that nobody signed."""

AURORA = Uri("acme.example", "model", "aurora")
RUNTIME = Dependency("/usr", "runtime", ArtifactDigest("dirHash", sha256(b"runtime")))


def files(name: str) -> Manifest:
    """The manifest of an artifact that a test only needs to name: a directory with one file, which holds that name."""
    content = name.encode()
    file = ManifestFile(path="content", size=len(content), sha256=sha256(content), blake3=blake3(content).hexdigest())
    return Manifest(kind="directory", files=(file,))


def artifact(name: str) -> ArtifactDigest:
    """The digest of an artifact that a test only needs to name."""
    return files(name).identity


def signed(payload: bytes, key: RecordSigner) -> bytes:
    return dsse.render(dsse_signing.sign(payload, key))


def _same(value: Any) -> Any:
    return value


@dataclass
class MadeChain:
    """A log that is written record by record; begins with the lab's trust versions."""

    lab: Lab
    records: list[bytes] = field(default_factory=list)
    count: int = 0
    now: int = NOW

    def __post_init__(self) -> None:
        for container in self.lab.containers:
            self.append(container)

    def append(self, raw: bytes) -> int:
        self.records.append(raw)
        return len(self.records) - 1

    def nonce(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def request(
        self,
        build: BuildKind,
        inputs: dict[str, ArtifactDigest],
        *,
        step: str | None = None,
        member: str = "ada",
        builder: str | None = "builder",
        outputs: tuple[str, ...] = ("out",),
        criteria: Sha256 | None = None,
        key: SoftwareKey | None = None,
        alter: Callable[[StepRequest], StepRequest] = _same,
    ) -> tuple[int, StepRequest, Sha256]:
        """Log a step request; `code` among the inputs has the role `code`."""
        key = key or self.lab.member_keys[member]
        made = alter(
            StepRequest(
                lab=self.lab.name,
                nonce=self.nonce(),
                member=member,
                key=key.public.keyid,
                step=step or build,
                build=build,
                builder=builder,
                command=("python", "/in/code/main.py"),
                inputs=tuple(
                    DeclaredInput(name=name, digest=str(digest), role="code" if name == "code" else "input")
                    for name, digest in inputs.items()
                ),
                outputs=outputs,
                runtime=("/usr",),
                timeout_s=60,
                criteria=criteria,
                trust_version=1,
                signed_at=self.now,
            )
        )
        payload = statement.make(made, steps.STEP_REQUEST, made.subjects)
        return self.append(signed(payload, key)), made, sha256(payload)

    def provenance(
        self,
        request: StepRequest,
        digest: Sha256,
        outputs: dict[str, ArtifactDigest],
        *,
        key: SoftwareKey | None = None,
        alter: Callable[[Provenance], Provenance] = _same,
    ) -> int:
        """Log the provenance of the step that ran as `request` asked."""
        by = ("member", request.member) if request.builder is None else ("builder", request.builder)
        made = alter(
            Provenance(
                lab=self.lab.name,
                build=request.build,
                step=request.step,
                request=digest,
                command=request.command,
                dependencies=(
                    *(Dependency(i.name, i.role, i.artifact, check=i.check) for i in request.inputs),
                    RUNTIME,
                ),
                outputs=tuple(Output(name, output) for name, output in outputs.items()),
                builder=BuilderId(self.lab.name, by[0], by[1]),  # type: ignore[arg-type]  # one of the two, as above
                level=1,
                sandbox="none" if request.builder is None else "bubblewrap",
                started_at=self.now,
                finished_at=self.now + 1,
            )
        )
        keys = self.lab.member_keys if request.builder is None else self.lab.builder_keys
        return self.append(signed(provenance.make(made), key or keys[by[1]]))

    def step(
        self, build: BuildKind, inputs: dict[str, ArtifactDigest], outputs: dict[str, ArtifactDigest], **more: Any
    ) -> tuple[int, int]:
        """Log a request and its provenance; `alter_provenance` changes the latter."""
        alter = more.pop("alter_provenance", _same)
        key = more.pop("builder_key", None)
        asked, request, digest = self.request(build, inputs, outputs=tuple(outputs), **more)
        return asked, self.provenance(request, digest, outputs, key=key, alter=alter)

    def criteria(
        self,
        needs: tuple[ArtifactDigest, ...],
        *,
        threshold: str = "-0.5",
        model: Uri | None = None,
        member: str = "ada",
    ) -> tuple[int, Sha256]:
        """Log criteria of the lab's aurora: bits per byte at most `threshold` above (so, below) the baseline's."""
        model = model or Uri(self.lab.name, "model", "aurora")
        key = self.lab.member_keys[member]
        made = EvaluationCriteria(
            lab=self.lab.name,
            nonce=self.nonce(),
            member=member,
            key=key.public.keyid,
            model=str(model),
            metric="bits-per-byte",
            comparison="at-most",
            threshold=threshold,
            against="baseline",
            trust_version=1,
            signed_at=self.now,
        )
        payload = statement.make(
            made,
            steps.EVALUATION_CRITERIA,
            (
                Subject(digest=DigestSet(sha256=model.digest), name=str(model)),
                *(Subject(digest=DigestSet.of(one)) for one in needs),
            ),
        )
        return self.append(signed(payload, key)), sha256(payload)

    def result(
        self,
        request: StepRequest,
        digest: Sha256,
        *,
        subject: ArtifactDigest,
        measurement: ArtifactDigest,
        key: SoftwareKey | None = None,
        alter: Callable[[TestResult], TestResult] = _same,
    ) -> int:
        by = ("member", request.member) if request.builder is None else ("builder", request.builder)
        made = alter(
            TestResult(
                subject=subject,
                subject_name="model",
                passed=True,
                metric="bits-per-byte",
                criteria=Sha256(request.criteria or ""),
                request=digest,
                builder=BuilderId(self.lab.name, by[0], by[1]),  # type: ignore[arg-type]  # one of the two, as above
                measurement=measurement,
                values=(("baseline", "4.75"), ("bits-per-byte", "3.25")),
            )
        )
        keys = self.lab.member_keys if request.builder is None else self.lab.builder_keys
        return self.append(signed(test_result.make(made), key or keys[by[1]]))

    def evaluate(
        self, model: ArtifactDigest, criteria: Sha256, *, name: str = "results", **more: Any
    ) -> tuple[int, int, int]:
        """Log an evaluation of `model` on the held-out data: request, provenance, test result."""
        alter_result = more.pop("alter_result", _same)
        alter = more.pop("alter_provenance", _same)
        inputs = more.pop("inputs", {"model": model, "held-out": artifact("held-out"), "code": artifact("code")})
        asked, request, digest = self.request("evaluate", inputs, criteria=criteria, outputs=("results",), **more)
        measured = artifact(name)
        made = self.provenance(request, digest, {"results": measured}, alter=alter)
        return asked, made, self.result(request, digest, subject=model, measurement=measured, alter=alter_result)

    def evidence(
        self, presented: Presented, found: Found, *, outside: str = "vendor", member: str = "ada", **altered: Any
    ) -> int:
        """Log that `member` took in `presented`, in which `found` was found; `altered` changes fields of the record."""
        key = altered.pop("signer", self.lab.member_keys[member])
        subject = altered.pop("subject", presented.artifact)
        named = (("layout", presented.layout), ("trusted-root", presented.trusted_root))
        fields: dict[str, Any] = {
            "lab": self.lab.name,
            "nonce": self.nonce(),
            "member": member,
            "key": self.lab.member_keys[member].public.keyid,
            "artifact": str(presented.artifact),
            "outside": outside,
            "format": presented.format,
            "original": presented.original,
            "digest": sha256(presented.original),
            "materials": tuple(Material(name=name, content=content) for name, content in named if content),  # type: ignore[arg-type]
            "found": found,
            "bound": "digest" if str(presented.artifact) in found.subjects else "files",
            "trust_version": 1,
            "signed_at": presented.at,
        }
        made = Evidence(**(fields | altered))
        payload = statement.make(made, EVIDENCE, (Subject(digest=DigestSet.of(subject)),))
        return self.append(signed(payload, key))

    def part(
        self, presented: Presented, content: bytes, *, member: str = "ada", signer: SoftwareKey | None = None
    ) -> int:
        """Log `content` as a part of an original about what `presented` is about."""
        made = EvidencePart(
            lab=self.lab.name,
            nonce=self.nonce(),
            member=member,
            key=self.lab.member_keys[member].public.keyid,
            artifact=str(presented.artifact),
            content=content,
            signed_at=presented.at,
        )
        payload = statement.make(made, EVIDENCE_PART, (Subject(digest=DigestSet.of(presented.artifact)),))
        return self.append(signed(payload, signer or self.lab.member_keys[member]))

    def ingest(self, raw: ArtifactDigest | None = None) -> None:
        self.step(
            "ingest",
            {"raw": raw or artifact("raw"), "code": artifact("code")},
            {"data": artifact("data"), "held-out": artifact("held-out")},
        )

    def train(self, **more: Any) -> tuple[int, int]:
        return self.step(
            "train", {"data": artifact("data"), "code": artifact("code")}, {"model": artifact("weights")}, **more
        )

    def package(self, **more: Any) -> tuple[int, int]:
        return self.step(
            "package",
            {"model": artifact("weights"), "results": artifact("results"), "code": artifact("code")},
            {"model": artifact("model")},
            **more,
        )

    def build(self, raw: ArtifactDigest | None = None) -> ArtifactDigest:
        """Log the whole chain, which begins with `raw`, and give the packaged model."""
        self.ingest(raw)
        _, criteria = self.criteria((artifact("held-out"),))
        self.train()
        self.evaluate(artifact("weights"), criteria)
        self.package()
        return artifact("model")

    def word(
        self,
        member: str,
        role: SourceRole = "attester",
        *,
        code: ArtifactDigest | None = None,
        commit: bytes = COMMIT,
        key: SoftwareKey | None = None,
        subject: tuple[Subject, ...] | None = None,
        **more: Any,
    ) -> int:
        """Log that `member` stands behind the revision `commit` (a commit object), whose content is `code`."""
        key = key or self.lab.member_keys[member]
        made = SourceReview(
            **{
                "lab": self.lab.name,
                "nonce": self.nonce(),
                "member": member,
                "key": key.public.keyid,
                "role": role,
                "kind": "code",
                "repository": "https://git.acme.example/train",
                "ref": "refs/heads/main",
                "commit": git_commit.object_id("commit", commit, digits=40),
                "commit_object": base64_text.encode(commit),
                "tree": (code or artifact("code")).hex,
                "signed_at": self.now,
                **more,
            }
        )
        return self.append(signed(statement.make(made, SOURCE_REVIEW, subject or made.subjects), key))

    # --- reading ----------------------------------------------------------------------------------------------

    @property
    def leaves(self) -> tuple[bytes, ...]:
        return tuple(leaf.render(records.leaf_of(raw)) for raw in self.records)

    @property
    def frontier(self) -> Frontier:
        return Frontier.empty().extend(self.leaves)

    def fetch(self, digest: Sha256) -> bytes:
        return next(raw for raw in self.records if sha256(raw) == digest)

    @property
    def timeline(self) -> TrustTimeline:
        versions = [(i, raw) for i, raw in enumerate(self.records) if not raw.startswith(b'{"payload":')]
        start = TrustHistory.start(self.lab.root_json, pinned_sha256=self.lab.root_sha256)
        return timeline.follow(start, versions)[1]

    def index(self, model: ArtifactDigest, *, as_of: int = NOW) -> pack_index.PackIndex:
        table = pack_index.LeafTable()
        table.extend(self.leaves)
        return pack_index.make(
            table, lab=self.lab.name, model=model, root=self.frontier.root, as_of=as_of, fetch=self.fetch
        )

    def entries(self, model: ArtifactDigest) -> tuple[Entry, ...]:
        """What the index says the chain consists of."""
        return tuple(
            Entry(one.index, self.records[one.index])
            for one in self.index(model).statements
            if one.kind in ("prv", "stp", "tst", "crt", "src")
        )

    def publish(self, lab: Lab) -> None:
        """Log the trust versions that `lab` has beyond those that are there."""
        for container in lab.containers[len(self.lab.containers) :]:
            self.append(container)
        self.lab = replace(lab, member_keys=self.lab.member_keys, builder_keys=self.lab.builder_keys)
