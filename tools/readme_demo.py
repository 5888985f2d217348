"""Put the demo's real output into README.md: `python -m tools.readme_demo`, after `make demo`.

The README shows the transcript from the release on, as it was. `same_story` is what a test compares by: two runs differ in
digests, keys, times and ports only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["excerpt", "in_readme", "same_story"]

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- demo: written by `python -m tools.readme_demo` -->\n"
END = "<!-- /demo -->\n"
FIRST = "== 4. "
_VARIES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"\b(req|apr|crt|prv|tst)-[0-9a-f]{32}\b"), r"\1-<id>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<key>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\b\d+\.\d{4}\b"), "<bits>"),
)


def excerpt(transcript: str) -> str:
    """The part of the demo's transcript that the README shows."""
    return transcript[transcript.index(FIRST) :].strip() + "\n"


def in_readme(readme: str) -> str:
    """The excerpt that the README shows now."""
    shown = readme[readme.index(BEGIN) + len(BEGIN) : readme.index(END)]
    return "\n".join(line.removeprefix("    ") for line in shown.strip("\n").split("\n")) + "\n"


def same_story(text: str) -> str:
    """Replace what differs between two runs."""
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return text


def main() -> None:
    """Write the excerpt of demo-out/transcript.txt into README.md."""
    readme, transcript = ROOT / "README.md", ROOT / "demo-out" / "transcript.txt"
    if not transcript.exists():
        sys.exit("expected demo-out/transcript.txt, found none; run make demo")
    text = readme.read_text(encoding="utf-8")
    told = "".join(
        f"    {line}".rstrip() + "\n" for line in excerpt(transcript.read_text(encoding="utf-8")).splitlines()
    )
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    readme.write_text(f"{before}\n{told}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
