"""What the source looks like, checked over every file: size, docstrings, no forbidden shortcuts."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

from keyturn.policy.schema import FACTS

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 500
TEST_LINES_MAX = 800  # tables of cases
CORE = ("formats", "crypto", "trust", "tlog", "policy", "grants", "custody")

PLACES = ("src", "tests", "demo", "bench", "tools")
FILES = sorted(path for place in PLACES for path in (ROOT / place).rglob("*.py") if "__pycache__" not in path.parts)
SOURCE = [path for path in FILES if path.is_relative_to(ROOT / "src")]


def _names(files: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in files]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _comments(path: Path) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    limits = {path: TEST_LINES_MAX if path.is_relative_to(ROOT / "tests") else LINES_MAX for path in FILES}
    long = {str(path): _lines(path) for path, limit in limits.items() if _lines(path) > limit}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_file_opens_with_a_docstring_that_is_a_sentence() -> None:
    """It says what the file is, and what it is not."""
    found = []
    for name, path in zip(_names(FILES), FILES, strict=True):
        said = ast.get_docstring(_tree(path)) or ""
        whole = len(said.split()) >= 4 and re.search(r"[.:?!`]\s|[.:?!`]$", said)
        if not whole or "to be written" in said:
            found.append(name)
    assert found == []


BORDERS = (
    "src/keyturn/cli/main.py:",  # a defect becomes an exit status
    "src/keyturn/service/builder_service.py:",  # a defect in one job must not stop the builder's worker
    "src/keyturn/service/log_publisher.py:",  # a defect must not end publishing while the service answers
    "src/keyturn/service/notifier.py:",  # a defect in one thread must not leave people untold while the others go on
)


def test_only_main_catches_everything() -> None:
    found = []
    for name, path in zip(_names(SOURCE), SOURCE, strict=True):
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            bare = any(kind is None or getattr(kind, "id", "") in {"Exception", "BaseException"} for kind in kinds)
            # Cleaning up and raising the same error again hides nothing.
            raises_again = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            if bare and not raises_again:
                found.append(f"{name}:{node.lineno}")
    assert [place for place in found if not place.startswith(BORDERS)] == []


def test_every_exemption_from_a_check_says_why() -> None:
    found = []
    for name, path in zip(_names(SOURCE), SOURCE, strict=True):
        for line, comment in _comments(path):
            exempts = re.search(r"type: ignore|noqa|pragma: no (cover|branch)", comment)
            if exempts and not re.search(
                r"(type: ignore\[[\w, -]+\]|noqa: [A-Z0-9, ]+|no (cover|branch))\s+# \w", comment
            ):
                found.append(f"{name}:{line}: {comment}")
    assert found == []


def test_nothing_is_left_to_do_in_a_comment() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{name}:{line}"
        for name, path in zip(_names(FILES), FILES, strict=True)
        for line, comment in _comments(path)
        if words.search(comment)
    ]
    assert found == []


def test_the_core_calls_no_clock_and_no_entropy() -> None:
    """The import contract names modules; this finds what slips through allowed ones (`datetime.now`, `uuid4`)."""
    calls = {
        "now",
        "utcnow",
        "today",
        "uuid1",
        "uuid4",
        "urandom",
        "token_bytes",
        "token_hex",
        "getenv",
        "open",
        "input",
    }
    allowed = {"src/keyturn/crypto/signers.py"}  # `generate` makes keys, through OpenSSL
    found = []
    for name, path in zip(_names(SOURCE), SOURCE, strict=True):
        if path.relative_to(ROOT / "src" / "keyturn").parts[0] not in CORE or name in allowed:
            continue
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in calls:
                found.append(f"{name}:{node.lineno}: {called}")
    assert found == []


def test_no_test_sleeps() -> None:
    found = []
    for name, path in zip(_names(FILES), FILES, strict=True):
        if not name.startswith("tests/"):
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep", "asyncio.sleep"}:
                found.append(f"{name}:{node.lineno}")
    assert found == []


def test_no_test_runs_an_event_loop_in_its_own_thread() -> None:
    # A browser of another test may have one running there, and then none can be started.
    found = []
    for name, path in zip(_names(FILES), FILES, strict=True):
        if name.startswith("tests/"):
            found += [
                f"{name}:{node.lineno}"
                for node in ast.walk(_tree(path))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.run"
            ]
    assert found == [], "support.event_loop.run does it in another thread"


def test_the_names_of_rooms_are_the_names_in_the_import_contract() -> None:
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "src" / "keyturn").glob("*/__init__.py")}
    assert {room for room in rooms if not re.search(rf'["| ]{room}["| ]', contract)} == set()


def _place_named(reference: str) -> tuple[Path, list[str]]:
    """The file of the longest module that `reference` begins with, and what is left of it."""
    parts, place = reference.split("."), ROOT / "src" / "keyturn"
    while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
        place /= parts.pop(0)
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py"), parts


def test_what_the_source_says_is_elsewhere_is_there() -> None:
    """`app.custody.run_step.Receipt` in a docstring is a name in that file; facts of policy have names of the same form."""
    rooms = {path.parent.name for path in (ROOT / "src" / "keyturn").glob("*/__init__.py")}
    found = []
    for name, path in zip(_names(SOURCE), SOURCE, strict=True):
        for reference in re.findall(r"`(?:keyturn\.)?((?:[a-z_]+\.)+\w+)`", path.read_text(encoding="utf-8")):
            place, rest = _place_named(reference)
            if reference.split(".")[0] not in rooms or reference.endswith(".toml") or reference in FACTS:
                continue
            if rest and not re.search(rf"\b{rest[0]}\b", place.read_text(encoding="utf-8")):
                found.append(f"{name}: {reference}")
    assert found == []


def test_what_tests_share_has_one_name() -> None:
    """`support.labs` and `tests.support.labs` would be two modules, with two classes of each name."""
    wrong = re.compile(r"^\s*(from|import) tests\b", re.MULTILINE)
    assert [
        name for name, path in zip(_names(FILES), FILES, strict=True) if wrong.search(path.read_text("utf-8"))
    ] == []


def test_nothing_writes_a_table_whose_cells_a_spreadsheet_would_run_as_formulas() -> None:
    written = re.compile(r"\bcsv\.(writer|DictWriter)\b|text/csv")
    assert [str(path) for path in SOURCE if written.search(path.read_text(encoding="utf-8"))] == []
