"""The head of a sealed recording: strict, bounded, and of a quorum."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyturn.errors import Malformed
from keyturn.formats.sealed_recording import Header, SealedShare, parse_head, render_head, share_info

GATE = "keyturn://acme.example/gate/front"
SHARES = tuple(SealedShare(holder=name, key="ab" * 32, sealed="AAAA") for name in ("carol", "dan", "eve"))
HEADER = Header(
    version=1,
    lab="acme.example",
    gate=GATE,
    request="ab" * 32,
    host="keyturn://acme.example/gate/gpu1",
    resource="keyturn://acme.example/host/gpu1",
    account="ada",
    what="shell",
    begun_at=1,
    targets_version=1,
    quorum=2,
    commitment="cd" * 32,
    shares=SHARES,
)


def test_a_head_reads_back_as_it_was_and_says_where_the_chunks_begin() -> None:
    raw = render_head(HEADER)
    assert parse_head(raw + b"chunks\n") == (HEADER, len(raw))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"keyturn-recording-v2\n{}\n", id="another version"),
        pytest.param(b"keyturn-recording-v1\n{}\n", id="an empty header"),
        pytest.param(b"keyturn-recording-v1\n" + b" " * 70_000 + b"\n", id="a header that is too long"),
    ],
)
def test_what_is_no_recording_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_head(raw)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"quorum": 4}, id="more than there are"),
        pytest.param({"targets_version": 0}, id="keyholders that no targets named"),
        pytest.param({"quorum": 1}, id="one alone"),
        pytest.param({"shares": 2 * [{"holder": "carol", "key": "ab" * 32, "sealed": "AAAA"}]}, id="one holder twice"),
        pytest.param({"host": "gpu1"}, id="a host that is no gate"),
        pytest.param({"resource": "gpu1"}, id="a resource that is none"),
        pytest.param({"surprise": 1}, id="a field that nobody knows"),
    ],
)
def test_a_header_that_makes_no_sense_is_malformed(changed: dict[str, Any]) -> None:
    values = json.loads(render_head(HEADER).split(b"\n")[1]) | changed
    text = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(Malformed):
        parse_head(b"keyturn-recording-v1\n" + text + b"\n")


def test_a_share_is_bound_to_everything_that_it_is_of() -> None:
    own = {"gate": GATE, "request": "ab" * 32, "holder": "carol", "number": 1}
    others = ({"gate": GATE + "2"}, {"request": "cd" * 32}, {"holder": "dan"}, {"number": 2})
    words = {share_info(**own | other) for other in ({}, *others)}  # type: ignore[arg-type]  # the table above
    assert len(words) == 5
