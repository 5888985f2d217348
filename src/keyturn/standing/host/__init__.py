"""Scan one host: what its own files, sshd and sudo let in without a grant."""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.standing.finding import Finding, Scan, gathered
from keyturn.standing.host.accounts import read_accounts
from keyturn.standing.host.gates import scan_gates
from keyturn.standing.host.jobs import scan_jobs
from keyturn.standing.host.logins import scan_logins
from keyturn.standing.host.passwords import scan_passwords
from keyturn.standing.host.privileged_files import scan_path, scan_privileged_files
from keyturn.standing.host.ssh import scan_ssh
from keyturn.standing.host.sudo import scan_doas, scan_sudo
from keyturn.standing.host.tree import HostTools, HostTree

__all__ = ["scan_host"]


def scan_host(tree: HostTree, tools: HostTools) -> Scan:
    """Look at everything that lies below `tree`, and at what `tools` say of it."""
    return gathered(_findings(tree, tools))


def _findings(tree: HostTree, tools: HostTools) -> Iterator[Finding]:
    accounts = yield from read_accounts(tree)
    yield from scan_passwords(tree, accounts)
    yield from scan_ssh(tree, tools, accounts)
    yield from scan_gates(tree)
    yield from scan_sudo(tree, tools, accounts)
    yield from scan_doas(tree)
    yield from scan_jobs(tree, accounts)
    yield from scan_logins(tree, tools, accounts)
    yield from scan_path(tree, accounts)
    yield from scan_privileged_files(tree, accounts)
