"""The header of a safetensors file is read as the format says, and refused when it says what cannot be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from keyturn.errors import Malformed
from keyturn.formats import safetensors
from keyturn.formats.safetensors import Tensor

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def split(raw: bytes) -> tuple[bytes, bytes]:
    length = safetensors.header_length(raw, size_bytes=len(raw))
    return raw[8 : 8 + length], raw[8 + length :]


def test_what_the_reference_writes_is_read_in_order_of_place() -> None:
    raw = save({"b": np.zeros((2, 3), np.float32), "a": np.zeros(4, np.float16), "none": np.zeros((0, 2), np.int64)})
    header, body = split(raw)
    found = {one.name: one for one in safetensors.parse(header, body_bytes=len(body))}
    assert {name: (one.dtype, one.shape, one.end - one.start) for name, one in found.items()} == {
        "b": ("F32", (2, 3), 24),
        "a": ("F16", (4,), 8),
        "none": ("I64", (0, 2), 0),
    }
    header, body = split(save({"a": np.zeros(1, np.uint8)}, metadata={"format": "np"}))
    assert safetensors.parse(header, body_bytes=len(body)) == (Tensor("a", "U8", (1,), 0, 1),)
    assert safetensors.parse(b"{}", body_bytes=0) == ()


@pytest.mark.parametrize(
    "length", [2**63, 2**64 - 1, 100_000_001, 1000], ids=["2^63", "2^64 - 1", "over the limit", "over the file's end"]
)
def test_a_header_that_is_longer_than_can_be_is_refused_before_it_is_read(length: int) -> None:
    with pytest.raises(Malformed) as caught:
        safetensors.header_length(length.to_bytes(8, "little"), size_bytes=1000 if length == 1000 else 2**62)
    assert caught.value.code == "safetensors-header"


def test_a_file_that_is_shorter_than_a_length_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        safetensors.header_length(b"\x00" * 7, size_bytes=7)
    assert caught.value.code == "safetensors-short"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        pytest.param({"a": ONE, "b": ONE}, "safetensors-offsets", id="two overlap"),
        pytest.param({"a": ONE | {"data_offsets": [4, 12]}}, "safetensors-offsets", id="a gap at the start"),
        pytest.param({"a": ONE, "b": ONE | {"data_offsets": [12, 20]}}, "safetensors-offsets", id="a gap"),
        pytest.param({"a": ONE | {"shape": [1], "data_offsets": [0, 4]}}, "safetensors-offsets", id="bytes left over"),
        pytest.param({"a": ONE | {"shape": [4], "data_offsets": [0, 16]}}, "safetensors-offsets", id="past the end"),
        pytest.param({"a": ONE | {"data_offsets": [0, 2**62]}}, "safetensors-size", id="far past the end"),
        pytest.param({"a": ONE | {"data_offsets": [0, 2**63]}}, "safetensors-header", id="no offset"),
        pytest.param({"a": ONE | {"data_offsets": [0, -8]}}, "safetensors-header", id="a negative offset"),
        pytest.param({"a": ONE, "b": ONE | {"data_offsets": [8, 0]}}, "safetensors-size", id="ends before it starts"),
        pytest.param({"a": ONE | {"shape": [3]}}, "safetensors-size", id="another shape"),
        pytest.param({"a": ONE | {"shape": [2**62] * 64}}, "safetensors-size", id="a shape beyond numbers"),
        pytest.param({"a": ONE | {"dtype": "F31"}}, "safetensors-dtype", id="no type"),
        pytest.param({"a": ONE | {"more": 1}}, "safetensors-header", id="an unknown field"),
        pytest.param({"a": ONE, "__metadata__": {"x": 1}}, "safetensors-header", id="metadata that is no text"),
        pytest.param([], "safetensors-header", id="no table"),
        pytest.param("{", "safetensors-header", id="no JSON"),
        pytest.param("\xff", "safetensors-header", id="no UTF-8"),
        pytest.param("[" * 100_000, "safetensors-header", id="deep"),
        pytest.param('{"a":%s,"a":%s}' % ((json.dumps(ONE),) * 2), "safetensors-header", id="a name twice"),
    ],
)
def test_a_header_that_lies_is_refused(table: Any, code: str) -> None:
    raw = table.encode("latin-1") if isinstance(table, str) else json.dumps(table).encode()
    with pytest.raises(Malformed) as caught:
        safetensors.parse(raw, body_bytes=8)
    assert caught.value.code == code
