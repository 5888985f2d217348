"""Measure a byte-level language model on text that it never saw: bits per byte, against the best that letter counts can do.

The model is computed here from its weights and its config, not with the code that trained it: an error there does not repeat
itself here. The baseline is the entropy of the held-out text's own bytes, which no order-0 model can beat, whatever it
learned. Reads /in/model, /in/heldout and /in/params.json; writes /out/measurement.json: decimal texts by metric, which the
builder compares with criteria that were logged before this ran.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "2"

import numpy as np  # noqa: E402  # reads the thread count when it is imported
import numpy.typing as npt  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

Array = npt.NDArray[np.float32]
BATCH = 4096


def bits_per_byte(weights: dict[str, Array], context: int, text: bytes) -> float:
    """Give the mean of -log2 p(next byte | the bytes before), over every byte of `text`."""
    data = np.frombuffer(bytes(context) + text, np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(data, context + 1)
    total = 0.0
    for begin in range(0, len(windows), BATCH):
        batch = windows[begin : begin + BATCH]
        x = weights["embedding"][batch[:, :-1]].reshape(len(batch), -1)
        h = np.maximum(x @ weights["hidden.weight"] + weights["hidden.bias"], 0)
        logits = (h @ weights["output.weight"] + weights["output.bias"]).astype(np.float64)
        top = logits.max(axis=1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        total += float((log_sum - logits[np.arange(len(batch)), batch[:, -1]]).sum())
    return total / len(text) / float(np.log(2))


def order_0_bits_per_byte(text: bytes) -> float:
    """Give the entropy of the bytes of `text`: what a model that knows their frequencies, and nothing else, reaches at best."""
    counts = np.bincount(np.frombuffer(text, np.uint8), minlength=256)
    shares = counts[counts > 0] / len(text)
    return float(-(shares * np.log2(shares)).sum())


def main(inputs: Path = Path("/in"), outputs: Path = Path("/out")) -> None:
    """Run the step."""
    parameters = json.loads((inputs / "params.json").read_text())
    text = (inputs / "heldout" / "text.bin").read_bytes()[: parameters["bytes_max"]]
    config = json.loads((inputs / "model" / "config.json").read_text())
    if config["architecture"] != "byte-mlp":
        raise SystemExit(f"expected the architecture `byte-mlp`, got `{config['architecture']}`")
    weights = load_file(inputs / "model" / "model.safetensors")
    measured = {
        "bits-per-byte": f"{bits_per_byte(weights, config['context'], text):.4f}",
        "bytes": str(len(text)),
        "bits-per-byte-order-0": f"{order_0_bits_per_byte(text):.4f}",
    }
    (outputs / "measurement.json").write_text(json.dumps(measured, sort_keys=True, separators=(",", ":")))
    for name, value in measured.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
