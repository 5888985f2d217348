"""The wheel and the sdist hold everything, and the wheel works in a fresh virtual environment, away from the checkout.

Nothing is downloaded: what `./bootstrap` installed lies in uv's cache, hatchling among it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "src" / "keyturn" / "web" / "sign_page"
UV = str(Path(sys.executable).parent / "uv")
OTHERS = ("VIRTUAL_ENV", "KEYTURN_", "PYTHON")
ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith(OTHERS)}

TWO_PEOPLE = """
export KEYTURN_LAB="$PWD/lab"
as() { local home=$1; shift; KEYTURN_HOME="$PWD/$home" keyturn "$@"; }
as ada init lab --profile demo --name acme.example --member ada
as ada trust invite bob
as bob trust accept bob.invitation.json
as ada trust propose --acceptance bob.acceptance.json
as ada trust sign --yes
as bob trust sign --yes
as ada trust publish
as ada trust pin "$(sha256sum lab/trust/root.json | cut -d' ' -f1)"
as ada witness serve north > witness.log 2>&1 &
WITNESS=$!
as ada serve > log.log 2>&1 &
LOG=$!
trap 'kill $LOG $WITNESS; wait' EXIT
until test -e lab/log/checkpoint; do sleep 0.1; kill -0 $LOG $WITNESS; done
as ada log verify
"""


def run(*words: str | Path, at: Path = ROOT, **more: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=at,
        env=ENVIRONMENT | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(out: Path) -> tuple[Path, Path]:
    run(UV, "build", "--offline", "--quiet", "--out-dir", out)
    (sdist,), (wheel,) = out.glob("keyturn-*.tar.gz"), out.glob("keyturn-*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a virtual environment that has the wheel, and what uv.lock says it needs."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    sync = ("sync", "--frozen", "--offline", "--quiet", "--no-dev", "--no-install-project", "--extra", "server")
    run(UV, *sync, "--python", sys.executable, UV_PROJECT_ENVIRONMENT=str(place))
    run(UV, "pip", "install", "--offline", "--quiet", "--no-deps", "--python", place, built[1], at=place)
    run(UV, "pip", "check", "--python", place, at=place)
    return place / "bin"


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/keyturn")
    wanted = {line.removeprefix("src/") for line in listed.splitlines() if (ROOT / line).exists()}
    found = {name for name in zipfile.ZipFile(built[1]).namelist() if ".dist-info/" not in name}
    assert found == wanted
    for name in ("py.typed", "web/sign_page/sign.js", "adapters/postgres/migrations/0001-log.sql"):
        assert f"keyturn/{name}" in found


def test_the_sdist_can_be_audited_tested_and_installed_as_locked(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    for name in (
        "uv.lock",
        "LICENSE",
        "bootstrap",
        "tests/conftest.py",
        "docs/threats.md",
        "packaging/oci/Containerfile",
    ):
        assert name in names, name
    assert [name for name in names if name.startswith((".venv", "demo-out", ".git/"))] == []


def test_building_twice_gives_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    again = build(tmp_path)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in again] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in built
    ]


def test_it_runs_from_a_wheel_outside_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import keyturn; print(keyturn.__file__)", at=tmp_path)
    assert where.startswith(str(installed.parent))
    more = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path)}
    assert run(installed / "keyturn", "--version", at=tmp_path).startswith("keyturn ")
    page = (
        "from importlib.resources import files; print(files('keyturn').joinpath('web/sign_page/sign.js').read_text())"
    )
    assert run(installed / "python", "-c", page, at=tmp_path).strip() == (PAGE / "sign.js").read_text().strip()
    said = run("bash", "-euo", "pipefail", "-c", TWO_PEOPLE, at=tmp_path, **more)
    assert "verified   2 entries of acme.example/log" in said
