"""Run OpenSSH's own client with the session key of one held grant, and no other key; or write ssh_config(5) for whatever runs it.

It imports little: `keyturn ssh` by a grant that is held is to take no longer than ssh.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.adapters.files.held_grants import HeldGrant
from keyturn.adapters.hosts.foreground import run_in_foreground
from keyturn.errors import Unavailable

__all__ = ["Where", "config_of", "connect", "options"]


@dataclass(frozen=True, slots=True)
class Where:
    """A host by name, and where its sshd is; `options` are for ssh, as its `-o` takes them."""

    host: str
    address: str
    port: int | None
    options: tuple[str, ...]


def connect(where: Where, grant: HeldGrant, command: tuple[str, ...]) -> int:
    """Run ssh with the session key of `grant` alone; gives its exit status."""
    words = ["ssh", *(word for option in _options(grant) for word in ("-o", "=".join(option)))]
    words += [word for option in where.options for word in ("-o", option)]
    words += [] if where.port is None else ["-p", str(where.port)]
    try:
        return run_in_foreground([*words, "--", where.address, *command])
    except FileNotFoundError as err:
        raise Unavailable(
            "ssh-missing", "expected OpenSSH's ssh, found none", hint="apt install openssh-client"
        ) from err


def config_of(where: Where, grant: HeldGrant) -> str:
    """ssh_config(5) for scp, sftp, rsync and whatever else runs ssh, while the grant is held."""
    lines = [f"Host {where.host}", *(f"  {name} {value}" for name, value in _options(grant))]
    lines += [] if where.address == where.host else [f"  HostName {where.address}"]
    lines += [] if where.port is None else [f"  Port {where.port}"]
    return "\n".join((*lines, *(f"  {option.replace('=', ' ', 1)}" for option in where.options)))


def _options(grant: HeldGrant) -> tuple[tuple[str, str], ...]:
    return options(grant.account, grant.identity, alias=grant.bastion, known_hosts=grant.known_hosts)


def options(account: str, identity: str, *, alias: str, known_hosts: str) -> tuple[tuple[str, str], ...]:
    """Come in as `account` with the key `identity` and no other. With a file `known_hosts`, to the host whose key it has under
    `alias`, whatever the address, and to nobody else."""
    plain = (
        ("User", account),
        ("IdentityFile", identity),
        ("IdentitiesOnly", "yes"),
        ("IdentityAgent", "none"),
        ("PreferredAuthentications", "publickey"),
    )
    if not known_hosts:
        return plain
    return (
        *plain,
        ("HostKeyAlias", alias),
        ("UserKnownHostsFile", known_hosts),
        ("GlobalKnownHostsFile", "none"),
        ("StrictHostKeyChecking", "yes"),
        ("UpdateHostKeys", "no"),
    )
