#!/usr/bin/env python3
"""Rotate the key that backups are sealed with, once, when two people granted just that: `rotate_key.py GATE REQUEST KEY`.

GATE is the gate's directory (`keyturn gate script init`), REQUEST the id of a request for `procedure:run` on what RESOURCE names,
and KEY the file with the key. Without a yes nothing is touched: whoever runs this needs the id, and two coworkers.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import keyturn

RESOURCE = "keyturn://acme.example/procedure/rotate-backup-key"
RESEAL = os.environ.get("RESEAL", "true")  # what seals the newest backup again, as long as it may take


def rotate(key: Path, grant: keyturn.Grant) -> None:
    """Make a key, have the backup sealed with it, and put it in the place of the old one, which stays as `.before`."""
    fresh, before = key.with_name(f"{key.name}.fresh"), key.with_name(f"{key.name}.before")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(32))
            os.fsync(file.fileno())
        grant.run(["sh", "-c", RESEAL])  # ended when the grant ends
        grant.require_open()  # and nothing that cannot be undone is done behind its end
        before.unlink(missing_ok=True)
        os.link(key, before)
        fresh.replace(key)
    finally:
        fresh.unlink(missing_ok=True)


def main(directory: str, request: str, key: str) -> int:
    try:
        with (
            keyturn.open_gate(directory) as gate,
            gate.granted(request, action="procedure:run", resource=RESOURCE) as grant,
        ):
            print(f"rotating for {grant.requester}, approved by {' and '.join(grant.approvers)}: {grant.reason}")
            rotate(Path(key), grant)
    except keyturn.KeyturnError as err:  # every no, and whatever could not be found out
        print(f"not rotated: {err}", file=sys.stderr)
        return err.exit_status
    except subprocess.CalledProcessError as err:
        print(f"not rotated: sealing ended with status {err.returncode}", file=sys.stderr)
        return 4
    print("rotated")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: rotate_key.py GATE REQUEST KEY")
    sys.exit(main(*sys.argv[1:]))
