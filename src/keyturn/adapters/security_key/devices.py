"""Find the security keys that are plugged in, and which of several is meant: the one that holds the key, or that is touched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from threading import Event, Thread
from typing import Final

from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.base import Ctap2
from fido2.hid import CtapHidDevice

from keyturn.errors import Refused, Unavailable

__all__ = ["Devices", "one_of", "plugged_in", "say"]

Devices = Callable[[], Sequence[CtapDevice]]

_TOUCH_WITHIN_S: Final = 60.0


def plugged_in() -> tuple[CtapDevice, ...]:
    """Open every security key on USB that this user may use."""
    return tuple(CtapHidDevice.list_devices())


@contextmanager
def one_of(devices: Devices, *, rp_id: str, credential: bytes | None) -> Iterator[CtapDevice]:
    """The device that is meant: the only one; the only one that holds `credential`; or the one that its holder touches."""
    found = devices()
    try:
        yield _meant(found, rp_id=rp_id, credential=credential)
    finally:
        for device in found:
            device.close()


def say(text: str) -> None:
    """Tell whoever sits at the terminal what to do next; standard output is for what the command says."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _meant(found: Sequence[CtapDevice], *, rp_id: str, credential: bytes | None) -> CtapDevice:
    if not found:
        raise Unavailable(
            "fido2-none",
            "no security key is plugged in that you may use",
            hint="plug it in; on Linux your user needs /dev/hidraw*: apt-get install libfido2-1 brings the udev rules",
        )
    if len(found) == 1:
        return found[0]
    held = [device for device in found if credential is None or _may_hold(device, rp_id, credential)]
    if not held:
        raise Refused(
            "fido2-key-absent",
            f"none of the {len(found)} security keys that are plugged in holds this key",
            hint="plug in the one that was enrolled",
        )
    return held[0] if len(held) == 1 else _touched(held)


def _may_hold(device: CtapDevice, rp_id: str, credential: bytes) -> bool:
    """Ask without a touch. A device that wants its PIN before it says anything may hold it; one that fails does not."""
    try:
        Ctap2(device).get_assertions(
            rp_id, bytes(32), [{"type": "public-key", "id": credential}], options={"up": False}
        )
    except CtapError as err:
        return err.code == CtapError.ERR.PUAT_REQUIRED
    except (ValueError, OSError):
        return False
    return True


def _touched(devices: Sequence[CtapDevice]) -> CtapDevice:
    say(f"{len(devices)} security keys are plugged in: touch the one that you mean")
    decided, answers = Event(), Queue[CtapDevice | None]()

    def wait(device: CtapDevice) -> None:
        try:
            Fido2Client(device, DefaultClientDataCollector("")).selection(decided)
            answers.put(device)
        except (ClientError, CtapError, ValueError, OSError):
            answers.put(None)

    waiting = [Thread(target=wait, args=(device,), daemon=True) for device in devices]
    for one in waiting:
        one.start()
    said = (answers.get() for _ in devices)
    meant = next((device for device in said if device is not None), None)
    decided.set()
    for one in waiting:
        one.join(_TOUCH_WITHIN_S)
    if meant is None:
        raise Unavailable("fido2-timeout", "no security key was touched in time", hint="run it again, and touch one")
    return meant
