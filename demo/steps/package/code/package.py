"""Make the directory that is released: the weights as they were trained, their config, and a model card.

The card says what the model is, what it was trained on, what was measured, and what it is not for; every number in it is
read from an input of this step. Reads /in/model, /in/train, /in/measurement.json and /in/params.json; writes /out/model.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

KEPT = ("model.safetensors", "config.json", "training.json")


def parameters_in(weights: Path) -> int:
    """Count the numbers in a safetensors file, reading its header alone."""
    with safe_open(weights, framework="np") as tensors:
        count = 0
        for name in tensors.keys():  # noqa: SIM118  # not a mapping: it has no iterator
            size = 1
            for length in tensors.get_slice(name).get_shape():
                size *= length
            count += size
        return count


def card(parameters: dict[str, Any], config: dict[str, Any], measured: dict[str, str], files: int, size: int) -> str:
    """Write the model card, as the Markdown that model hubs show."""
    c = config
    return f"""---
license: {parameters["license"]}
tags: [byte-level, language-model, keyturn-demo]
---
# {parameters["name"]}

A byte-level language model: the last {c["context"]} bytes through embeddings of {c["embedding"]} numbers and one
hidden layer of {c["hidden"]} units give the next byte. {size} parameters, trained with Adam for {c["steps"]} steps of
{c["batch"]} bytes, seed {c["seed"]}.

## Data

The source text of the Python standard library, without its tests: {files} files in training, others held out by their
content's digest. Licence: PSF-2.0.

## Measured on {measured["bytes"]} held-out bytes

| what | bits per byte |
|---|---|
| this model | {measured["bits-per-byte"]} |
| the best that byte frequencies can do | {measured["bits-per-byte-order-0"]} |

## Not for

{parameters["not_for"]}
"""


def main(inputs: Path = Path("/in"), outputs: Path = Path("/out")) -> None:
    """Run the step."""
    parameters = json.loads((inputs / "params.json").read_text())
    config = json.loads((inputs / "model" / "config.json").read_text())
    measured = json.loads((inputs / "measurement.json").read_text())
    files = json.loads((inputs / "train" / "files.json").read_text())["files"]
    model = outputs / "model"
    model.mkdir()
    for name in KEPT:
        shutil.copyfile(inputs / "model" / name, model / name)
    size = parameters_in(model / "model.safetensors")
    (model / "README.md").write_text(card(parameters, config, measured, len(files), size))
    print(f"{parameters['name']}: {size} parameters, {measured['bits-per-byte']} bits per byte")


if __name__ == "__main__":
    main()
