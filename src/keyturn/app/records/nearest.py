"""Say what somebody may have meant by a name that is not there: the one that is nearest, and what there is.

Only for people, in hints. Nothing is ever done about a name but the one that was typed.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

__all__ = ["meant"]

_SHOWN_MAX = 400


def meant(typed: str, known: Collection[str], *, what: str) -> str:
    """A hint.

    >>> meant("weights:raed", ("host:shell", "weights:read"), what="actions")
    'did you mean `weights:read`? actions: host:shell, weights:read'
    >>> meant("zzz", (), what="permits")
    'there are no permits'
    """
    if not known:
        return f"there are no {what}"
    near = get_close_matches(typed[:200], sorted(known), n=1)
    return (f"did you mean `{near[0]}`? " if near else "") + f"{what}: {', '.join(sorted(known))}"[:_SHOWN_MAX]
