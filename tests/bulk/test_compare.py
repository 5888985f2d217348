"""Two outputs that differ are shown file by file and tensor by tensor."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from keyturn.bulk.compare import compare
from keyturn.errors import Refused
from support.commands import keyturn


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "same.bin").write_bytes(b"same" * 1_000_000)
        (place / "empty").write_bytes(b"")
    return one, other


def test_each_tensor_is_named_with_type_shape_and_what_it_differs_by(places: tuple[Path, Path]) -> None:
    one, other = places
    wide = np.arange(600_000, dtype=np.float32)  # more than one block
    off = wide.copy()
    off[599_999] += 0.5
    alike = {"alike": np.ones(3, np.float16)}
    save_file(
        alike
        | {"wide": wide, "half": np.array([1, 2], np.float16), "whole": np.array([-(2**63), 5], np.int64)}
        | {"double": np.array([math.nan, 1.0]), "zero": np.array([0.0]), "far": np.array([math.inf])}
        | {"shape": np.zeros((2, 3)), "gone": np.zeros(1, np.uint8), "lost": np.array([1.0, math.nan, 2.0])},
        one / "m.safetensors",
    )
    save_file(
        alike
        | {"wide": off, "half": np.array([1, 2.25], np.float16), "whole": np.array([2**63 - 1, 5], np.int64)}
        | {"double": np.array([math.nan, 1.5]), "zero": np.array([-0.0]), "far": np.array([1.0])}
        | {"shape": np.zeros((3, 2)), "new": np.zeros(1, np.uint8), "lost": np.array([9.0, 3.0, 2.0])},
        other / "m.safetensors",
    )
    (one / "only.txt").write_text("x")
    (other / "notes.txt").write_text("y")
    found = {file.path: file for file in compare(one, other)}
    assert {path: file.verdict for path, file in found.items()} == {
        "deep/same.bin": "same",
        "empty": "same",
        "m.safetensors": "differs",
        "notes.txt": "only-second",
        "only.txt": "only-first",
    }
    tensors = {t.name: (t.verdict, t.max_abs) for t in found["m.safetensors"].tensors}
    assert tensors == {
        "alike": ("same", ""),
        "wide": ("differs", "0.5"),
        "half": ("differs", "0.25"),
        "whole": ("differs", str(2**64 - 1)),
        "double": ("differs", "0.5"),
        "zero": ("differs", "0"),
        "far": ("differs", "inf"),
        "lost": ("differs", "nan"),
        "shape": ("differs", ""),
        "gone": ("only-first", ""),
        "new": ("only-second", ""),
    }
    shape = next(t for t in found["m.safetensors"].tensors if t.name == "shape")
    assert (shape.first, shape.second) == ("F64 [2, 3]", "F64 [3, 2]")

    done = keyturn("step", "compare", one, other, place=one, home=one)
    assert done.returncode == 1, done.stderr
    said = done.stdout
    assert "DIFFERS            wide  F32 [600000]  by at most 0.5" in said
    assert "shape  F64 [2, 3], then F64 [3, 2]" in said
    shown = json.loads(keyturn("step", "compare", one, other, "--json", place=one, home=one).stdout)
    assert shown["same"] is False
    assert {"name": "gone", "verdict": "only-first", "first": "U8 [1]", "second": "", "max_abs": None} in next(
        file["tensors"] for file in shown["files"] if file["path"] == "m.safetensors"
    )
    assert keyturn("step", "compare", one / "deep", other / "deep", place=one, home=one).returncode == 0


def test_brain_floats_and_types_without_a_meaning_here(places: tuple[Path, Path]) -> None:
    def write(place: Path, dtype: str, body: bytes) -> None:
        size = len(body)
        shape = [size // 2] if dtype == "BF16" else [size]
        header = json.dumps({"t": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
        (place / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)

    one, other = places
    write(one, "BF16", bytes.fromhex("803f0040"))  # 1.0, 2.0
    write(other, "BF16", bytes.fromhex("803f8040"))  # 1.0, 4.0
    (tensor,) = compare(one / "m.safetensors", other / "m.safetensors")[0].tensors
    assert (tensor.verdict, tensor.max_abs) == ("differs", "2")
    write(one, "F8_E4M3", b"\x01")
    write(other, "F8_E4M3", b"\x02")
    (tensor,) = compare(one / "m.safetensors", other / "m.safetensors")[0].tensors
    assert (tensor.verdict, tensor.max_abs) == ("differs", "")


def test_a_file_whose_header_lies_is_compared_as_bytes_and_says_so(places: tuple[Path, Path]) -> None:
    one, other = places
    (one / "m.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    (other / "m.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    found = next(file for file in compare(one, other) if file.path == "m.safetensors")
    assert (found.verdict, found.tensors) == ("differs", ())
    assert "expected a header of at most 2 bytes" in found.note


def test_headers_that_differ_over_the_same_tensors_are_named_as_that(places: tuple[Path, Path]) -> None:
    one, other = places
    save_file({"a": np.ones(2)}, one / "m.safetensors", metadata={"made": "monday"})
    save_file({"a": np.ones(2)}, other / "m.safetensors", metadata={"made": "tuesday"})
    found = next(file for file in compare(one, other) if file.path == "m.safetensors")
    assert found.verdict == "differs"
    assert [tensor.verdict for tensor in found.tensors] == ["same"]
    assert "headers differ" in found.note


def test_a_file_is_not_compared_with_a_directory_nor_a_link_followed(places: tuple[Path, Path]) -> None:
    one, other = places
    with pytest.raises(Refused, match="two directories or two files"):
        compare(one, other / "empty")
    (one / "link").symlink_to("empty")
    with pytest.raises(Refused, match="symbolic link"):
        compare(one, other)
