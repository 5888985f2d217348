"""Hosts of a lab with a real sshd and a real host gate each, and people who ask for them, approve, and come in with ssh.

Everything of a host lies in a directory that root alone writes (sshd asks for that), and ends with the block. The accounts
that are logged in to are made on this machine, once: `ktada`, who is a member of the lab as well, and `ktdeploy`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyturn.adapters.files.key_files import write_key
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.records.sign_record import about, signed
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.negatives import Revocation, Suspension
from keyturn.formats.uri import Uri
from keyturn.trust.roster import Limits
from keyturn.trust.targets import Contents
from support.commands import KEYTURN
from support.lab_on_disk import LabOnDisk, put_on_disk
from support.labs import Lab, keyholders, make_lab
from support.processes import Process, running, wait_for, wait_for_file

__all__ = ["ACCOUNTS", "HOLDERS", "KEYTURN", "POLICY", "Asked", "Host", "HostsLab", "hosts_lab", "networked"]

SSHD = "/usr/sbin/sshd"
ACCOUNTS = ("ktada", "ktdeploy")
HOLDERS = ("carol", "dan", "eve")
"""To whom recordings of a bastion are sealed."""
POLICY = """
@id("shell") @quorum("1 security") @duration_max("1h") @pending_max("1h")
permit (principal in Group::"ops", action in [Action::"host:shell", Action::"host:root"], resource in Hosts::"gpu");
@id("replay") @quorum("1 security") @duration_max("1h") @pending_max("1h")
permit (principal in Group::"security", action == Action::"host:replay", resource in Hosts::"gpu");
@id("repair") @quorum("1 security") @duration_max("30m") @pending_max("30m") @breakglass
permit (principal in Group::"ops", action in [Action::"host:shell", Action::"host:root"], resource in Hosts::"gpu");
"""


@dataclass
class Asked:
    """A request, and the session key that it names, in a file as ssh takes it."""

    made: AccessRequest
    envelope: Envelope
    identity: Path
    approvals: list[Envelope] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return self.envelope.record_digest


@dataclass
class Host:
    """One host: its sshd at `port`, its gate, and everything of both in `place`."""

    name: str
    place: Path
    port: int
    address: str = "127.0.0.1"
    namespace: str | None = None
    gate: Process | None = None
    sshd: Process | None = None
    seen_from: str | None = None
    carried: bool = False

    @property
    def directory(self) -> Path:
        return self.place / "gate"

    @property
    def log(self) -> Path:
        """What sshd says."""
        return self.place / "sshd.log"

    def ssh(self, asked: Asked | Path, account: str, *words: str, more: Sequence[str] = ()) -> list[str]:
        """The words of an ssh command that offers the session key of `asked` alone."""
        identity = asked if isinstance(asked, Path) else asked.identity
        return [
            *(() if self.seen_from is None else ("ip", "netns", "exec", self.seen_from)),
            *("ssh", *more, "-F", "none", "-i", str(identity), "-p", str(self.port), "-o", "IdentitiesOnly=yes"),
            *("-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
            *("-o", f"UserKnownHostsFile={self.place}/known_hosts", "-o", "LogLevel=ERROR"),
            f"{account}@{self.address}",
            *words,
        ]

    def run(
        self, asked: Asked | Path, account: str, *words: str, more: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Come in as `account`, run `words`, and leave."""
        return subprocess.run(
            self.ssh(asked, account, *words, more=more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "SSH_AUTH_SOCK": ""},
        )

    def opens(self, asked: Asked | Path, account: str) -> bool:
        done = self.run(asked, account, "echo in")
        assert done.returncode in (0, 255), done
        return done.stdout == "in\n"


@dataclass
class HostsLab:
    """A lab whose log and witness run. People ask, approve and take away through the log's own port."""

    disk: LabOnDisk
    place: Path
    url: str
    stack: ExitStack
    service: Process
    url_for_namespaces: str = ""
    made: int = 0

    @property
    def lab(self) -> Lab:
        return self.disk.lab

    @property
    def log(self) -> LogOverHttp:
        return LogOverHttp(self.url)

    @property
    def now(self) -> int:
        return int(time.time())

    def nonce(self) -> str:
        self.made += 1
        return secrets.token_hex(16)

    def publish(self, contents: Contents) -> None:
        """The next targets version, signed by the lab's humans and given to the service."""
        self.disk.lab = self.lab.with_contents(contents, now=self.now)
        container = self.lab.containers[-1]
        TrustOnDisk(self.disk.path / "trust").add_version(len(self.lab.containers), container)
        self.log.append(container)

    def identity(self) -> tuple[SoftwareKey, Path]:
        """A new session key, in memory and in a file."""
        private = ed25519.Ed25519PrivateKey.generate()
        path = self.place / f"session-{self.nonce()}"
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        path.write_bytes(text)
        path.chmod(0o600)
        return SoftwareKey(private), path

    def request(self, host: str, proves: SoftwareKey, **changed: object) -> AccessRequest:
        member = str(changed.get("requester", "ktada"))
        values: dict[str, object] = {
            "lab": self.lab.name,
            "nonce": self.nonce(),
            "requester": member,
            "key": self.lab.member_keys[member].public.keyid,
            "beneficiary": member,
            "action": "host:shell",
            "resource": f"keyturn://{self.lab.name}/host/{host}",
            "permit": "shell",
            "gate": str(self.lab.gate_uri(host)),
            "justification": "a look at the disk",
            "not_before": self.now - 5,
            "start_by": self.now + 1200,
            "not_after": self.now + 1500,
            "duration_s": 300,
            "trust_version": self.lab.history.targets_version,
            "session_key": proves.public.text,
            **changed,
        }
        return AccessRequest(**values)  # type: ignore[arg-type]  # the table above, field by field

    def ask(self, host: str = "gpu1", *, submit: bool = True, **changed: object) -> Asked:
        proves, path = self.identity()
        return self.ask_with(proves, path, host, submit=submit, changed=changed)

    def ask_with(
        self, proves: SoftwareKey, path: Path, host: str, *, submit: bool = True, changed: Mapping[str, object]
    ) -> Asked:
        """As `ask`, with a session key that is there already."""
        made = self.request(host, proves, **changed)
        subjects = about(Uri.parse(made.resource).digest, name=made.resource)
        envelope = signed(made, subjects, key=self.lab.member_keys[made.requester])
        if submit:
            self.log.append(dsse.render(envelope))
        return Asked(made, envelope, path)

    def say(self, asked: Asked, member: str, *, decision: str = "approve", submit: bool = True) -> Envelope:
        made = HumanAuthorization(
            lab=self.lab.name,
            nonce=self.nonce(),
            approver=member,
            key=self.lab.member_keys[member].public.keyid,
            request=asked.digest,
            trust_version=asked.made.trust_version,
            decision=decision,  # type: ignore[arg-type]  # as the callers have it
            reason="agreed",
            signed_at=self.now,
            expires_at=asked.made.not_after,
        )
        envelope = signed(made, about(asked.digest), key=self.lab.member_keys[member])
        if submit:
            self.log.append(dsse.render(envelope))
        asked.approvals.append(envelope)
        return envelope

    def granted(self, host: str = "gpu1", **changed: object) -> Asked:
        """A request that Bob, of security, approved."""
        asked = self.ask(host, **changed)  # type: ignore[arg-type]  # fields of a request
        self.say(asked, "bob")
        return asked

    def revocation(self, asked: Asked, member: str = "cat") -> bytes:
        made = Revocation(
            lab=self.lab.name,
            nonce=self.nonce(),
            member=member,
            key=self.lab.member_keys[member].public.keyid,
            request=asked.digest,
            reason="enough",
            signed_at=self.now,
            until=asked.made.not_after,
        )
        return dsse.render(signed(made, about(asked.digest), key=self.lab.member_keys[member]))

    def suspension(self, by: str, **target: str) -> bytes:
        made = Suspension(
            lab=self.lab.name,
            nonce=self.nonce(),
            member=by,
            key=self.lab.member_keys[by].public.keyid,
            reason="laptop lost",
            signed_at=self.now,
            until=self.now + 3600,
            **target,
        )
        [named] = target.values()
        return dsse.render(signed(made, about(sha256(named.encode())), key=self.lab.member_keys[by]))

    # --- hosts ----------------------------------------------------------------------------------------------------------

    def install(
        self, name: str, *, namespace: str | None = None, address: str = "127.0.0.1", more: Sequence[str] = ()
    ) -> Host:
        """Put sshd and the gate on a host called `name`, `more` being words of its own; neither runs yet.

        Its gate follows the log that the lab serves, unless `more` says where its root lies: then the log is carried to it."""
        place = self.place / name
        (place / "sshd_config.d").mkdir(parents=True)
        host = Host(name, place, _free_port(), address, namespace)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / "host_key")], check=True)
        if namespace is not None:
            _join(self.stack, namespace, address)
            host = Host(name, place, 22, address, namespace)
        host.carried = "--root-json" in more
        (place / "sshd_config").write_text(
            f"Include {place}/sshd_config.d/*.conf\nPort {host.port}\nListenAddress {address}\nHostKey {place}/host_key\n"
            f"PidFile {place}/sshd.pid\nUsePAM no\nSubsystem sftp /usr/lib/openssh/sftp-server\nLogLevel VERBOSE\n"
            "MaxStartups 100\n"
        )
        write_key(host.directory / "key", self.lab.gate_keys[name], passphrase=None)
        done = subprocess.run(
            [*_inside(host), *KEYTURN, "gate", "host", "install", name, *self.where(host), *more, "--yes", "--json"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return host

    def stricter(self, host: Host, line: str) -> None:
        """Have gate.toml of `host` say `line` as well."""
        path = host.directory / "gate.toml"
        path.write_text(path.read_text().replace("mode =", f"{line}\nmode =", 1))

    def where(self, host: Host, *, run: bool = False) -> list[str]:
        place = host.place
        words = ["--dir", str(host.directory), "--program", str(place / "keyturn-host"), "--socket", str(place / "ask")]
        if run:
            return words
        service = self.url if host.namespace is None else self.url_for_namespaces
        served = () if host.carried else ("--service", service)
        pinned = (*served, "--root-sha256", self.lab.root_sha256)
        return [*words, "--sshd-config", str(place / "sshd_config"), *pinned]

    def start_gate(self, host: Host, *before: str) -> Process:
        """Run the resident verifier of `host` until it serves; `before` are words that stand before the command."""
        words = [*_inside(host), *before, *KEYTURN, "gate", "host", "run", *self.where(host, run=True)]
        host.gate = self.stack.enter_context(running(words))
        wait_for_file(host.directory / "run" / f"gate-{host.name}.json", host.gate)
        return host.gate

    def start_sshd(self, host: Host) -> Process:
        # Into a file: whoever writes into a pipe that nobody reads stands still, and every login with it.
        words = [*_inside(host), SSHD, "-D", "-E", str(host.log), "-f", str(host.place / "sshd_config")]
        host.sshd = self.stack.enter_context(running(words))
        wait_for("sshd", lambda: "Server listening" in wait_for_file(host.log).decode() or None, host.sshd)
        return host.sshd

    def host(self, name: str = "gpu1", **more: str | Sequence[str] | None) -> Host:
        host = self.install(name, **more)  # type: ignore[arg-type]  # its keywords
        self.start_gate(host)
        self.start_sshd(host)
        return host


BRIDGE, BRIDGE_ADDRESS = "ktbridge", "10.231.7.1"


@contextmanager
def networked(lab: HostsLab) -> Iterator[None]:
    """A bridge that network namespaces join, at whose address the lab's log answers: nothing else of this machine is reached."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        with socket.create_server((BRIDGE_ADDRESS, 0)) as listening:
            threading.Thread(target=_carry, args=(listening, int(lab.url.rpartition(":")[2])), daemon=True).start()
            lab.url_for_namespaces = f"http://{BRIDGE_ADDRESS}:{listening.getsockname()[1]}"
            yield
    finally:
        _ip("link", "del", BRIDGE)


def _join(stack: ExitStack, namespace: str, address: str) -> None:
    """Make the network namespace `namespace` with `address` at the bridge; it ends with `stack`."""
    _ip("netns", "add", namespace)
    stack.callback(_ip, "netns", "del", namespace)
    inside = ("-n", namespace)
    _ip("link", "add", f"v-{namespace}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
    stack.callback(subprocess.run, ["ip", "link", "del", f"v-{namespace}"], capture_output=True, check=False)
    _ip("link", "set", f"v-{namespace}", "master", BRIDGE, "up")
    _ip(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip(*inside, "link", "set", device, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


def _carry(listening: socket.socket, port: int) -> None:
    """Carry each connection to 127.0.0.1:`port`, where the log's service listens."""
    while True:
        try:
            near, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_carry_one, args=(near, port), daemon=True).start()


def _carry_one(near: socket.socket, port: int) -> None:
    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                target.sendall(chunk)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    with near, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join(timeout=10)


@contextmanager
def hosts_lab(
    path: Path,
    *,
    limits: Limits | None = None,
    names: tuple[str, ...] = ("gpu1", "gpu2"),
    bastions: tuple[str, ...] = (),
) -> Iterator[HostsLab]:
    """A lab with hosts `names`, whose witness and log run; hosts are made in it, and end with the block."""
    make_accounts()
    Path("/run/sshd").mkdir(exist_ok=True)  # as Debian's unit of sshd does
    resources: dict[str, tuple[str, ...]] = {"hosts/gpu": (), "hosts/other": ()}
    lab = make_lab(
        humans=("ktada", "bob", "cat", "dan"),
        groups={"ops": ("ktada", "dan"), "security": ("bob", "cat")},
        resources={**resources, **{f"host/{name}": ("hosts/gpu",) for name in names}},
        gates=(*((name, "host") for name in names), *((name, "bastion") for name in bastions)),
        policy={"main": POLICY},
        limits=limits,
        recordings=keyholders(*HOLDERS) if bastions else None,
        now=int(time.time()) - 60,
    )
    place = Path("/run") / f"keyturn-test-{secrets.token_hex(6)}"
    place.mkdir(mode=0o755)
    disk = put_on_disk(lab, path / "lab")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        stack.enter_context(disk.witness())
        service, url = stack.enter_context(disk.log("--behind-proxy"))
        found = HostsLab(disk, place, url, stack, service)

        def published() -> bool | None:
            with suppress(KeyturnError):
                return bool(found.log.checkpoint())
            return None

        wait_for("the first checkpoint", published)
        yield found


def make_accounts() -> None:
    """Make the accounts of the tests, unless they are there."""
    for account in ACCOUNTS:
        try:
            pwd.getpwnam(account)
        except KeyError:
            with suppress(subprocess.CalledProcessError):  # another test process was faster
                subprocess.run(
                    ["useradd", "-m", "-p", "*", "-s", "/bin/bash", account], check=True, capture_output=True
                )


def _inside(host: Host) -> tuple[str, ...]:
    return () if host.namespace is None else ("ip", "netns", "exec", host.namespace)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
