"""Keyturn: two-party control and chain of custody for model development.

The rooms, from the outside in: `cli`, `service` and `sdk` are shells; `wiring` joins them to `adapters`
(effects), `gates`, `config` and `app` (use cases, one file each); below `bulk`, `standing` and `ports` lies the core,
which touches no clock, file, socket or randomness: `custody`, `grants`, `policy`, `tlog`, `trust`, `crypto`, `formats`, `errors`.
Access is decided in `grants/verify_grant.py`, by `policy/decide.py`.

Programs use `keyturn.verify_model`, `keyturn.open_gate`, `keyturn.open_step` and their companions (`keyturn.sdk`), which are
imported when they are first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.sdk import (
        Checkpoint,
        Conflict,
        Gate,
        Grant,
        KeyturnError,
        Malformed,
        Refused,
        ReleasedModel,
        Step,
        Tampered,
        Unavailable,
        Usage,
        check_release,
        open_gate,
        open_step,
        verify_model,
        verify_pack,
    )

__all__ = [
    "Checkpoint",
    "Conflict",
    "Gate",
    "Grant",
    "KeyturnError",
    "Malformed",
    "Refused",
    "ReleasedModel",
    "Step",
    "Tampered",
    "Unavailable",
    "Usage",
    "__version__",
    "check_release",
    "open_gate",
    "open_step",
    "verify_model",
    "verify_pack",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # The command line imports this package too, and starts in 150 ms: what verifies is imported by whoever asks for it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keyturn import sdk

    return getattr(sdk, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
