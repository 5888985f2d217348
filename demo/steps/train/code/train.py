"""Train a byte-level language model: embeddings of the last bytes, one hidden layer, a softmax over the next byte; Adam.

Small, and real: it learns Python's source text from nothing, with numpy alone, in half a minute on two cores. The same seed,
data and machine give the same weights, bit for bit. Reads /in/train and /in/params.json; writes /out/model with
`model.safetensors`, `config.json` and `training.json` (the loss on the way).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# The order of a sum over threads is part of the result.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "2"

import numpy as np  # noqa: E402  # reads the thread count when it is imported
import numpy.typing as npt  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

Array = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Weights = dict[str, Array]

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


def start(p: dict[str, Any], random: np.random.Generator) -> Weights:
    """Make the weights that training starts from."""
    k, e, h = p["context"], p["embedding"], p["hidden"]

    def normal(rows: int, columns: int, scale: float) -> Array:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    return {
        "embedding": normal(256, e, 0.5),
        "hidden.weight": normal(k * e, h, (2.0 / (k * e)) ** 0.5),
        "hidden.bias": np.zeros(h, np.float32),
        "output.weight": normal(h, 256, 0.02),
        "output.bias": np.zeros(256, np.float32),
    }


def step(w: Weights, contexts: Bytes, targets: Bytes) -> tuple[float, Weights]:
    """Give the mean loss in bits per byte over a batch, and its gradient (in nats)."""
    count, k = contexts.shape
    rows = np.arange(count)
    x = w["embedding"][contexts].reshape(count, -1)
    a = x @ w["hidden.weight"] + w["hidden.bias"]
    h = np.maximum(a, 0)
    logits = h @ w["output.weight"] + w["output.bias"]
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    loss = float(-np.log2(logits[rows, targets] + 1e-20).mean())

    d_logits = logits
    d_logits[rows, targets] -= 1
    d_logits /= count
    d_h = d_logits @ w["output.weight"].T
    d_h *= a > 0
    d_x = (d_h @ w["hidden.weight"].T).reshape(count * k, -1)
    d_embedding = np.zeros_like(w["embedding"])
    np.add.at(d_embedding, contexts.reshape(-1), d_x)
    return loss, {
        "embedding": d_embedding,
        "hidden.weight": x.T @ d_h,
        "hidden.bias": d_h.sum(axis=0),
        "output.weight": h.T @ d_logits,
        "output.bias": d_logits.sum(axis=0),
    }


def train(text: bytes, p: dict[str, Any]) -> tuple[Weights, list[dict[str, float]]]:
    """Train on `text`, and give the weights and the loss on the way."""
    random = np.random.default_rng(p["seed"])
    data = np.frombuffer(bytes(p["context"]) + text, np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(data, p["context"] + 1)
    w = start(p, random)
    first = {name: np.zeros_like(value) for name, value in w.items()}
    second = {name: np.zeros_like(value) for name, value in w.items()}
    history = []
    running = 8.0
    for number in range(1, p["steps"] + 1):
        batch = windows[random.integers(0, len(windows), p["batch"])]
        loss, gradient = step(w, batch[:, :-1], batch[:, -1])
        # Warm up over the first hundredth, then fall to a twentieth along a cosine.
        done = number / p["steps"]
        rate = p["rate"] * min(1.0, done * 100) * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * done)))
        for name, g in gradient.items():
            first[name] += (1 - BETA1) * (g - first[name])
            second[name] += (1 - BETA2) * (g * g - second[name])
            mean = first[name] / (1 - BETA1**number)
            spread = second[name] / (1 - BETA2**number)
            w[name] -= (rate * mean / (np.sqrt(spread) + EPSILON)).astype(np.float32)
        running += (loss - running) * 0.02
        if number % max(p["steps"] // 10, 1) == 0:
            history.append({"step": number, "bits_per_byte": round(running, 4)})
            print(f"step {number} of {p['steps']}: {running:.3f} bits per byte", flush=True)
    return w, history


def main(inputs: Path = Path("/in"), outputs: Path = Path("/out")) -> None:
    """Run the step."""
    parameters = json.loads((inputs / "params.json").read_text())
    weights, history = train((inputs / "train" / "text.bin").read_bytes(), parameters)
    model = outputs / "model"
    model.mkdir()
    save_file(weights, model / "model.safetensors", metadata={"format": "np"})
    config = {"architecture": "byte-mlp", "vocabulary": 256, **parameters}
    (model / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (model / "training.json").write_text(json.dumps({"history": history}, indent=1) + "\n")


if __name__ == "__main__":
    main()
