"""Write the line of authorized_keys that lets one key in by one grant, with what the grant allows and nothing else.

`restrict` turns everything off, also what a later OpenSSH adds; what the grant has is turned on behind it. The command is
always a forced one, so that sftp is what the grant says and every session runs below the gate's own program
(`adapters.hosts.sshd_helper`). sshd(8), AUTHORIZED_KEYS FILE FORMAT; `expiry-time` with `Z` needs OpenSSH 9.1, and an older one
refuses the key.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import msgspec

from keyturn.crypto import sshsig
from keyturn.crypto.keys import PublicKey
from keyturn.formats.sshsig import render_public_line
from keyturn.gates.host.door import Opened

__all__ = ["authorized_key"]


def authorized_key(opened: Opened, key: PublicKey, *, program: str) -> str:
    """The line for `key`; `program` is the path of the gate's program that runs what a session asks for."""
    terms = opened.terms
    until = datetime.fromtimestamp(opened.ends_at, UTC).strftime("%Y%m%d%H%M%SZ")
    options = ["restrict", "pty", f'expiry-time="{until}"']
    if opened.sources:
        options.append(f'from="{",".join(opened.sources)}"')
    if terms is not None and terms.forwards:
        options.append("port-forwarding")
        options += [f'permitopen="{destination}"' for destination in terms.forwards]
    said = {
        "grant": f"{'rcv' if opened.how == 'recovery' else 'req'}-{opened.digest[:32]}",
        "by": list(opened.approvers),
        "until": opened.ends_at,
        "command": None if terms is None else terms.command,
        "sftp": terms is not None and terms.sftp,
    }
    words = base64.urlsafe_b64encode(msgspec.json.encode(said)).decode("ascii")
    options.append(f'command="{program} session {words}"')
    return f"{','.join(options)} {render_public_line(sshsig.ssh_key(key, application=None))}"
