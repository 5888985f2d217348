"""Measure how often the advice for an error is found first, by the model and by what it was made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from minilm import MiniLM
from pairs import nearest_share, read_pairs

model = MiniLM(Path("/in/model"))
asked, answers = (model.embed(side) for side in read_pairs(Path("/in/heldout")))
tuned = nearest_share(asked, answers, model.dense)
base = nearest_share(asked, answers, np.eye(len(model.dense), dtype=np.float32))
Path("/out/measurement").write_text(json.dumps({"found-first": f"{tuned:.4f}", "found-first-base": f"{base:.4f}"}))
