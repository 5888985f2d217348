"""List names that a lab's directory knows, for whoever types one: newest records, members, permits, resources.

Nothing is verified here, and nothing may act on it: it is what a shell offers while somebody types. It reads what `index_sqlite`
and `trust_on_disk` wrote, imports neither, so that a shell waits for nothing, and raises whatever reading raises.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

__all__ = ["OFFERED_MAX", "NameKind", "among", "names", "names_in", "record_ids"]

NameKind = Literal["members", "groups", "permits", "resources", "gates", "builders", "witnesses"]

OFFERED_MAX = 200
_BYTES_MAX = 1 << 20
_RECORDS = """
SELECT kind || '-' || substr(record, 1, 32) FROM entry
WHERE (? = '' OR kind IN (SELECT value FROM json_each(?))) AND (until IS NULL OR until > ?)
  AND substr(kind || '-' || record, 1, length(?)) = ? ORDER BY idx DESC LIMIT ?
"""
# What a shell puts on its line: nothing that it or a terminal would take for more than a name.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]{0,254}\Z", re.ASCII)
_PERMIT = re.compile(r'@id\("([a-z0-9._-]{1,64})"\)')


def record_ids(lab: Path, kinds: Sequence[str], *, begins: str, now: int) -> list[str]:
    """Ids of records of `kinds` (of all when empty) that are not over, newest first."""
    database = f"file:{lab / 'index.sqlite'}?mode=ro"
    with closing(sqlite3.connect(database, uri=True, timeout=0.2)) as db:
        listed = json.dumps(list(kinds)) if kinds else ""
        rows = db.execute(_RECORDS, (listed, listed or "[]", now, begins, begins, OFFERED_MAX))
        return [str(row[0]) for row in rows]


def names(lab: Path, kind: NameKind, *, begins: str) -> list[str]:
    """Names of `kind` in the newest published targets, in order."""
    return among(names_in(kind, lambda of: map(_text, _targets(lab, of))), begins=begins)


def among(found: Iterable[str], *, begins: str) -> list[str]:
    """Those that a shell may put on its line, in order."""
    return sorted({name for name in found if name.startswith(begins) and _PLAIN.match(name)})[:OFFERED_MAX]


def names_in(kind: NameKind, texts: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """Names of `kind` in target files: `texts` gives those whose names begin with what it is called with."""

    def rows(file: str) -> list[dict[str, Any]]:
        return [row for text in texts(f"{file}.toml") for row in tomllib.loads(text).get(kind, [])]

    match kind:
        case "permits":
            for text in texts("policy/"):
                yield from _PERMIT.findall(text)
        case "members" | "builders":
            yield from (str(row["id"]) for row in rows("roster" if kind == "members" else kind))
        case "groups":
            yield from (str(row["name"]) for row in rows("roster"))
        case "witnesses":
            yield from (str(row["name"]) for row in rows("log"))
        case "resources":
            yield from (str(row["uri"]).split("/", 3)[3] for row in rows(kind))
        case "gates":
            yield from (str(row["uri"]).rpartition("/gate/")[2] for row in rows(kind))


def _targets(lab: Path, begins: str) -> Iterator[Path]:
    """The target files of the newest targets version whose names begin so; TUF clients find them by digest and name."""
    metadata = max((lab / "trust" / "metadata").glob("*.targets.json"), key=lambda path: int(path.name.split(".")[0]))
    for name, about in json.loads(_text(metadata))["signed"]["targets"].items():
        if name.startswith(begins):
            path = lab / "trust" / "targets" / name
            yield path.with_name(f"{about['hashes']['sha256']}.{path.name}")


def _text(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(_BYTES_MAX)
