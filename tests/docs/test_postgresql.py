"""docs/guide/postgresql.md is run as it stands: its commands, one shell, from top to bottom, against a real server."""

from __future__ import annotations

import re
from pathlib import Path

from support.pages import DOCS, run_page
from support.postgresql import Cluster

PAGE = DOCS / "guide" / "postgresql.md"
GRANTS = Path(__file__).resolve().parents[2] / "src" / "keyturn" / "adapters" / "postgres" / "migrations" / "grants.sql"


def test_the_guide_works_as_it_is_written(cluster: Cluster, tmp_path: Path) -> None:
    said = run_page("guide/postgresql.md", tmp_path, environment={"PGHOST": str(cluster.directory), "PGUSER": "admin"})
    for words in (
        "2 new steps; `keyturn_service` may append",
        "0 new steps; `keyturn_service` may append",
        "acme.example is founding",
        "store = ",
    ):
        assert words in said, said
    assert said.count("indexed 0 entries") == 2


def test_the_guide_names_what_the_service_may_do_with_each_table() -> None:
    granted = re.findall(r"^GRANT ([A-Z, ]+) ON ([a-z., ]+) TO", GRANTS.read_text(encoding="ascii"), re.MULTILINE)
    words = {"SELECT": "read", "INSERT": "insert", "UPDATE": "update", "DELETE": "delete"}
    wanted = {
        table: ", ".join(words[word] for word in what.split(", "))
        for what, tables in granted
        for table in tables.split(", ")
    }
    rows = re.findall(r"^\| (`log.*|`index.*) \| .* \| ([a-z, ]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = {table: may for tables, may in rows for table in re.findall(r"`([a-z.]+)`", tables)}
    assert said == wanted
    assert len(said) == 7
