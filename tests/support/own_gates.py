"""A lab whose log and witness run, with gates of one's own: `vault` at a socket, `rotate` in a program; and people."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.records.sign_record import about, signed
from keyturn.config.own_gate import Door, Socket
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.negatives import Revocation
from keyturn.formats.uri import Uri
from keyturn.wiring.gates.own import init_gate
from keyturn.wiring.lab.places import find_lab
from support.lab_on_disk import LabOnDisk, put_on_disk
from support.labs import make_lab
from support.processes import wait_for

__all__ = ["RESOURCE", "OwnGateLab", "own_gate_lab"]

RESOURCE = "keyturn://acme.example/procedure/rotate"
POLICY = """
@id("rotate") @quorum("2 security") @duration_max("30m") @pending_max("8h")
permit (principal in Group::"ops", action == Action::"procedure:run", resource == Procedure::"rotate");
"""


@dataclass
class OwnGateLab:
    """The lab on disk, its service's URL, and the socket of the gate `vault`, which does not run yet."""

    disk: LabOnDisk
    url: str
    socket: Path

    @property
    def log(self) -> LogOverHttp:
        return LogOverHttp(self.url)

    @property
    def script(self) -> Path:
        return self.disk.path / "gates" / "rotate"

    def ask(self, gate: str, *approvers: str, duration_s: int = 600) -> str:
        """A request by Ada, approved by `approvers` and witnessed; its digest."""
        lab, now = self.disk.lab, int(time.time())
        made = AccessRequest(
            lab=lab.name,
            nonce=secrets.token_hex(16),
            requester="ada",
            key=lab.member_keys["ada"].public.keyid,
            beneficiary="ada",
            action="procedure:run",
            resource=RESOURCE,
            permit="rotate",
            gate=str(lab.gate_uri(gate)),
            justification="the yearly rotation",
            not_before=now - 5,
            start_by=now + 1200,
            not_after=now + 1200,
            duration_s=duration_s,
            trust_version=1,
        )
        subjects = about(Uri.parse(RESOURCE).digest, name=RESOURCE)
        envelope = signed(made, subjects, key=lab.member_keys["ada"])
        raw = dsse.render(envelope)
        index = self.log.append(raw)
        for member in approvers:
            given = HumanAuthorization(
                lab=lab.name,
                nonce=secrets.token_hex(16),
                approver=member,
                key=lab.member_keys[member].public.keyid,
                request=envelope.record_digest,
                trust_version=1,
                decision="approve",
                reason="as planned",
                signed_at=int(time.time()),
                expires_at=made.not_after,
            )
            raw = dsse.render(signed(given, about(envelope.record_digest), key=lab.member_keys[member]))
            index = self.log.append(raw)
        self.disk.in_force(self.url, index, raw)
        return str(envelope.record_digest)

    def revocation(self, request: str) -> bytes:
        """Bob's, of the request with this digest."""
        key, now = self.disk.lab.member_keys["bob"], int(time.time())
        made = Revocation(
            lab=self.disk.lab.name,
            nonce=secrets.token_hex(16),
            member="bob",
            key=key.public.keyid,
            request=request,
            reason="stop",
            signed_at=now,
            until=now + 1200,
        )
        return dsse.render(signed(made, about(request), key=key))


@contextmanager
def own_gate_lab(path: Path) -> Iterator[OwnGateLab]:
    """The door `rotate` of `vault` is for this very user, `other` for another one."""
    lab = make_lab(
        humans=("ada", "bob", "cat"),
        groups={"ops": ("ada",), "security": ("bob", "cat")},
        resources={"procedure/rotate": ()},
        gates=(("vault", "local"), ("rotate", "script")),
        policy={"main": POLICY},
        now=int(time.time()) - 60,
    )
    disk = put_on_disk(lab, path / "lab")
    ask = Path(tempfile.mkdtemp())  # a short path, which others may walk through
    ask.chmod(0o755)
    try:
        for name, key in lab.gate_keys.items():
            write_key(disk.path / "gates" / name / "key", key, passphrase=None)
        place, own = find_lab(str(disk.path)), str(os.getuid())
        doors = {
            name: Door(action="procedure:run", resource=RESOURCE, users=(user,))
            for name, user in (("rotate", own), ("other", "65534"))
        }
        at = Socket(path=str(ask / "vault.sock"), group="65534")
        init_gate(place, name="vault", service=None, pin=lab.root_sha256, socket=at, doors=doors)
        init_gate(place, name="rotate", service=None, pin=lab.root_sha256)
        with disk.witness(), disk.log() as (_, url):
            found = OwnGateLab(disk, url, ask / "vault.sock")
            wait_for("the first checkpoint", lambda: _checkpoint(found))
            yield found
    finally:
        shutil.rmtree(ask)


def _checkpoint(found: OwnGateLab) -> bytes | None:
    with suppress(KeyturnError):
        return found.log.checkpoint()
    return None
