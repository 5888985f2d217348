"""The recipe of the image: linted, its base pinned, its last stage with nothing to build with, and what it installs as locked.

No image is built here: that needs a registry to take the base from.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "packaging" / "oci" / "Containerfile"
TEXT = RECIPE.read_text(encoding="ascii")
BIN = Path(sys.executable).parent
LINES = [line for line in re.sub(r"\\\n", " ", TEXT).splitlines() if line and not line.startswith("#")]
LAST = LINES[max(number for number, line in enumerate(LINES) if line.startswith("FROM ")) :]


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run([BIN / "hadolint", "--failure-threshold", "style", RECIPE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_every_base_is_pinned_by_its_digest_and_is_the_same() -> None:
    bases = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"docker\.io/library/debian:bookworm-slim@sha256:[0-9a-f]{64}", bases[0])


def test_the_last_stage_has_nothing_to_build_with_and_is_not_root() -> None:
    for tool in ("pip", "venv", "gcc", "build-essential", "git", "curl", "uv "):
        assert [line for line in LAST if tool in line and "apt-get install" in line] == [], tool
    assert [line for line in LAST if line.startswith("COPY")] == ["COPY --from=build /opt/keyturn /opt/keyturn"]
    assert "--without-pip /opt/keyturn" in TEXT
    (user,) = [line for line in LAST if line.startswith("USER ")]
    uid, gid = map(int, user.removeprefix("USER ").split(":"))
    assert min(uid, gid) >= 10_000
    assert LAST.index(user) > max(number for number, line in enumerate(LAST) if line.startswith("RUN "))
    assert 'ENTRYPOINT ["keyturn"]' in LAST


def test_what_it_copies_is_there_and_is_let_through() -> None:
    copied = [
        word for line in LINES for word in line.split()[1:-1] if line.startswith("COPY ") and "--from" not in line
    ]
    allowed = (ROOT / ".containerignore").read_text(encoding="ascii").splitlines()
    assert copied == ["packaging/oci/requirements.txt", "dist/keyturn-*.whl"]
    assert allowed == ["*", *(f"!{path}" for path in copied)]


def test_it_installs_what_is_locked() -> None:
    export = (
        "export",
        "--frozen",
        "--quiet",
        "--no-header",
        "--no-dev",
        "--no-emit-project",
        "--extra",
        "server",
        "--extra",
        "evidence",
        "--extra",
        "s3",
    )
    locked = subprocess.run([BIN / "uv", *export], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    said = RECIPE.with_name("requirements.txt").read_text(encoding="utf-8")
    assert said == locked, f"uv {' '.join(export)} -o packaging/oci/requirements.txt"
