"""The pack's container: one text per pack, and nothing that a zip or tar reader was ever fooled by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError, Malformed, Tampered
from keyturn.formats import pack
from keyturn.formats.digest import sha256

MEMBERS = {"checkpoint": b"log\n", "index.json": b"{}", "records/00000000000000000007": b"", "vsa.json": b"\x00\xff"}
CONTENTS = b'{"payload":"..."}'
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}(/[a-z0-9]{1,5})?", fullmatch=True)


def made(table: bytes, members: bytes = b"", contents: bytes = CONTENTS) -> bytes:
    return pack.MAGIC + len(contents).to_bytes(8, "big") + len(table).to_bytes(8, "big") + contents + table + members


def test_what_is_packed_reads_back_as_it_was() -> None:
    found = pack.parse(pack.render(CONTENTS, MEMBERS))
    assert (found.contents, dict(found.members)) == (CONTENTS, MEMBERS)
    assert found.table_digest == sha256(pack.make_table(MEMBERS))


@given(st.binary(min_size=1, max_size=50), st.dictionaries(NAMES, st.binary(max_size=50), min_size=1, max_size=8))
def test_every_pack_reads_back_as_it_was(contents: bytes, members: dict[str, bytes]) -> None:
    raw = pack.render(contents, members)
    found = pack.parse(raw)
    assert (found.contents, dict(found.members)) == (contents, members)
    assert pack.render(found.contents, found.members) == raw


def test_a_pack_cut_anywhere_is_refused() -> None:
    raw = pack.render(CONTENTS, MEMBERS)
    for length in range(len(raw)):
        with pytest.raises(Malformed):
            pack.parse(raw[:length])


def test_a_pack_with_anything_after_it_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        pack.parse(pack.render(CONTENTS, MEMBERS) + b"\n")
    assert caught.value.code == "pack-truncated"


@given(st.data())
def test_every_single_byte_mutation_is_refused_or_has_other_contents(data: st.DataObject) -> None:
    raw = pack.render(CONTENTS, MEMBERS)
    position = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != raw[position]))
    try:
        found = pack.parse(raw[:position] + bytes([byte]) + raw[position + 1 :])
    except KeyturnError:
        return
    assert found.contents != CONTENTS or found.table_digest != sha256(pack.make_table(MEMBERS))


def test_a_flipped_bit_in_a_member_is_tampering() -> None:
    raw = pack.render(CONTENTS, MEMBERS)
    with pytest.raises(Tampered) as caught:
        pack.parse(raw[:-1] + b"\xfe")
    assert caught.value.code == "pack-member-altered"


@pytest.mark.parametrize("field", [16, 24])
def test_a_length_of_2_to_the_63_is_refused_before_anything_is_read(field: int) -> None:
    raw = bytearray(pack.render(CONTENTS, MEMBERS))
    raw[field : field + 8] = (2**63).to_bytes(8, "big")
    with pytest.raises(Malformed) as caught:
        pack.parse(bytes(raw))
    assert caught.value.code == "pack-length"


def _one(name: str, size: int = 0, digest: str = sha256(b"")) -> str:
    return f'{{"name":"{name}","sha256":"{digest}","size":{size}}}'


@pytest.mark.parametrize(
    ("members", "code"),
    [
        pytest.param([_one("a"), _one("a")], "pack-order", id="one member twice"),
        pytest.param([_one("b"), _one("a")], "pack-order", id="other order"),
        pytest.param([_one("../a")], "pack-member-name", id="a path that leaves the pack"),
        pytest.param([_one("/etc/passwd")], "pack-member-name", id="an absolute path"),
        pytest.param([_one("a/../b")], "pack-member-name", id="a path that goes up"),
        pytest.param([_one("a//b")], "pack-member-name", id="an empty segment"),
        pytest.param([_one("A")], "pack-member-name", id="an upper-case name"),
        pytest.param([_one("\u00e4")], "pack-member-name", id="a non-ASCII name"),
        pytest.param([_one("a\\n")], "pack-member-name", id="a newline in a name"),
        pytest.param([_one("")], "pack-member-name", id="no name"),
        pytest.param([], "json-invalid", id="no members"),
        pytest.param([_one("a", 2**63)], "json-invalid", id="a member of 2^63 bytes"),
        pytest.param([_one("a", -1)], "json-invalid", id="a member of -1 bytes"),
        pytest.param([_one("a", 1)], "pack-truncated", id="a member longer than the file"),
        pytest.param([_one("a", 2**53 - 1), _one("b", 2**53 - 1)], "pack-truncated", id="sizes that sum beyond all"),
        pytest.param([_one("a").replace('"size"', '"link":"b","size"')], "json-invalid", id="a link"),
    ],
)
def test_a_hostile_table_is_refused(members: list[str], code: str) -> None:
    table = f'{{"members":[{",".join(members)}],"type":"keyturn-pack/v1"}}'.encode()
    with pytest.raises(Malformed) as caught:
        pack.parse(made(table))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "pack-magic", id="nothing"),
        pytest.param(b"PK\x03\x04", "pack-magic", id="a zip"),
        pytest.param(b"keyturn-pack/v2\n" + bytes(16), "pack-magic", id="another version"),
        pytest.param(pack.MAGIC + bytes(15), "pack-truncated", id="half a header"),
        pytest.param(made(b""), "json-invalid", id="no table"),
        pytest.param(made(b'{"members":[],"type":"keyturn-pack/v2"}'), "json-invalid", id="a table of another version"),
    ],
)
def test_what_is_no_pack_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        pack.parse(raw)
    assert caught.value.code == code


def test_a_pack_is_never_made_with_a_hostile_name() -> None:
    with pytest.raises(Malformed):
        pack.render(CONTENTS, {"../a": b""})


def test_the_gate_of_a_pack_is_a_uri() -> None:
    with pytest.raises(Malformed):
        pack.PackContents(
            lab="acme.example",
            nonce="0" * 32,
            gate="release",
            key="0" * 64,
            request="0" * 64,
            size=1,
            table="0" * 64,
            signed_at=1,
        )


class _Huge(bytes):
    def __len__(self) -> int:
        return pack.PACK_BYTES_MAX + 1


def test_a_file_beyond_the_bound_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        pack.parse(_Huge(made(b"")))
    assert caught.value.code == "pack-too-large"
