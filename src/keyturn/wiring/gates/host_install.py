"""Put a host gate on this host: its directory and key, the helper, and sshd's fragment; say first what that closes.

Nothing is started and sshd is not reloaded: whoever installs does both, with a session open to undo it. What sshd then really
does is asked of sshd itself, for root and for every account with a shell, and what it says for some connections alone is read
(`adapters.hosts.sshd_matches`); when any of it is not the gate's, the fragment is taken away again.
"""

from __future__ import annotations

import ipaddress
import pwd
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.config_files import read_small, replace_file, write_new
from keyturn.adapters.files.key_files import read_key, write_key
from keyturn.adapters.hosts import sshd_config
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.config import host_gate as host_config
from keyturn.config.host_gate import HostGateConfig
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats.digest import parse_sha256
from keyturn.formats.uri import Uri
from keyturn.trust.history import TrustHistory
from keyturn.wiring.gates.host import banner_beside, read_config
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX
from keyturn.wiring.log.pinned_log import first_root
from keyturn.wiring.typed import uri

__all__ = ["Installation", "Placed", "closing", "install", "plan"]

OBSERVE_MAX_S = 90 * 86_400
_NO_SHELL = ("nologin", "false", "sync", "shutdown", "halt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where everything goes on this host."""

    directory: Path
    program: Path
    socket: Path
    sshd: Path

    @property
    def fragment(self) -> Path:
        return self.sshd.parent / "sshd_config.d" / "10-keyturn.conf"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is installed: the configuration, and the gate's public key, once it has one."""

    config: HostGateConfig
    history: TrustHistory
    placed: Placed


def plan(
    name: str,
    placed: Placed,
    *,
    host: str | None,
    service: str | None,
    pin: str | None,
    root: Path | None,
    accounts: tuple[str, ...],
    user: str,
    observe_until: int | None,
    behind: tuple[str, ...] = (),
) -> Installation:
    """What would be installed: as `gate.toml` there has it, else as it is typed. The root has the SHA-256 `pin`."""
    now = SystemClock().now()
    if observe_until is not None and not now < observe_until <= now + OBSERVE_MAX_S:
        raise Usage(
            "observe-until", f"expected `--observe-until` within {OBSERVE_MAX_S // 86400} days from now", hint="14d"
        )
    if (placed.directory / "gate.toml").exists():
        config = replace(read_config(placed.directory), observe_until=observe_until)
        raw = read_small(placed.directory / "root.json", size_bytes_max=ROOT_BYTES_MAX)
        return Installation(config, TrustHistory.start(raw, pinned_sha256=config.pinned_root), placed)
    if pin is None or (service is None and root is None):
        raise Usage(
            "host-install",
            "expected --root-sha256, and --service URL or --root-json FILE, for a host that has no gate yet",
            hint="compare the SHA-256 that `keyturn trust log` shows with a coworker; without --service the log is carried",
        )
    raw = (
        read_small(root, size_bytes_max=ROOT_BYTES_MAX) if root is not None else first_root(LogOverHttp(service or ""))
    )
    history: TrustHistory = TrustHistory.start(raw, pinned_sha256=parse_sha256(pin, what="--root"))
    config = HostGateConfig(
        name=name,
        resource=Uri(history.lab, "gate", name),
        host=Uri(history.lab, "host", host or name),
        service=service,
        pinned_root=history.root_sha256,
        user=user,
        accounts=accounts,
        observe_until=observe_until,
        bastions=_bastions(behind, lab=history.lab),
    )
    host_config.parse(host_config.render(config), where="options")
    return Installation(config, history, placed)


def _bastions(behind: tuple[str, ...], *, lab: str) -> dict[str, tuple[str, ...]]:
    """Read what was typed as `front=10.1.0.5/32`; several networks of one bastion are typed one by one."""
    found: dict[str, tuple[str, ...]] = {}
    for text in behind:
        name, equals, network = text.partition("=")
        try:
            networks = (str(ipaddress.ip_network(network)),) if equals else ()
        except ValueError:
            networks = ()
        if not networks:
            raise Usage(
                "bastion-networks",
                f"--behind: expected a bastion and a network, got `{text[:80]}`",
                hint="--behind front=10.1.0.5/32",
            )
        gate = str(uri("--behind", f"gate/{name}", lab=lab))
        found[gate] = (*found.get(gate, ()), *networks)
    return found


def closing() -> tuple[str, ...]:
    """The doors of this host that are closed when sshd is reloaded, as far as they are files that can be read here."""
    found = []
    for entry in pwd.getpwall():
        for name in ("authorized_keys", "authorized_keys2"):
            path = Path(entry.pw_dir) / ".ssh" / name
            try:
                keys = [
                    line for line in path.read_text(errors="replace").splitlines() if line.strip()[:1] not in ("", "#")
                ]
            except OSError:
                continue
            if keys:
                found.append(f"{entry.pw_name}: {len(keys)} keys in {path}")
    return (*found, "every account: its password, Kerberos ticket, host-based trust, and certificates of any CA")


def install(installation: Installation) -> SoftwareKey:
    """Do it, and give the gate's key, whose public part targets must list; undone as far as sshd does not do what it should."""
    placed, config = installation.placed, installation.config
    _make_user(config.user)
    if not (placed.directory / "gate.toml").exists():
        placed.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (placed.directory / "key").exists():
            write_key(placed.directory / "key", SoftwareKey.generate(), passphrase=None)
        replace_file(placed.directory / "root.json", installation.history.root.raw)
        write_new(placed.directory / "gate.toml", host_config.render(config))
    elif read_config(placed.directory) != config:  # from observing to enforcing, or back
        replace_file(placed.directory / "gate.toml", host_config.render(config))
    sshd_config.write_root_file(placed.program, sshd_config.helper_text(placed.socket), mode=0o755)
    sshd_config.require_runs(placed.program, user=config.user)
    sshd_config.write_root_file(
        placed.fragment,
        sshd_config.observing(placed.program, user=config.user)
        if config.observes
        else sshd_config.fragment(placed.program, user=config.user, banner=banner_beside(placed.socket)),
        mode=0o644,
    )
    try:
        _require_one_door(placed, config)
    except (Refused, Unavailable):
        placed.fragment.unlink()
        raise
    return read_key(placed.directory / "key", passphrase=None)


def _require_one_door(placed: Placed, config: HostGateConfig) -> None:
    for_some = sshd_config.conditional(placed.sshd, program=placed.program, user=config.user, observes=config.observes)
    if for_some:
        raise Refused(
            "sshd-other-door",
            f"sshd would let some in without the gate, or by more than it allows: expected {'; '.join(for_some[:20])}",
            hint=f"no Match block of {placed.sshd}, nor of a file that it includes, may say otherwise",
        )
    with_shell = [e.pw_name for e in pwd.getpwall() if Path(e.pw_shell).name not in _NO_SHELL]
    for account in ("root", *with_shell[:50]):
        others = sshd_config.effective(
            placed.sshd, program=placed.program, user=config.user, account=account, observes=config.observes
        )
        if others:
            raise Refused(
                "sshd-other-door",
                f"sshd would let `{account}` in without the gate, or by more than it allows: expected {'; '.join(others)}",
                hint=f"{placed.sshd} must include {placed.fragment} first, and no Match block may say otherwise",
            )


def _make_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
        return
    except KeyError:
        words = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as err:
        raise Unavailable("host-user", f"cannot make the user `{name}`: {err}", hint=" ".join(words)) from err
