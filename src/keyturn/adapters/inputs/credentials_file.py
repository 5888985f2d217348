"""Read a file of whoever runs the builder that has keys or passwords: nobody else may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyturn.errors import Refused

__all__ = ["read_credentials"]

_BYTES_MAX = 64 << 10


def read_credentials(path: Path) -> str:
    """Give its text, or raise `Refused` when others may read it, `OSError` or `UnicodeError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise Refused(
                "credentials-open",
                f"expected a file that its owner alone may read at `{path}`",
                hint=f"chmod 600 {path}",
            )
        return os.read(descriptor, _BYTES_MAX).decode("utf-8")
    finally:
        os.close(descriptor)
