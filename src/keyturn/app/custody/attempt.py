"""Say what came out of an attempt: of each checkpoint on its way, and of its outputs when it is over; signed by its own key.

An attempt is a job that no builder started: on a cluster, under a scheduler that knows nothing of the lab. So what is said here
is the word of the member who asked for it, level 1 without a sandbox, and whoever reads the attempt's key can say it too, until
the attempt is closed. What goes in was digested when it was opened, by the member who signed the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Malformed
from keyturn.formats import dsse, provenance, records
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import NOWHERE, BuilderId, Dependency, Origin, Output, Provenance
from keyturn.formats.steps import CHECKPOINT, StepRequest

__all__ = ["Attempt", "attempt_of"]


class Attempt:
    """One attempt, as its signed request says. Made by `attempt_of`."""

    def __init__(
        self,
        request: StepRequest,
        digest: Sha256,
        runtime: Mapping[str, ArtifactDigest],
        origins: Mapping[str, Origin],
        started_at: int,
    ):
        self.request = request
        self.digest = digest
        self._runtime = runtime
        self._origins = origins
        self._started_at = started_at

    def segment(self, number: int, checkpoint: ArtifactDigest, *, key: RecordSigner, now: int) -> bytes:
        """Sign that `checkpoint` is the attempt's `number`th."""
        return self._signed((Output(CHECKPOINT, checkpoint),), key, now=now, segment=number)

    def close(
        self,
        outputs: Mapping[str, ArtifactDigest],
        byproducts: Mapping[str, ArtifactDigest],
        *,
        key: RecordSigner,
        now: int,
    ) -> bytes:
        """Sign that the attempt is over, and what came out of it."""
        made = tuple(Output(name, outputs[name]) for name in self.request.outputs)
        more = tuple(Output(name, digest) for name, digest in byproducts.items())
        return self._signed(made, key, now=now, byproducts=more)

    def _signed(
        self,
        outputs: tuple[Output, ...],
        key: RecordSigner,
        *,
        now: int,
        segment: int | None = None,
        byproducts: tuple[Output, ...] = (),
    ) -> bytes:
        request = self.request
        made = Provenance(
            lab=request.lab,
            build=request.build,
            step=request.step,
            request=self.digest,
            command=request.command,
            dependencies=(
                *(
                    Dependency(i.name, i.role, i.artifact, check=i.check, origin=self._origins.get(i.name, NOWHERE))
                    for i in request.inputs
                ),
                *(Dependency(path, "runtime", self._runtime[path]) for path in request.runtime),
            ),
            outputs=outputs,
            builder=BuilderId(request.lab, "member", request.member),
            level=1,
            sandbox="none",
            started_at=self._started_at,
            finished_at=max(now, self._started_at),
            byproducts=byproducts,
            segment=segment,
        )
        return dsse.render(dsse_signing.sign(provenance.make(made), key))


def attempt_of(
    raw: bytes,
    runtime: Mapping[str, ArtifactDigest],
    *,
    origins: Mapping[str, Origin] = MappingProxyType({}),
    started_at: int,
) -> Attempt:
    """The attempt that the signed step request `raw` opens; `Malformed` when it opens none. This checks no signature.

    `origins` say whence inputs were copied, by their names.
    """
    record = records.parse(raw)
    request = record.statement.predicate
    if not isinstance(request, StepRequest) or request.attempt is None:
        raise Malformed("attempt-invalid", "expected the step request of an attempt")
    if missing := [path for path in request.runtime if path not in runtime]:
        raise Malformed("attempt-invalid", f"expected the digest of the runtime `{missing[0][:200]}`")
    return Attempt(request, record.digest, runtime, origins, started_at)
