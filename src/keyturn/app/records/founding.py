"""Say that a lab is founding, and so what cannot be done yet, with what to type next."""

from __future__ import annotations

from keyturn.errors import Refused

__all__ = ["founding"]


def founding(
    what: str,
    *,
    hint: str = "keyturn trust propose, unless that was done; keyturn trust sign by each founder; then keyturn trust publish",
) -> Refused:
    """The lab is founding, so `what`. Without `hint` it says all that is left, for where nobody sees how far it is."""
    return Refused("trust-founding", f"the lab is founding: {what}", hint=hint)
