"""Fine-tune by a matrix behind the embeddings, by the symmetric contrastive loss over all pairs at once.

Settings are chosen on a part of the training pairs; nothing of what is held out is here.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from minilm import DENSE, MiniLM, unit
from pairs import nearest_share, read_pairs

Floats = NDArray[Any]

_SHARPNESS, _EPOCHS, _PULL = 20, 100, 0.01
_RATES = (0.1, 0.3, 1.0)
_CHOSEN_ON = 5
"""Each so-manieth training pair is for choosing the rate."""


def fit(asked: Floats, answers: Floats, rate: float) -> Floats:
    """Gradient descent from the identity, with a pull back to it."""
    one = np.eye(asked.shape[1], dtype=np.float32)
    dense = one.copy()
    same = np.eye(len(asked), dtype=np.float32)
    for _ in range(_EPOCHS):
        left, right = asked @ dense, answers @ dense
        u, v = unit(left), unit(right)
        scores = _SHARPNESS * u @ v.T
        slope = _SHARPNESS * ((_softmax(scores, 1) + _softmax(scores, 0)) / 2 - same) / len(asked)
        to_left, to_right = _through_unit(slope @ v, u, left), _through_unit(slope.T @ u, v, right)
        dense = dense - np.float32(rate) * (asked.T @ to_left + answers.T @ to_right + _PULL * (dense - one))
    return dense


def _softmax(scores: Floats, axis: int) -> Floats:
    raised = np.exp(scores - scores.max(axis, keepdims=True))
    return raised / raised.sum(axis, keepdims=True)


def _through_unit(slope: Floats, u: Floats, x: Floats) -> Floats:
    return (slope - u * (slope * u).sum(1, keepdims=True)) / np.linalg.norm(x, axis=1, keepdims=True)


def main() -> None:
    base, model = Path("/in/base"), Path("/out/model")
    asked, answers = (MiniLM(base).embed(side) for side in read_pairs(Path("/in/train")))
    chosen_on = np.arange(len(asked)) % _CHOSEN_ON == 0
    found = {}
    for rate in _RATES:
        dense = fit(asked[~chosen_on], answers[~chosen_on], rate)
        found[rate] = nearest_share(asked[chosen_on], answers[chosen_on], dense)
        sys.stdout.write(f"rate {rate}: {found[rate]:.3f} of {chosen_on.sum()} pairs\n")
    rate = max(found, key=lambda one: found[one])
    shutil.copytree(base, model)
    (model / DENSE.parent).mkdir()
    save_file({"linear.weight": np.ascontiguousarray(fit(asked, answers, rate).T)}, model / DENSE)
    said = {
        "in_features": 384,
        "out_features": 384,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    (model / DENSE.parent / "config.json").write_text(json.dumps(said))
    modules = json.loads((base / "modules.json").read_text())
    for name, kind in ((DENSE.parent.name, "Dense"), ("4_Normalize", "Normalize")):
        number = len(modules)
        modules.append(
            {"idx": number, "name": str(number), "path": name, "type": f"sentence_transformers.models.{kind}"}
        )
    (model / "modules.json").write_text(json.dumps(modules, indent=2))


main()
