"""A PostgreSQL server with a database behind a postgres gate, and people who ask for it, approve, and come in with psycopg.

The server does not run as root and has TLS with a certificate of its own; the gate runs as this very user, by whose name
pg_ident.conf knows it. All of it is set up with what `keyturn gate postgres init` says, word for word, and ends with the block.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.keys.session_certificates import request_for
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.records.sign_record import about, signed
from keyturn.config import person as person_config
from keyturn.config.person import PersonConfig
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.negatives import Revocation, Suspension
from keyturn.formats.uri import Uri
from support.lab_on_disk import LabOnDisk, put_on_disk
from support.labs import Lab, make_lab
from support.postgresql import Cluster, made_cluster
from support.processes import Process, running, wait_for

__all__ = ["KEYTURN", "Asked", "DatabaseLab", "DatabasePerson", "database_lab"]

KEYTURN = (sys.executable, "-m", "keyturn")

POLICY = """
@id("read") @quorum("1 security") @duration_max("1h") @pending_max("1h")
permit (principal in Group::"ops", action == Action::"db:read", resource in Db::"main");
@id("write") @quorum("1 security") @duration_max("1h") @pending_max("1h")
permit (principal in Group::"ops", action == Action::"db:write", resource in Db::"main");
@id("repair") @quorum("1 security") @duration_max("30m") @pending_max("30m") @breakglass
permit (principal in Group::"ops", action in [Action::"db:read", Action::"db:write"], resource in Db::"main");
"""
TABLES = """
CREATE ROLE app_owner NOLOGIN;
CREATE SCHEMA app AUTHORIZATION app_owner;
CREATE SCHEMA other AUTHORIZATION app_owner;
CREATE TABLE app.runs (id serial PRIMARY KEY, name text);
CREATE TABLE other.salaries (name text, amount integer);
INSERT INTO app.runs (name) VALUES ('first');
INSERT INTO other.salaries VALUES ('ada', 1);
ALTER TABLE app.runs OWNER TO app_owner;
ALTER TABLE other.salaries OWNER TO app_owner;
"""


@dataclass
class Asked:
    """A request, and the session key that it names."""

    made: AccessRequest
    envelope: Envelope
    proves: SoftwareKey

    @property
    def digest(self) -> str:
        return self.envelope.record_digest

    @property
    def role(self) -> str:
        return f"kt_{self.digest[:32]}"


@dataclass
class DatabaseLab:
    """A lab whose log and witness run, and its database with a gate. People work through the ports that anybody has."""

    disk: LabOnDisk
    url: str
    cluster: Cluster
    port: int
    place: Path
    stack: ExitStack
    service: Process
    gate: Process | None = None
    gate_url: str = ""

    @property
    def lab(self) -> Lab:
        return self.disk.lab

    @property
    def log(self) -> LogOverHttp:
        return LogOverHttp(self.url)

    @property
    def directory(self) -> Path:
        """The gate's own."""
        return self.disk.path / "gates" / "main"

    def start_gate(self, *before: str) -> Process:
        """Run the gate until it serves; `before` are words that stand before the command."""
        words = [
            *before,
            sys.executable,
            "-m",
            "keyturn",
            "gate",
            "postgres",
            "run",
            "main",
            "--lab",
            str(self.disk.path),
        ]
        (self.disk.path / "run" / "gate-main.json").unlink(missing_ok=True)
        self.gate = self.stack.enter_context(running(words))
        at = self.disk.path / "run" / "gate-main.json"
        found = wait_for("the gate", lambda: at.read_text() if at.exists() else None, self.gate)
        self.gate_url = json.loads(found)["url"]
        return self.gate

    # --- people ---------------------------------------------------------------------------------------------------------

    def ask(self, **changed: object) -> Asked:
        """A request; `submit=False` keeps it from the log."""
        submit = changed.pop("submit", True)
        proves = SoftwareKey.generate(changed.pop("scheme", "ed25519"))  # type: ignore[arg-type]  # one of the two
        member, now = str(changed.get("requester", "ada")), int(time.time())
        values: dict[str, object] = {
            "lab": self.lab.name,
            "nonce": secrets.token_hex(16),
            "requester": member,
            "key": self.lab.member_keys[member].public.keyid,
            "beneficiary": member,
            "action": "db:read",
            "resource": f"keyturn://{self.lab.name}/db/main/app",
            "permit": "read",
            "gate": str(self.lab.gate_uri("main")),
            "justification": "a look at the runs",
            "not_before": now - 5,
            "start_by": now + 1200,
            "not_after": now + 1500,
            "duration_s": 300,
            "trust_version": self.lab.history.targets_version,
            "session_key": proves.public.text,
            **changed,
        }
        made = AccessRequest(**values)  # type: ignore[arg-type]  # the table above, field by field
        subjects = about(Uri.parse(made.resource).digest, name=made.resource)
        envelope = signed(made, subjects, key=self.lab.member_keys[member])
        if submit:
            self.log.append(dsse.render(envelope))
        return Asked(made, envelope, proves)

    def granted(self, **changed: object) -> Asked:
        """A request that Bob, of security, approved."""
        asked = self.ask(**changed)
        self.say(asked, "bob")
        return asked

    def say(self, asked: Asked, member: str, *, decision: str = "approve", submit: bool = True) -> Envelope:
        made = HumanAuthorization(
            lab=self.lab.name,
            nonce=secrets.token_hex(16),
            approver=member,
            key=self.lab.member_keys[member].public.keyid,
            request=asked.digest,
            trust_version=asked.made.trust_version,
            decision=decision,  # type: ignore[arg-type]  # as the callers have it
            reason="looked at",
            signed_at=int(time.time()),
            expires_at=asked.made.not_after,
        )
        envelope = signed(made, about(asked.digest), key=self.lab.member_keys[member])
        if submit:
            self.log.append(dsse.render(envelope))
        return envelope

    def revocation(self, asked: Asked, member: str = "cat", *, key: SoftwareKey | None = None) -> bytes:
        """A revocation in the name of `member`, signed by `key` if that is given."""
        made = Revocation(
            lab=self.lab.name,
            nonce=secrets.token_hex(16),
            member=member,
            key=self.lab.member_keys[member].public.keyid,
            request=asked.digest,
            reason="enough",
            signed_at=int(time.time()),
            until=asked.made.not_after,
        )
        return dsse.render(signed(made, about(asked.digest), key=key or self.lab.member_keys[member]))

    def suspension(self, by: str, **target: str) -> bytes:
        now = int(time.time())
        made = Suspension(
            lab=self.lab.name,
            nonce=secrets.token_hex(16),
            member=by,
            key=self.lab.member_keys[by].public.keyid,
            reason="laptop lost",
            signed_at=now,
            until=now + 3600,
            **target,
        )
        [named] = target.values()
        return dsse.render(signed(made, about(sha256(named.encode())), key=self.lab.member_keys[by]))

    # --- coming in ------------------------------------------------------------------------------------------------------

    def certify(self, asked: Asked | SoftwareKey) -> httpx.Response:
        """What the gate says to the session key of `asked`."""
        proves = asked if isinstance(asked, SoftwareKey) else asked.proves
        return httpx.post(f"{self.gate_url}/certificate", content=request_for(proves), timeout=30)

    def let_in(self, asked: Asked) -> dict[str, Any]:
        said = ""

        def answered() -> dict[str, Any] | None:
            nonlocal said
            answer = self.certify(asked)
            said = answer.text
            return answer.json() if answer.status_code == 200 else None

        try:
            return wait_for("the gate to open", answered, self.gate)
        except AssertionError as err:
            raise AssertionError(said) from err

    def options(self, asked: Asked, certificate: str, **changed: object) -> dict[str, Any]:
        """What libpq needs to connect by `certificate`."""
        at = self.place / secrets.token_hex(8)
        at.with_suffix(".pem").write_text(certificate)
        at.with_suffix(".key").touch(mode=0o600)
        at.with_suffix(".key").write_bytes(asked.proves.render(passphrase=None))
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "dbname": "main",
            "user": asked.role,
            "sslmode": "verify-full",
            "sslrootcert": str(self.place / "server.pem"),
            "sslcert": str(at.with_suffix(".pem")),
            "sslkey": str(at.with_suffix(".key")),
            "connect_timeout": 10,
            **changed,
        }

    def connect(self, asked: Asked, **changed: object) -> psycopg.Connection[Any]:
        """A connection by the grant of `asked`, with a certificate of this moment."""
        certificate = self.let_in(asked)["certificate"]
        db = psycopg.connect(**self.options(asked, certificate, **changed), autocommit=True)
        self.stack.callback(db.close)
        return db

    def admin(self, database: str = "main") -> psycopg.Connection[Any]:
        db = psycopg.connect(
            host=str(self.cluster.directory), port=self.port, user="admin", dbname=database, autocommit=True
        )
        self.stack.callback(db.close)
        return db

    def roles(self) -> set[str]:
        return {name for (name,) in self.admin().execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^kt_'")}


class DatabasePerson:
    """A member with a home, who has the lab's address and its pinned root."""

    def __init__(self, lab: DatabaseLab, place: Path, member: str) -> None:
        self.place = place / member
        write_key(self.place / "keys" / "member.pem", lab.lab.member_keys[member], passphrase=None)
        config = PersonConfig(member, lab.url, {lab.lab.name: lab.lab.root_sha256})
        (self.place / "config.toml").write_bytes(person_config.render(config))
        self.environment = {
            "KEYTURN_HOME": str(self.place),
            "HOME": str(self.place),
            "PGHOSTADDR": "192.0.2.1",  # what a caller's environment says of another server is not listened to
            "PGSERVICE": "elsewhere",
        }
        self.authority = str(lab.place / "server.pem")

    def psql(self, *words: str) -> list[str]:
        return [*KEYTURN, "psql", "main/app", "--ca", self.authority, "--reason", "why runs fail", "--yes", *words]

    def approve(self, asking: Process) -> str:
        """Approve what that process asks for."""
        said = asking.wait_for_line(": asked").replace('"', " ")
        request = next(word for word in said.replace(":", " ").split() if word.startswith("req-"))
        self.run("approve", request, "--reason", "fine", "--yes")
        return request

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [*KEYTURN, *words], env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    def doctor(self, about: str) -> list[tuple[str, str]]:
        """Level and text of what `keyturn doctor` finds of `about`."""
        found = json.loads(self.run("doctor", "--json"))
        return [(one["level"], one["found"]) for one in found if one["check"] == about]


def ended(db: psycopg.Connection[Any]) -> bool:
    """Whether the server ended the connection."""
    try:
        db.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server_certificate(place: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the server")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (place / "server.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (place / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@contextmanager
def database_lab(path: Path) -> Iterator[DatabaseLab]:
    """A lab with the database `main`, its gate set up and not running yet."""
    lab = make_lab(
        humans=("ada", "bob", "cat", "dan"),
        groups={"ops": ("ada", "dan"), "security": ("bob", "cat")},
        resources={"db/main": (), "db/main/app": ("db/main",), "db/main/other": ("db/main",)},
        gates=(("main", "postgres"),),
        policy={"main": POLICY},
        now=int(time.time()) - 60,
    )
    disk = put_on_disk(lab, path / "lab")
    write_key(disk.path / "gates" / "main" / "key", lab.gate_keys["main"], passphrase=None)
    with ExitStack() as stack:
        cluster = stack.enter_context(made_cluster())
        stack.enter_context(disk.witness())
        service, url = stack.enter_context(disk.log())
        found = DatabaseLab(disk, url, cluster, _free_port(), path, stack, service)
        _set_up_server(found)

        def published() -> bool | None:
            with suppress(KeyturnError):
                return bool(found.log.checkpoint())
            return None

        wait_for("the first checkpoint", published)
        yield found


def _set_up_server(found: DatabaseLab) -> None:
    place, data = found.cluster.directory, found.cluster.directory / "data"
    _server_certificate(found.place)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "keyturn", "gate", "postgres", "init", "main", "--lab", str(found.disk.path)),
            *(
                "--service",
                found.url,
                "--owner",
                "app_owner",
                "--socket-directory",
                str(place),
                "--port",
                str(found.port),
            ),
            *("--address", "127.0.0.1", "--user", getpass.getuser(), "--root-sha256", found.lab.root_sha256, "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    owner = data.stat()
    for name in ("server.pem", "server.key"):
        copied = data / name
        copied.touch(mode=0o600)
        copied.write_bytes((found.place / name).read_bytes())
        os.chown(copied, owner.st_uid, owner.st_gid)
    authority = data / "ca.pem"  # where the server's own user can read it
    authority.write_bytes((found.directory / "ca.pem").read_bytes())
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"listen_addresses = '127.0.0.1'\nport = {found.port}\nmax_connections = 300\nssl = on\n"
            "ssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n"
        )
    hba, ident = data / "pg_hba.conf", data / "pg_ident.conf"
    hba.write_text("\n".join([*said["pg_hba.conf"], "local all admin trust", "host all all all trust"]) + "\n")
    ident.write_text("\n".join(said["pg_ident.conf"]) + "\n")
    found.cluster.start()
    found.admin("postgres").execute("CREATE DATABASE main")
    db = found.admin()
    db.execute(TABLES)
    for statement in said["sql"]:
        db.execute(statement.replace(str(found.directory / "ca.pem"), str(authority)))
    db.execute("SELECT pg_reload_conf()")
