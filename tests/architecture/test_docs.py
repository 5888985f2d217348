"""The documents that people steer by are there, and what they name exists: files, tests, dependencies, decisions."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
THREATS = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
ROWS = [line for line in THREATS.splitlines() if line.startswith("| ") and not line.startswith("| attack")]


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_"))


@pytest.mark.parametrize("name", ["ARCHITECTURE", "SECURITY", "CONTRIBUTING", "CHANGELOG", "README"])
def test_the_usual_documents_are_there(name: str) -> None:
    assert (ROOT / f"{name}.md").is_file()


def test_every_threat_names_a_room_and_a_test_that_exist() -> None:
    wrong = []
    for row in ROWS:
        attack, stopped_by, shown_by = (cell.strip() for cell in row.strip("|").split(" | "))
        places = re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", stopped_by)
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", shown_by)
        gone = [place for place in places if not (ROOT / "src" / "keyturn" / place).exists()]
        gone += [
            f"{file}::{test}"
            for file, test in named
            if not (ROOT / "tests" / file).is_file() or test not in names_in(ROOT / "tests" / file)
        ]
        if gone or not places or not named:
            wrong.append((attack, gone or "no room or no test"))
    assert wrong == []
    assert len(ROWS) > 40


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_room_and_file_that_the_architecture_names_exists() -> None:
    said = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    places = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?)`", said))
    outside = ("docs/", "tests/")
    assert [p for p in places if not p.startswith(outside) and not (ROOT / "src" / "keyturn" / p).exists()] == []


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    said = (ROOT / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8")
    extras = project["project"]["optional-dependencies"].values()
    lines = [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]
    names = [re.split(r"[<>=\[ ]", line)[0] for line in lines]
    assert [name for name in names if f"| {name} |" not in said] == []
    listed = re.findall(r"^\| ([a-z0-9-]+) \|", said, re.MULTILINE)
    assert set(listed) - {"package"} == set(names)


def test_every_decision_is_in_the_list() -> None:
    said = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs" / "decisions").glob("*.md") if page.name != "README.md"]
    assert [page for page in pages if f"({page})" not in said] == []


def test_every_page_of_a_format_is_in_the_list() -> None:
    said = (ROOT / "docs" / "formats" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs" / "formats").glob("*.md") if page.name != "README.md"]
    assert [page for page in pages if f"({page})" not in said] == []


def test_every_format_of_the_source_has_its_page() -> None:
    """A page names the file that reads its format, as `keyturn.formats.leaf`, `.leaf` or `formats/leaf.py`."""
    said = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "formats").glob("*.md"))
    within = {
        "built",
        "provenance_wire",
        "base64_text",
        "plain_text",
        "posix_time",
        "text",
        "digest",
    }  # parts of others, described there
    rooms = [path for path in (ROOT / "src" / "keyturn" / "formats").glob("*.py") if path.stem != "__init__"]
    named = set(re.findall(r"`(?:keyturn\.formats)?\.(\w+)`", said)) | set(re.findall(r"(?:formats/)?(\w+)\.py`", said))
    named |= set(re.findall(r"`keyturn\.formats\.(\w+)", said))
    assert sorted({path.stem for path in rooms} - named - within) == []
