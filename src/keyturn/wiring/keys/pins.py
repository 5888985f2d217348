"""Ask a person for the PIN of a token or security key, at the terminal; scripts name a file in `KEYTURN_UNSAFE_PIN_FILE`.

Whoever keeps a PIN in a file lets whatever runs as him sign: it is for tests and machines, and no other user may read it.
"""

from __future__ import annotations

import os
import stat
import warnings
from getpass import GetPassWarning, getpass
from pathlib import Path

from keyturn.adapters.files.config_files import unreadable
from keyturn.adapters.keys.pin import Pin
from keyturn.errors import Unavailable, Usage

__all__ = ["PIN_VARIABLE", "ask_pin", "ask_security_key_pin"]

PIN_VARIABLE = "KEYTURN_UNSAFE_PIN_FILE"
"""Environment variable naming a file, readable by its owner alone, with the PIN of a token or security key."""

_PIN_BYTES_MAX = 255


def ask_pin(token: str) -> Pin:
    """Ask for the PIN of `token`; `Unavailable` without a terminal, `Usage` for a file that others could read."""
    return _ask(f"token {token}")


def ask_security_key_pin() -> Pin:
    """Ask for the PIN of the security key in use; raises as `ask_pin`."""
    return _ask("your security key")


def _ask(what: str) -> Pin:
    named = os.environ.get(PIN_VARIABLE)
    pin = _from_file(Path(named)) if named else _from_terminal(what)
    if not pin or len(pin.encode("utf-8")) > _PIN_BYTES_MAX or "\0" in pin:
        raise Usage("pin-empty", f"expected a PIN of 1 to {_PIN_BYTES_MAX} bytes")
    return Pin(pin)


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0):
                raise Usage(
                    "pin-file-open", f"`{path}` can be read by others: expected mode 0600", hint=f"chmod 600 {path}"
                )
            return file.read(4 * _PIN_BYTES_MAX).rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError:
        pass  # not `from err`: the error quotes the file
    except OSError as err:
        raise unreadable(path, err) from err
    raise Usage("pin-file-text", f"`{path}`: expected UTF-8", hint=f"write the PIN into {path} again, as it is typed")


def _from_terminal(what: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # else it would be shown while it is typed
        try:
            return getpass(f"PIN of {what}: ")
        except (GetPassWarning, EOFError) as err:
            raise Unavailable(
                "pin-no-terminal",
                f"nobody is there to type the PIN of {what}",
                hint=f"run it at a terminal; for a script, {PIN_VARIABLE} names a file of mode 0600",
            ) from err
