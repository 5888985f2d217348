"""Talk to one security key as a client does (CTAP 2.1, WebAuthn Level 3 section 5): PIN, touch, and errors as ours.

The client data's origin is the relying party itself, `keyturn:<lab>`: in a terminal nobody else's word for it exists.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, PinRequiredError, UserInteraction
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.pin import ClientPin
from fido2.hid import ConnectionFailure

from keyturn.adapters.keys.pin import Pin
from keyturn.adapters.security_key.devices import say
from keyturn.errors import KeyturnError, Refused, Unavailable

__all__ = ["ANSWER_WITHIN_MS", "AskPin", "client_of", "errors_as_ours"]

ANSWER_WITHIN_MS: Final = 60_000
"""A person finds his security key and touches it."""

AskPin = Callable[[], Pin]

_BROKEN = (CtapError, ConnectionFailure, OSError, ValueError, TypeError, LookupError, AttributeError, struct.error)
"""What the library raises for a device that goes away, or answers with something else than CTAP."""

_WRONG = (CtapError.ERR.PIN_INVALID, CtapError.ERR.PIN_AUTH_INVALID)
_LOCKED = (CtapError.ERR.PIN_BLOCKED, CtapError.ERR.PIN_AUTH_BLOCKED)


class _AtTerminal(UserInteraction):
    def __init__(self, pin: AskPin) -> None:
        self._pin = pin

    def prompt_up(self) -> None:
        say("touch your security key when it blinks")

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str:
        return self._pin().value

    def request_uv(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> bool:
        say("your security key asks for your finger")
        return True


def client_of(device: CtapDevice, *, rp_id: str, pin: AskPin) -> Fido2Client:
    """The client side of `device` for the relying party `rp_id`, with no extensions."""
    collector = DefaultClientDataCollector(rp_id, verify=lambda asked, origin: asked == origin)
    return Fido2Client(device, collector, _AtTerminal(pin), extensions=())


@contextmanager
def errors_as_ours() -> Iterator[None]:
    """Turn what the library raises into errors that say what to do; none carries a PIN."""
    try:
        yield
    except ClientError as err:
        raise _ours(err) from err
    except _BROKEN as err:
        raise _failed(err) from err


def _ours(err: ClientError) -> KeyturnError:
    code = err.cause.code if isinstance(err.cause, CtapError) else None
    if code in _WRONG:
        return Refused(
            "fido2-pin-wrong",
            "wrong PIN for your security key",
            hint="it locks for good after eight wrong ones in a row",
        )
    if code in _LOCKED:
        return Refused(
            "fido2-pin-locked",
            "your security key takes no PIN any more, after too many wrong ones",
            hint="pull it out and put it in again; when that does not help it must be reset, which destroys its keys",
        )
    if code is CtapError.ERR.OPERATION_DENIED:
        return Refused("fido2-denied", "your security key was not allowed to sign", hint="run it again, and touch it")
    match err.code:
        case ClientError.ERR.DEVICE_INELIGIBLE:
            return Refused(
                "fido2-key-absent",
                "the security key that is plugged in does not hold this key",
                hint="plug in the one that was enrolled",
            )
        case ClientError.ERR.TIMEOUT:
            return Unavailable(
                "fido2-timeout", "no security key was touched in time", hint="run it again, and touch it"
            )
        case ClientError.ERR.CONFIGURATION_UNSUPPORTED:
            return _unverifying(err)
        case _ if isinstance(err, PinRequiredError) or code is CtapError.ERR.PIN_NOT_SET:
            return _unverifying(err)
        case _:
            return _failed(err)


def _unverifying(err: ClientError) -> KeyturnError:
    return Refused(
        "fido2-user-unverified",
        "your security key cannot verify who uses it: it has no PIN, or speaks U2F alone",
        hint="set a PIN, as with `fido2-token -S /dev/hidraw0` or `ykman fido access change-pin`",
        detail=repr(err),
    )


def _failed(err: Exception) -> KeyturnError:
    return Unavailable(
        "fido2-failed",
        f"your security key did not do it: {repr(err)[:120]}",
        hint="pull it out, put it in, run it again",
    )
