"""Turn a directory of source text into training and held-out bytes: split by file, deduplicated, the same every time.

A file belongs to the held-out part when its content's SHA-256 says so, so that no file, and no copy of one, is ever on both
sides, whatever it is called. Reads /in/source and /in/params.json; writes /out/train and /out/heldout, each with `text.bin`
and `files.json` (what went in, by path and digest, and what was left out and why).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def files_of(root: Path) -> Iterator[tuple[str, bytes]]:
    """Give every `.py` file below `root` with its content, in the order of the paths' bytes."""
    for path in sorted(root.rglob("*.py"), key=lambda path: os.fsencode(path.relative_to(root))):
        yield path.relative_to(root).as_posix(), path.read_bytes()


def split(files: Iterator[tuple[str, bytes]], parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Split `files` into `train` and `heldout`: the text, the files in it, and the files left out."""
    parts: dict[str, dict[str, Any]] = {
        name: {"text": bytearray(), "files": [], "left_out": []} for name in ("train", "heldout")
    }
    seen: dict[str, str] = {}
    for path, content in files:
        digest = hashlib.sha256(content).hexdigest()
        part = parts["heldout" if int(digest[:8], 16) % parameters["heldout_one_in"] == 0 else "train"]
        why = ""
        if digest in seen:
            why = f"a copy of {seen[digest]}"
        elif not parameters["file_bytes_min"] <= len(content) <= parameters["file_bytes_max"]:
            why = f"{len(content)} bytes"
        seen.setdefault(digest, path)
        if why:
            part["left_out"].append({"path": path, "sha256": digest, "why": why})
            continue
        part["text"] += content + b"\0"  # a document ends with a byte that no source file has
        part["files"].append({"path": path, "sha256": digest, "bytes": len(content)})
    return parts


def main(inputs: Path = Path("/in"), outputs: Path = Path("/out")) -> None:
    """Run the step."""
    parameters = json.loads((inputs / "params.json").read_text())
    parts = split(files_of(inputs / "source"), parameters)
    for name, part in parts.items():
        if not part["files"]:
            raise SystemExit(f"no file is left for {name}")
        (outputs / name).mkdir()
        (outputs / name / "text.bin").write_bytes(part["text"])
        summary = {key: part[key] for key in ("files", "left_out")}
        (outputs / name / "files.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
        print(f"{name}: {len(part['files'])} files, {len(part['text'])} bytes, {len(part['left_out'])} left out")


if __name__ == "__main__":
    main()
