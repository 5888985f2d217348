"""The members of a pack: a closed list of names, each with one encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import pack_members as members

ALL = ("checkpoint", "frontier.json", "index.json", "leaves", "proofs", "release.json", "vsa.json")


def test_a_pack_has_its_members_and_records() -> None:
    found = members.check_names((members.record_name(11), *ALL, members.record_name(7)))
    assert list(found.items()) == [(7, members.record_name(7)), (11, members.record_name(11))]
    members.check_names((*ALL, members.FILES))
    assert members.record_index(members.record_name(7)) == 7
    assert members.record_index("records/7") is None


@pytest.mark.parametrize("name", ["root.json", "trust/root.json", "records/7", "records/000000000000000000070", "x"])
def test_anything_else_is_refused_above_all_a_root(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        members.check_names((*ALL, name))
    assert caught.value.code == "pack-member-unknown"


@pytest.mark.parametrize("name", ALL)
def test_a_pack_that_lacks_a_member_is_refused(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        members.check_names(one for one in ALL if one != name)
    assert caught.value.code == "pack-member-missing"


@given(st.lists(st.binary(min_size=1, max_size=300)))
def test_leaves_read_back_as_they_were(leaves: list[bytes]) -> None:
    assert members.parse_leaves(members.render_leaves(leaves)) == tuple(leaves)


@pytest.mark.parametrize("raw", [b"\x00", b"\x00\x00", b"\x00\x02a", b"\x40\x01" + bytes(0x4001), b"\x00\x01ab"])
def test_broken_leaves_are_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        members.parse_leaves(raw)


def test_a_frontier_reads_back_as_it_was() -> None:
    assert members.parse_frontier(members.render_frontier(3, (b"\x01" * 32, b"\x02" * 32))) == (
        3,
        (b"\x01" * 32, b"\x02" * 32),
    )


@pytest.mark.parametrize("raw", [b"{}", b'{"nodes":["01"],"size":1}', b'{"nodes":[],"size":9223372036854775808}'])
def test_a_broken_frontier_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        members.parse_frontier(raw)


@given(st.lists(st.lists(st.binary(min_size=32, max_size=32), max_size=5), max_size=5))
def test_proofs_read_back_as_they_were(proofs: list[list[bytes]]) -> None:
    raw = members.render_proofs(map(b"".join, proofs))
    found = members.parse_proofs(raw, count=len(proofs))
    assert [members.hashes_of(proof) for proof in found] == [tuple(proof) for proof in proofs]


@pytest.mark.parametrize(
    ("raw", "count"), [(b"", 1), (b"\x01", 1), (b"\x00", 0), (b"\x00\x00", 1), (b"\x01" + bytes(31), 1)]
)
def test_broken_proofs_are_refused(raw: bytes, count: int) -> None:
    with pytest.raises(Malformed):
        members.parse_proofs(raw, count=count)
