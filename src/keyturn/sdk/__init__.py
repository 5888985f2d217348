"""What `import keyturn` shows: the few names that other programs use, with nothing of the command line or the services.

They are stable from version to version; every other module may change. Documented, with an example that runs: docs/sdk.md.
"""

from __future__ import annotations

from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage
from keyturn.sdk.gate import Gate, Grant, open_gate
from keyturn.sdk.step import Checkpoint, Step, open_step
from keyturn.sdk.verify import ReleasedModel, check_release, verify_model, verify_pack

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
    "check_release",
    "open_gate",
    "open_step",
    "verify_model",
    "verify_pack",
]
