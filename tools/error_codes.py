"""Write docs/errors.md: every error code that the source raises, found by reading the source and not by running it.

    python -m tools.error_codes            # write docs/errors.md
    python -m tools.error_codes --check    # exit 1 when it is out of date

A code is the first argument of a `KeyturnError`'s constructor and has to stand there as a literal, so that this program
and a reader find it; `computed_codes` lists the few places that pass on a code they were given.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keyturn import errors
from keyturn.cli.mends import mend_of
from keyturn.cli.next_steps import AFTER, AFTER_KIND

__all__ = ["Code", "codes", "computed_codes", "failures", "page"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "errors.md"
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.KeyturnError)
}

HEAD = """# Errors

Every error has a code that never changes its meaning. On the command line it stands in brackets at the end of the line, with
`--json` as `error.code`, and over HTTP in the body. The kind says what you can do:

| kind | exit status | HTTP | what to do |
|---|---|---|---|
| Malformed | 1 | 400 | the bytes are not what they claim to be: get them again, or ask who made them |
| Refused | 1 | 403 | everything was checked, and a rule says no: read the reasons |
| Tampered | 1 | 409 | something was altered, forked or rolled back: stop, keep the evidence, tell a human |
| Usage | 2 | 400 | correct what you typed or configured |
| Unavailable | 3 | 503 | could not find out; this is never a yes: try again when what it names is back |
| Conflict | 3 | 409 | somebody else was first, and nothing was changed: read again and retry |

`…` stands for what the error quotes. Written by `make docs` from the source; do not edit.

| code | kind | says | what to do | raised in |
|---|---|---|---|---|
"""


FAILURES = """
## Failures of chains and packs

A chain of custody and a pack are judged whole: one error names every failure, with `--json` in `error.reasons`, each with its
code, what is wrong and where, and what mends it.

| failure | says | what mends it | found in |
|---|---|---|---|
"""
JUDGES = ("custody", "app/custody/pack_records.py", "app/custody/verify_pack.py")
"""What finds failures and goes on."""
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+\Z")


@dataclass
class Code:
    """One code: the kinds it is raised as, what its errors say, the files that raise it, and whether each says what to do."""

    kinds: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    hints: set[str] = field(default_factory=set)
    hinted: bool = True


def _raised(source: Path) -> Iterator[tuple[str, ast.Call, str]]:
    for path in sorted((source / "keyturn").rglob("*.py")):
        place = path.relative_to(source / "keyturn").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in KINDS:
                yield name, node, place


def codes(source: Path = ROOT / "src") -> dict[str, Code]:
    """Find every literal code, in order."""
    found: dict[str, Code] = {}
    for kind, call, place in _raised(source):
        for code in _literals(call):
            entry = found.setdefault(code, Code())
            entry.kinds.add(kind)
            entry.places.add(place)
            hint = next((_text(word.value) for word in call.keywords if word.arg == "hint"), None)
            if hint is not None:
                entry.hints.add(hint)
            elif KINDS[kind] not in AFTER_KIND:
                entry.hinted = False
            if len(call.args) > 1:
                entry.texts.add(_text(call.args[1]))
    return dict(sorted(found.items()))


def failures(source: Path = ROOT / "src") -> dict[str, Code]:
    """Find every literal code of a failure, in order: what is noted about a chain or pack that is judged on, and not raised."""
    found: dict[str, Code] = {}
    places = [source / "keyturn" / name for name in JUDGES]
    for path in [one for place in places for one in ([place] if place.is_file() else sorted(place.glob("*.py")))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Tuple(elts=[ast.Constant(value=str(code)), said]):
                    pass
                case ast.Call(func=ast.Name(id="Failure"), args=[_, ast.Constant(value=str(code)), said]):
                    pass
                case ast.Call(func=ast.Attribute(attr="_note"), args=[ast.Constant(value=str(code)), said]):
                    pass
                case ast.Call(func=ast.Name(id="failure"), args=[ast.Constant(value=str(code)), said]):
                    pass
                case _:
                    continue
            if CODE.match(code) and not isinstance(said, ast.Constant | ast.JoinedStr | ast.BinOp):
                continue
            if CODE.match(code):
                entry = found.setdefault(code, Code())
                entry.texts.add(_text(said))
                entry.places.add(path.relative_to(source / "keyturn").as_posix())
    return dict(sorted(found.items()))


def computed_codes(source: Path = ROOT / "src") -> dict[str, int]:
    """Count, by file, the errors whose code is no literal."""
    found: dict[str, int] = {}
    for _kind, call, place in _raised(source):
        if not _literals(call):
            found[place] = found.get(place, 0) + 1
    return found


def _literals(call: ast.Call) -> list[str]:
    match call.args:
        case [ast.Constant(value=str(code)), *_]:
            return [code]
        case [ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))), *_]:
            return [one, other]
        case _:
            return []


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case _:
            return "…"


def page(source: Path = ROOT / "src") -> str:
    """Render docs/errors.md."""
    rows = []
    for code, entry in codes(source).items():
        texts = "; ".join(sorted(text for text in entry.texts if text.strip("… ")))
        said = texts.replace("|", "\\|").replace("\n", " ") or "…"
        places = ", ".join(f"`{place}`" for place in sorted(entry.places))
        rows.append(f"| `{code}` | {', '.join(sorted(entry.kinds))} | {said} | {_next(code, entry)} | {places} |\n")
    noted = []
    for code, entry in failures(source).items():
        said = "; ".join(sorted(entry.texts)).replace("|", "\\|")
        places = ", ".join(f"`{place}`" for place in sorted(entry.places))
        noted.append(f"| `{code}` | {said} | {mend_of(code)} | {places} |\n")
    return HEAD + "".join(rows) + FAILURES + "".join(noted)


def _next(code: str, entry: Code) -> str:
    hints = sorted(hint for hint in entry.hints if hint.strip("… "))
    if not entry.hinted and code in AFTER:
        hints.append(AFTER[code])
    return "; or ".join(hints).replace("|", "\\|").replace("\n", " ") or "as its kind says"


def main() -> None:
    """Write the page, or check it."""
    wanted = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == wanted else 1)
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(codes())} codes")


if __name__ == "__main__":
    main()
