"""Hold a request with every authorization of it, as gates take it: from the service, a mirror or a file; none is believed.

    {"authorizations":[<envelope>,...],"request":<envelope>,"version":1}

Canonical JSON; each envelope is the canonical text that the log holds; authorizations are sorted by record digest, each once.
One set of records has one text, and any other byte is refused, here or by a signature (docs/formats/grant-bundle.md).

This is NOT verification: see `grants.verify_grant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import canonical_json, dsse
from keyturn.formats.dsse import Envelope

__all__ = ["AUTHORIZATIONS_MAX", "Bundle", "make", "parse", "render"]

AUTHORIZATIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Bundle:
    """A request's envelope, and the envelopes of its authorizations, sorted by record digest."""

    request: Envelope
    authorizations: tuple[Envelope, ...]

    def __post_init__(self) -> None:
        if len(self.authorizations) > AUTHORIZATIONS_MAX:
            raise Malformed("bundle-too-large", f"bundle: expected at most {AUTHORIZATIONS_MAX} authorizations")
        if any(a.record_digest >= b.record_digest for a, b in pairwise(self.authorizations)):
            raise Malformed("bundle-order", "bundle: expected authorizations sorted by record digest, each once")


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    authorizations: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=AUTHORIZATIONS_MAX)]
    request: msgspec.Raw
    version: Literal[1]


def make(request: Envelope, authorizations: tuple[Envelope, ...]) -> Bundle:
    """Bundle `request` with `authorizations`, given in any order."""
    return Bundle(request, tuple(sorted(authorizations, key=lambda envelope: envelope.record_digest)))


def parse(raw: bytes) -> Bundle:
    """Parse the one text of a bundle, or raise `Malformed`."""
    wire = canonical_json.decode(raw, _Wire, what="bundle")
    return Bundle(dsse.parse_own(bytes(wire.request)), tuple(dsse.parse_own(bytes(one)) for one in wire.authorizations))


def render(bundle: Bundle) -> bytes:
    """Render `bundle`; `parse(render(x)) == x`."""
    return canonical_json.encode(
        _Wire(
            authorizations=tuple(msgspec.Raw(dsse.render(one)) for one in bundle.authorizations),
            request=msgspec.Raw(dsse.render(bundle.request)),
            version=1,
        )
    )
