"""Join `keyturn ssh` to this machine: the key that `wiring.access.session_grant` holds, noted for other terminals.

The client is `adapters.hosts.ssh_client`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.held_grants import HeldGrant, held
from keyturn.formats.uri import Uri
from keyturn.wiring.access.session_grant import SessionWish, agreed
from keyturn.wiring.gates.bastions import known_bastion

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
    with agreed(lab, wish, key=key, agree=agree, tell=tell, within_s=within_s) as session, ExitStack() as stack:
        asked, seen = None if wish.session is None else wish.session.account, session.seen
        known = ""
        if wish.bastion is not None:
            front = Uri(seen.trust.lab, "gate", wish.bastion)
            known = stack.enter_context(known_bastion(seen, front)).path
        grant = HeldGrant(
            version=1,
            request=session.request,
            account=asked or ("root" if wish.action == "host:root" else session.member),
            ends_at=session.ends_at,
            identity=session.key.path,
            bastion=wish.bastion or "",
            known_hosts=known,
        )
        with held(host, grant):
            yield grant


def hold_until(ends_at: int) -> None:
    """Return when it is `ends_at`."""
    while (left_s := ends_at - SystemClock().now()) > 0:
        time.sleep(min(left_s, 60))
