"""all-MiniLM-L6-v2 in numpy: a BERT of six layers whose mean output is the embedding of a sentence.

A model directory has `model.safetensors`, `tokenizer.json`, and, once it was fine-tuned, `3_Dense/model.safetensors`: a matrix
of (384, 384) that embeddings are multiplied with, as sentence-transformers lays it out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

__all__ = ["DENSE", "MiniLM", "unit"]

Floats = NDArray[Any]

DENSE = Path("3_Dense", "model.safetensors")
_WIDTH, _HEADS, _LAYERS, _TOKENS_MAX, _AT_ONCE = 384, 12, 6, 48, 16


class MiniLM:
    """The model in `directory`."""

    def __init__(self, directory: Path) -> None:
        loaded = load_file(directory / "model.safetensors")
        self._weights = {name: w.astype(np.float32) for name, w in loaded.items() if w.dtype != np.int64}
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(_TOKENS_MAX)
        self._tokenizer.enable_padding()
        dense = directory / DENSE
        self.dense: Floats = load_file(dense)["linear.weight"].T if dense.exists() else np.eye(_WIDTH, dtype=np.float32)

    def embed(self, sentences: Sequence[str]) -> Floats:
        """Unit vectors, (sentences, 384), before `dense`."""
        order = sorted(range(len(sentences)), key=lambda at: len(sentences[at]))
        out = np.empty((len(sentences), _WIDTH), np.float32)
        for start in range(0, len(order), _AT_ONCE):
            taken = order[start : start + _AT_ONCE]
            out[taken] = self._pooled([sentences[at] for at in taken])
        return out

    def _pooled(self, sentences: list[str]) -> Floats:
        coded = self._tokenizer.encode_batch(sentences)
        ids = np.array([one.ids for one in coded])
        mask = np.array([one.attention_mask for one in coded], np.float32)
        x = self._words(ids)
        for number in range(_LAYERS):
            x = self._layer(x, mask, f"encoder.layer.{number}.")
        summed = (x * mask[:, :, None]).sum(1)
        return unit(summed / mask.sum(1, keepdims=True))

    def _words(self, ids: NDArray[Any]) -> Floats:
        w, at = self._weights, "embeddings."
        words, places = w[f"{at}word_embeddings.weight"][ids], w[f"{at}position_embeddings.weight"][: ids.shape[1]]
        return self._norm(words + places + w[f"{at}token_type_embeddings.weight"][0], f"{at}LayerNorm")

    def _layer(self, x: Floats, mask: Floats, at: str) -> Floats:
        batch, length, _ = x.shape

        def heads(name: str) -> Floats:
            split = self._linear(x, f"{at}attention.self.{name}").reshape(batch, length, _HEADS, -1)
            return split.transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.float32(math.sqrt(_WIDTH // _HEADS))
        scores = np.exp(scores - scores.max(-1, keepdims=True)) * mask[:, None, None, :]
        seen = (scores / scores.sum(-1, keepdims=True)) @ heads("value")
        seen = seen.transpose(0, 2, 1, 3).reshape(batch, length, _WIDTH)
        x = self._norm(x + self._linear(seen, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
        wide = _gelu(self._linear(x, f"{at}intermediate.dense"))
        return self._norm(x + self._linear(wide, f"{at}output.dense"), f"{at}output.LayerNorm")

    def _linear(self, x: Floats, name: str) -> Floats:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-12))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def unit(x: Floats) -> Floats:
    """Each row divided by its length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _gelu(x: Floats) -> Floats:
    # Abramowitz and Stegun 7.1.26: erf to 1.5e-7, which is what a float32 has
    scaled = x / np.float32(math.sqrt(2))
    away = np.abs(scaled)
    t = 1 / (1 + np.float32(0.3275911) * away)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(scaled) * (1 - series.astype(np.float32) * np.exp(-away * away))
    return x * np.float32(0.5) * (1 + erf)
