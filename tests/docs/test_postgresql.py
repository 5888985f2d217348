"""docs/guide/postgresql.md is run as it stands: its commands, one shell, from top to bottom, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.postgresql import Cluster

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "postgresql.md"
GRANTS = Path(__file__).resolve().parents[2] / "src" / "keyturn" / "adapters" / "postgres" / "migrations" / "grants.sql"


def commands() -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def test_the_guide_works_as_it_is_written(cluster: Cluster, tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("KEYTURN_", "PG"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment |= {"HOME": str(tmp_path), "PGHOST": str(cluster.directory), "PGUSER": "admin"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    for said in (
        "2 new steps; `keyturn_service` may append",
        "0 new steps; `keyturn_service` may append",
        "acme.example is founding",
        "store = ",
    ):
        assert said in done.stdout, done.stdout
    assert done.stdout.count("indexed 0 entries") == 2
    assert "Traceback" not in done.stdout


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
