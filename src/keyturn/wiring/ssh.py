"""Join `keyturn ssh` to this machine: the key that `wiring.session_grant` holds, noted for other terminals.

The client is `adapters.hosts.ssh_client`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.held_grants import HeldGrant, held
from keyturn.wiring.session_grant import SessionWish, agreed

__all__ = ["granted", "hold_until"]


@contextmanager
def granted(
    lab: str | None,
    wish: SessionWish,
    *,
    host: str,
    key: str | None,
    agree: Callable[[tuple[tuple[str, str], ...]], None],
    tell: Callable[[str], None],
    within_s: int,
) -> Iterator[HeldGrant]:
    """Ask for what `wish` says of `host`, which `agree` is shown before it is signed, and hold the key once people agreed."""
    with agreed(lab, wish, key=key, agree=agree, tell=tell, within_s=within_s) as session:
        asked = None if wish.session is None else wish.session.account
        account = asked or ("root" if wish.action == "host:root" else session.member)
        grant = HeldGrant(
            version=1, request=session.request, account=account, ends_at=session.ends_at, identity=session.key.path
        )
        with held(host, grant):
            yield grant


def hold_until(ends_at: int) -> None:
    """Return when it is `ends_at`."""
    while (left_s := ends_at - SystemClock().now()) > 0:
        time.sleep(min(left_s, 60))
