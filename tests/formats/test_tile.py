"""Tile paths and entry bundles: one tile has one path, and a bundle is exactly its entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import tile
from keyturn.formats.tile import TilePath

paths = st.builds(TilePath, st.none() | st.integers(0, 63), st.integers(0, 2**53 - 1), st.integers(1, 256))
entry_lists = st.lists(st.binary(max_size=60), min_size=1, max_size=20)


def refused(call):
    with pytest.raises(Malformed) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(TilePath(0, 0, 256), "tile/0/000", id="the first"),
        pytest.param(TilePath(0, 1234067, 256), "tile/0/x001/x234/067", id="the specification's example"),
        pytest.param(TilePath(63, 999, 255), "tile/63/999.p/255", id="the last before a second element"),
        pytest.param(TilePath(None, 1000, 1), "tile/entries/x001/000.p/1", id="the first with a second element"),
    ],
)
def test_paths_are_those_of_the_specification(path, text):
    assert str(path) == text
    assert TilePath.parse(text) == path


@given(paths)
def test_a_path_survives_its_text(path):
    assert TilePath.parse(str(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("tile/0/000\n", id="a newline after it"),
        pytest.param("/tile/0/000", id="a slash before it"),
        pytest.param("tile/0/../000", id="a parent directory"),
        pytest.param("tile/0/0", id="too few digits"),
        pytest.param("tile/0/x000/000", id="a leading group of zeroes"),
        pytest.param("tile/00/000", id="a level with a leading zero"),
        pytest.param("tile/64/000", id="level 64"),
        pytest.param("tile/0/000.p/0", id="width 0"),
        pytest.param("tile/0/000.p/256", id="a full tile as partial"),
        pytest.param("tile/0/000.p/257", id="width 257"),
        pytest.param("tile/0/000.p/01", id="a width with a leading zero"),
        pytest.param("tile/0/x999/x999/x999/x999/x999/999", id="an index beyond 2^53"),
        pytest.param("tile/0/x001/x002/x003/x004/x005/x006/007", id="too many elements"),
        pytest.param("tile/0/٠٠٠", id="digits of another script"),
        pytest.param("tile/entries/000" + "0" * 100, id="too long"),
        pytest.param("tile/data/000", id="another kind of file"),
    ],
)
def test_what_is_no_path_of_a_tile_is_refused(text):
    assert refused(lambda: TilePath.parse(text)) == "tile-path"


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**53, 1), (0, 0, 0), (0, 0, 257)]
)
def test_no_such_tile_exists(level, index, width):
    assert refused(lambda: TilePath(level, index, width)) == "tile-path"


@pytest.mark.parametrize(
    ("level", "index", "width"),
    [(0, 0, 256), (0, 273, 112), (0, 274, 0), (1, 0, 256), (1, 1, 17), (1, 2, 0), (2, 0, 1), (3, 0, 0)],
)
def test_a_log_of_70000_leaves_has_tiles_as_wide_as_the_specification_says(level, index, width):
    assert tile.tile_width(level, index, 70_000) == width


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=256))
def test_a_tile_survives_its_bytes(hashes):
    assert tile.parse_tile(tile.render_tile(hashes), width=len(hashes)) == tuple(hashes)


@pytest.mark.parametrize("hashes", [[], [bytes(31)], [bytes(32)] * 257])
def test_no_tile_of_other_hashes_is_made(hashes):
    assert refused(lambda: tile.render_tile(hashes)) == "tile-length"


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65, 96])
def test_a_tile_of_another_length_is_refused(size):
    assert refused(lambda: tile.parse_tile(bytes(size), width=2)) == "tile-length"


@given(entry_lists)
def test_a_bundle_survives_its_bytes(entries):
    raw = tile.render_bundle(entries)
    assert tile.parse_bundle(raw, width=len(entries)) == tuple(entries)


@given(entry_lists, st.data())
def test_a_truncated_bundle_is_refused(entries, data):
    raw = tile.render_bundle(entries)
    end = data.draw(st.integers(0, len(raw) - 1))
    assert refused(lambda: tile.parse_bundle(raw[:end], width=len(entries))) == "bundle-truncated"


@given(st.binary(max_size=100), st.integers(1, 8))
def test_any_bytes_are_a_bundle_or_malformed(raw, width):
    try:
        entries = tile.parse_bundle(raw, width=width)
    except Malformed:
        return
    assert tile.render_bundle(entries) == raw


def test_a_bundle_counts_bytes_and_not_characters():
    entry = "è subito sera ☃".encode()
    assert tile.render_bundle([entry])[:2] == len(entry).to_bytes(2, "big")


def test_bytes_after_the_last_entry_are_refused():
    assert refused(lambda: tile.parse_bundle(b"\x00\x01a!", width=1)) == "bundle-trailing"
    assert refused(lambda: tile.parse_bundle(b"\x00\x01a\x00\x00", width=1)) == "bundle-trailing"


def test_a_length_beyond_the_bundle_is_refused():
    assert refused(lambda: tile.parse_bundle(b"\xff\xffa", width=1)) == "bundle-truncated"


def test_the_largest_entry_fits_and_a_larger_one_does_not():
    assert tile.parse_bundle(tile.render_bundle([bytes(65535)]), width=1) == (bytes(65535),)
    assert refused(lambda: tile.render_bundle([bytes(65536)])) == "bundle-length"
    assert refused(lambda: tile.render_bundle([])) == "bundle-length"
    assert refused(lambda: tile.render_bundle([b""] * 257)) == "bundle-length"
