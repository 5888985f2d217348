"""The demo's four steps, each by itself on small input: what goes in decides what comes out, and a model learns."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import prepare
from keyturn.config import step as step_config

PARAMETERS = {"context": 4, "embedding": 6, "hidden": 24, "batch": 64, "steps": 150, "rate": 0.01, "seed": 3}
TEXT = b"def f(x):\n    return x\n\n" * 200


def load(name: str) -> ModuleType:
    place = prepare.STEPS / name / "code" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"demo_step_{name}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INGEST, TRAIN, EVALUATE, PACKAGE = (load(name) for name in ("ingest", "train", "evaluate", "package"))


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def out(root: Path) -> Path:
    root.mkdir()
    return root


SOURCE = {f"source/m{i}.py": f"# module {i}\n".encode() * 10 for i in range(60)}
LIMITS = json.dumps({"file_bytes_min": 20, "file_bytes_max": 5000, "heldout_one_in": 5}).encode()


def test_ingest_puts_every_file_on_one_side_and_no_copy_on_the_other(tmp_path: Path) -> None:
    copies = {f"source/other/copy{i}.py": SOURCE[f"source/m{i}.py"] for i in range(60)}
    inputs = put(tmp_path / "in", {**SOURCE, **copies, "params.json": LIMITS})
    INGEST.main(inputs, out(tmp_path / "out"))
    sides = {side: json.loads((tmp_path / "out" / side / "files.json").read_text()) for side in ("train", "heldout")}
    kept = {side: {file["sha256"] for file in said["files"]} for side, said in sides.items()}
    assert kept["train"] & kept["heldout"] == set()
    assert len(kept["train"]) + len(kept["heldout"]) == 60
    assert kept["heldout"]
    assert sum(len(said["left_out"]) for said in sides.values()) == 60


def test_ingest_gives_the_same_bytes_whatever_the_order_on_disk(tmp_path: Path) -> None:
    one = put(tmp_path / "a", {**SOURCE, "params.json": LIMITS})
    other = put(tmp_path / "b", {**dict(reversed(SOURCE.items())), "params.json": LIMITS})
    INGEST.main(one, out(tmp_path / "out-a"))
    INGEST.main(other, out(tmp_path / "out-b"))
    assert contents(tmp_path / "out-a") == contents(tmp_path / "out-b")


def test_ingest_says_what_it_left_out_and_why(tmp_path: Path) -> None:
    inputs = put(
        tmp_path / "in", {**SOURCE, "source/big.py": b"x" * 6000, "source/small.py": b"x", "params.json": LIMITS}
    )
    INGEST.main(inputs, out(tmp_path / "out"))
    said = [
        json.loads((tmp_path / "out" / side / "files.json").read_text())["left_out"] for side in ("train", "heldout")
    ]
    assert {entry["path"]: entry["why"] for entry in said[0] + said[1]} == {
        "big.py": "6000 bytes",
        "small.py": "1 bytes",
    }


def test_ingest_refuses_to_leave_a_side_empty(tmp_path: Path) -> None:
    inputs = put(tmp_path / "in", {"source/one.py": b"x" * 100, "params.json": LIMITS})
    with pytest.raises(SystemExit, match="no file is left for"):
        INGEST.main(inputs, out(tmp_path / "out"))


def trained(tmp_path: Path, name: str, **changed: Any) -> dict[str, bytes]:
    parameters = json.dumps({**PARAMETERS, **changed}).encode()
    inputs = put(tmp_path / f"{name}-in", {"train/text.bin": TEXT, "params.json": parameters})
    TRAIN.main(inputs, out(tmp_path / f"{name}-out"))
    return contents(tmp_path / f"{name}-out" / "model")


def test_training_twice_gives_the_same_model_bit_for_bit_and_another_seed_another(tmp_path: Path) -> None:
    first = trained(tmp_path, "first")
    assert first == trained(tmp_path, "second")
    assert first["model.safetensors"] != trained(tmp_path, "third", seed=4)["model.safetensors"]


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    random = np.random.default_rng(1)
    weights = {name: value.astype(np.float64) for name, value in TRAIN.start(PARAMETERS, random).items()}
    contexts = random.integers(0, 256, (16, 4)).astype(np.uint8)
    targets = random.integers(0, 256, 16).astype(np.uint8)
    _, gradient = TRAIN.step(weights, contexts, targets)
    for name, value in weights.items():
        at = np.unravel_index(np.argmax(np.abs(gradient[name])), value.shape)
        kept = value[at]
        losses = []
        for change in (1e-5, -1e-5):
            value[at] = kept + change
            losses.append(TRAIN.step(weights, contexts, targets)[0] * np.log(2))
        value[at] = kept
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient[name][at], rel=1e-3), name


def test_a_trained_model_beats_the_best_order_0_model_and_an_untrained_one_does_not(tmp_path: Path) -> None:
    weights, _ = TRAIN.train(TEXT, PARAMETERS)
    untrained = TRAIN.start(PARAMETERS, np.random.default_rng(0))
    baseline = EVALUATE.order_0_bits_per_byte(TEXT)
    assert EVALUATE.bits_per_byte(weights, 4, TEXT[:2000]) < baseline - 1
    assert EVALUATE.bits_per_byte(untrained, 4, TEXT[:2000]) > baseline


def test_the_measurement_is_that_of_the_loss_that_was_trained() -> None:
    weights = TRAIN.start(PARAMETERS, np.random.default_rng(5))
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(bytes(4) + TEXT[:500], np.uint8), 5)
    loss, _ = TRAIN.step(weights, windows[:, :-1], windows[:, -1])
    assert EVALUATE.bits_per_byte(weights, 4, TEXT[:500]) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        pytest.param(b"aaaa", 0.0, id="one byte only"),
        pytest.param(b"abab", 1.0, id="two bytes, evenly"),
        pytest.param(bytes(range(256)), 8.0, id="all bytes, evenly"),
    ],
)
def test_the_baseline_is_the_entropy(text: bytes, bits: float) -> None:
    assert EVALUATE.order_0_bits_per_byte(text) == pytest.approx(bits)


def test_evaluate_writes_decimal_texts_and_package_a_card_with_them(tmp_path: Path) -> None:
    model = {f"model/{name}": content for name, content in trained(tmp_path, "t").items()}
    heldout = {"heldout/text.bin": TEXT, "params.json": b'{"bytes_max": 1000}'}
    EVALUATE.main(put(tmp_path / "in", {**model, **heldout}), out(tmp_path / "measured"))
    measured = json.loads((tmp_path / "measured" / "measurement.json").read_text())
    assert measured["bytes"] == "1000"
    assert all(isinstance(value, str) for value in measured.values())
    inputs = {
        **model,
        "train/files.json": json.dumps({"files": [{}, {}], "left_out": []}).encode(),
        "measurement.json": (tmp_path / "measured" / "measurement.json").read_bytes(),
        "params.json": (prepare.STEPS / "package" / "params.json").read_bytes(),
    }
    PACKAGE.main(put(tmp_path / "package", inputs), out(tmp_path / "packed"))
    packed = contents(tmp_path / "packed" / "model")
    assert set(packed) == {"README.md", "config.json", "model.safetensors", "training.json"}
    assert packed["model.safetensors"] == model["model/model.safetensors"]
    assert measured["bits-per-byte"] in packed["README.md"].decode()
    assert "2 files in training" in packed["README.md"].decode()


def test_evaluate_refuses_another_architecture(tmp_path: Path) -> None:
    model = {
        "model/config.json": b'{"architecture": "other"}',
        "heldout/text.bin": b"x",
        "params.json": b'{"bytes_max": 9}',
    }
    with pytest.raises(SystemExit, match="byte-mlp"):
        EVALUATE.main(put(tmp_path / "in", model), out(tmp_path / "out"))


def test_the_card_counts_every_parameter(tmp_path: Path) -> None:
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32)}, tmp_path / "x.safetensors")
    assert PACKAGE.parameters_in(tmp_path / "x.safetensors") == 17
    assert set(load_file(tmp_path / "x.safetensors")) == {"a", "b"}


@pytest.mark.parametrize("name", ["ingest", "train", "evaluate", "package"])
def test_each_step_toml_is_accepted_once_it_is_filled_in(name: str) -> None:
    digest = "dirHash:" + "a" * 64
    text = prepare.fill(
        (prepare.STEPS / name / "STEP.toml").read_text(),
        runtime=("/usr/lib64", "/usr/lib"),
        code=digest,
        source=digest,
        criteria="b" * 64,
    )
    parsed = step_config.parse(text.encode())
    assert parsed.name == parsed.build_type == name
    assert parsed.sandbox.runtime == ("/usr/lib64", "/usr/lib")
    assert parsed.sandbox.network == "none"
    assert json.loads((prepare.STEPS / name / "params.json").read_text())
    assert "$" in tomllib.loads((prepare.STEPS / name / "STEP.toml").read_text())["sandbox"]["runtime"][0]


def test_a_name_without_a_value_is_not_left_in_a_step_toml() -> None:
    with pytest.raises(KeyError):
        prepare.fill('digest = "$code"', runtime=("/usr",))


def test_the_runtime_holds_this_interpreter_and_nothing_twice() -> None:
    paths = [Path(path) for path in prepare.runtime_paths()]
    assert any(Path(sys.executable).is_relative_to(path) for path in paths)
    assert any(Path(sys.executable).resolve().is_relative_to(path) for path in paths)
    assert not [(a, b) for a in paths for b in paths if a in b.parents]


def test_the_source_text_is_the_standard_librarys_without_its_tests(tmp_path: Path) -> None:
    count = prepare.copy_source(tmp_path)
    assert count > 300
    assert (tmp_path / "ast.py").is_file()
    assert not list(tmp_path.rglob("test_*.py"))
