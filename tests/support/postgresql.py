"""A real PostgreSQL for tests: a cluster in a temporary directory, reached by a Unix socket alone.

Where a log lies in it, it syncs as it does in production. One such cluster is started for a test session, and each test gets a
database of its own, copied from one that was migrated. What lies behind a gate is another: `made_cluster` makes it of a copy of
what initdb makes, once, and it does not sync, since nothing of it outlives its test. The server does not run as root: it is run
as `nobody` when the tests are root. Roles: `admin` (superuser), `owner` and `service`.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.postgres.schema import migrate
from support.processes import wait_for

__all__ = ["Cluster", "Store", "made_cluster", "running_cluster"]

_HBA = """local all guarded scram-sha-256
local all all trust
local replication admin trust
"""
_CONF = """
listen_addresses = ''
unix_socket_directories = '{directory}'
fsync = {syncs}
full_page_writes = on
shared_buffers = 128MB
max_connections = 100
wal_level = replica
logging_collector = off
recovery_init_sync_method = syncfs
"""


@dataclass(frozen=True)
class Store:
    """One database, and the URLs of those who use it."""

    socket_dir: Path
    name: str

    def url(self, user: str = "service", *, socket_dir: Path | None = None) -> str:
        return f"postgresql://{user}@/{self.name}?host={socket_dir or self.socket_dir}"

    def connections(self, user: str = "service", *, socket_dir: Path | None = None) -> Connections:
        return Connections(StorePlace.parse(self.url(user, socket_dir=socket_dir)))

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A superuser's connection, in autocommit mode."""
        with psycopg.connect(self.url("admin"), autocommit=True) as db:
            yield db

    def alter(self, *statements: str) -> None:
        """Do what only whoever took over the database can: change what is append-only."""
        with self.admin() as db:
            for table in ("batch", "envelope", "note"):
                db.execute(f"ALTER TABLE log.{table} DISABLE TRIGGER ALL")
            for (name,) in db.execute(
                "SELECT conname FROM pg_constraint WHERE conrelid = 'log.batch'::regclass AND contype = 'c'"
            ):
                db.execute(f"ALTER TABLE log.batch DROP CONSTRAINT {name}")
            for statement in statements:
                db.execute(statement)
            for table in ("batch", "envelope", "note"):
                db.execute(f"ALTER TABLE log.{table} ENABLE TRIGGER ALL")


class Cluster:
    """A server. Made by `made_cluster`, and by `running_cluster`, where it runs."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self._programs = programs
        self._numbers = count(1)

    def run(self, program: str, *words: str) -> None:
        """Run one of PostgreSQL's programs as the user that owns the cluster."""
        done = subprocess.run(
            [self._programs / program, *words],
            user=_user(),
            cwd=self.directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGHOST": str(self.directory), "PGUSER": "admin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        """Start it, as soon as what a server that was stopped at once left behind is gone: its children end a moment later."""

        def started() -> bool | None:
            try:
                self.run("pg_ctl", "start", "-w", "-s", "-D", "data", "-l", "server.log")
            except AssertionError:
                said = (self.directory / "server.log").read_text()
                if "is still in use" not in said.rpartition("starting PostgreSQL")[2]:
                    raise AssertionError(said[-4000:]) from None
                return None
            return True

        wait_for("the server to start", started)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is how a crash ends it."""
        self.run("pg_ctl", "stop", "-w", "-s", "-D", "data", "-m", mode)

    @contextmanager
    def standby(self) -> Iterator[int]:
        """A second server that follows this one, for as long as the block runs; gives its port."""
        port = "5433"
        self.run("pg_basebackup", "-D", "standby", "-R", "-c", "fast")
        self.run("pg_ctl", "start", "-w", "-s", "-D", "standby", "-o", f"-p {port}", "-l", "standby.log")
        try:
            yield int(port)
        finally:
            self.run("pg_ctl", "stop", "-w", "-s", "-D", "standby", "-m", "immediate")
            shutil.rmtree(self.directory / "standby")

    def make_template(self) -> None:
        with psycopg.connect(host=str(self.directory), user="admin", dbname="postgres", autocommit=True) as db:
            db.execute("CREATE ROLE owner LOGIN")
            db.execute("CREATE ROLE service LOGIN")
            db.execute("CREATE ROLE guarded LOGIN PASSWORD 'of three words'")
            db.execute("CREATE DATABASE empty OWNER owner")
            db.execute("CREATE DATABASE migrated OWNER owner")
        with closing(Store(self.directory, "migrated").connections("owner")) as owner:
            migrate(owner, service="service")

    def store(self, template: str = "migrated") -> Store:
        """A database of its own; `empty` is one that nobody migrated."""
        name = f"lab{next(self._numbers)}"
        with psycopg.connect(host=str(self.directory), user="admin", dbname="postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER owner")
            db.execute(f"GRANT CONNECT ON DATABASE {name} TO service, guarded")
        return Store(self.directory, name)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Make and start a cluster that holds logs, and stop and remove it afterwards."""
    with made_cluster(syncs=True) as cluster:
        cluster.start()
        cluster.make_template()
        yield cluster


@contextmanager
def made_cluster(*, syncs: bool = False) -> Iterator[Cluster]:
    """Make a cluster that does not run yet, with nothing in it, and stop and remove it afterwards."""
    with _place() as directory:
        cluster = Cluster(directory, _programs())
        subprocess.run(["cp", "-a", _new_data(), directory / "data"], check=True)
        (directory / "data" / "pg_hba.conf").write_text(_HBA)
        with (directory / "data" / "postgresql.conf").open("a") as conf:
            conf.write(_CONF.format(directory=directory, syncs="on" if syncs else "off"))
        try:
            yield cluster
        finally:
            if (directory / "data" / "postmaster.pid").exists():
                cluster.stop("immediate")


@cache
def _new_data() -> Path:
    """What initdb makes, which takes it seconds; gone with this process."""
    place = _place()
    directory = place.__enter__()
    atexit.register(place.__exit__, None, None, None)
    words = ("-D", "data", "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-locale", "--data-checksums", "--no-sync")
    Cluster(directory, _programs()).run("initdb", *words)
    return directory / "data"


@contextmanager
def _place() -> Iterator[Path]:
    """A directory of the user that owns clusters; short, since a socket's path has 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="keyturn-pg-", dir="/tmp"))
    try:
        if (user := _user()) is not None:
            shutil.chown(directory, user)
        yield directory
    finally:
        shutil.rmtree(directory)


def _programs() -> Path:
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def _user() -> str | None:
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None
