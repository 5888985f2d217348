"""What the verifier says of a made chain, in one line: the chain behind an artifact, and the codes of its failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keyturn.custody.evidence import Entry
from keyturn.custody.verify import Chain, Suspended, examine
from keyturn.formats import dsse
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.uri import Uri
from support.chains import AURORA, MadeChain, artifact

__all__ = ["MODEL", "NOBODY", "WEIGHTS", "codes", "judge", "payload_of", "with_evaluation"]

NOBODY = Suspended(frozenset(), frozenset())
MODEL = artifact("model")
WEIGHTS = artifact("weights")


def judge(
    chain: MadeChain,
    model: ArtifactDigest = MODEL,
    *,
    entries: Sequence[Entry] | None = None,
    suspended: Suspended = NOBODY,
    resource: Uri = AURORA,
) -> Chain:
    return examine(
        model,
        chain.entries(model) if entries is None else entries,
        lab=chain.lab.name,
        resource=resource,
        timeline=chain.timeline,
        suspended=suspended,
    )


def codes(found: Chain) -> list[str]:
    return sorted({failure.code for failure in found.failures})


def with_evaluation(chain: MadeChain, **more: Any) -> Chain:
    """A whole chain whose evaluation is altered by `more`."""
    chain.ingest()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.train()
    chain.evaluate(WEIGHTS, criteria, **more)
    chain.package()
    return judge(chain)


def payload_of(entry: Entry) -> bytes:
    """What was signed in an entry of the log, whoever signed it."""
    return dsse.parse_foreign(entry.raw).payload
