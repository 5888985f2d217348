"""Verify in-toto links under a layout with in-toto's own verifier, at the time when they were taken in.

The original is one link, or several one after the other (`cat *.link`); the layout is the one whose SHA-256 the lab pins,
signed by the key of its row. The steps are those of `in_toto.verifylib.in_toto_verify`, in its order, but for what a verifier
must not do here:

1. Inspections are commands that a layout has its verifier run: a layout with any is refused, before anything else of it is read.
2. Sublayouts could have inspections of their own: refused as well.
3. The layout expires at the record's time, not at this machine's, so that the verdict stays the same.

The artifact must be among the products of the last step, by its SHA-256 or, as our own links name directories, its `dirHash`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from in_toto import verifylib
from in_toto.exceptions import InvalidMetadata
from in_toto.models.layout import Layout
from in_toto.models.link import Link
from in_toto.models.metadata import Metadata
from securesystemslib.exceptions import Error as SslibError
from securesystemslib.signer import SSlibKey

from keyturn.adapters.evidence import by_key, strict_json
from keyturn.errors import Malformed, Refused
from keyturn.formats.digest import sha256
from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["LINK", "verify"]

LINK = "https://in-toto.io/Link/v1"
"""Stands for what links say, as the predicate type of in-toto attestations does."""

LINKS_MAX = 64
_INSPECTION_S = 1

_REFUSALS = (SslibError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


def verify(presented: Presented, signer: OutsideSigner) -> Found:
    """What the links prove under the layout of `signer`; raises `Refused` or `Malformed` by name."""
    if signer.method != "key" or not signer.layout:
        raise Refused("evidence-method", f"`{signer.name}` signs no in-toto layout that `evidence.toml` pins")
    metadata, layout = _layout(presented.layout)
    links = list(_links(presented.original))
    try:
        verifylib.verify_metadata_signatures(metadata, _keys(signer))
    except _REFUSALS as err:
        raise Refused(
            "evidence-signature", f"the layout is not signed by the key of `{signer.name}`: {_line(err)}"
        ) from err
    expires = datetime.fromisoformat(layout.expires)
    if datetime.fromtimestamp(presented.at, UTC) >= expires:  # (3)
        raise Refused("in-toto-expired", f"the layout of `{signer.name}` expired at {layout.expires}")
    try:
        summary = _verified(layout, links)
    except _REFUSALS as err:
        raise Refused(
            "in-toto-refused", f"the links do not satisfy the layout of `{signer.name}`: {_line(err)}"
        ) from err
    made = {(name, one[name]) for one in summary.products.values() for name in ("sha256", "dirHash") if name in one}
    return Found(
        signer=f"key:{sha256(signer.public)}",
        statement=LINK,
        subjects=tuple(sorted(f"{algorithm}:{digest}" for algorithm, digest in made)),
    )


def _verified(layout: Layout, links: list[Any]) -> Link:
    with TemporaryDirectory(prefix="keyturn-evidence-") as place:
        _write(layout, links, Path(place))
        found = verifylib.load_links_for_layout(layout, place)
        found = verifylib.verify_link_signature_thresholds(layout, found)
        found = verifylib.verify_sublayouts(
            layout, found, place, _INSPECTION_S
        )  # takes links out: there are no sublayouts
        verifylib.verify_threshold_constraints(layout, found)
        reduced = verifylib.reduce_chain_links(found)
        verifylib.verify_all_item_rules(layout.steps, reduced)
        return verifylib.get_summary_link(layout, reduced, "")


def _write(layout: Layout, links: list[Any], place: Path) -> None:
    """Put each link where the verifier looks for it: by its step and the key that it says signed it, which is verified there."""
    steps = {step.name for step in layout.steps}
    for value in links:
        payload = Metadata.from_dict(deepcopy(value)).get_payload()  # which takes its argument apart
        if not isinstance(payload, Link):  # (2)
            raise InvalidMetadata("expected links, got a layout")
        if payload.name not in steps:
            raise ValueError(f"the layout has no step `{str(payload.name)[:80]}`")
        for one in value["signatures"]:
            keyid = str(one["keyid"])
            if not keyid.isalnum():
                raise ValueError("expected a key id of hex digits")
            path = place / f"{payload.name}.{keyid[:8]}.link"
            path.write_text(json.dumps(value), encoding="utf-8")


def _layout(raw: bytes) -> tuple[Metadata, Layout]:
    try:
        metadata = Metadata.from_dict(strict_json.loads(raw))
        layout = metadata.get_payload()
        if not isinstance(layout, Layout):
            raise InvalidMetadata("expected a layout, got links")
        if any("method" in key for key in layout.keys.values()):  # GPG's, which expire by this machine's clock
            raise ValueError("expected keys that are none of GPG")
        if any("/" in step.name or step.name.startswith(".") for step in layout.steps):
            raise ValueError("expected names of steps that are no paths")
    except _REFUSALS as err:
        raise Malformed("in-toto-layout", f"expected an in-toto layout: {_line(err)}") from err
    if layout.inspect:  # (1)
        raise Refused(
            "in-toto-inspections",
            f"the layout has {len(layout.inspect)} inspection(s): commands of its author's, which nothing here runs",
            hint="keyholders pin a layout without inspections",
        )
    return metadata, layout


def _links(raw: bytes) -> Iterator[Any]:
    try:
        text, at, count = raw.decode("utf-8").strip(), 0, 0
        while at < len(text):
            value, at = strict_json.DECODER.raw_decode(text, at)
            count += 1
            if count > LINKS_MAX:
                raise ValueError(f"expected at most {LINKS_MAX} links")
            yield value
            while at < len(text) and text[at].isspace():
                at += 1
    except (ValueError, RecursionError) as err:
        raise Malformed("in-toto-links", f"expected in-toto links, one after the other: {_line(err)}") from err


def _keys(signer: OutsideSigner) -> dict[str, Any]:
    key = SSlibKey.from_crypto(by_key.load_key(signer))
    return {key.keyid: {"keyid": key.keyid, **key.to_dict()}}


def _line(err: Exception) -> str:
    return (" ".join(str(err).split()) or type(err).__name__)[:300]
