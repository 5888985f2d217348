"""Join `keyturn ssh` to this machine: who asks, and the key in memory. The client is `adapters.hosts.ssh_client`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.files.held_grants import HeldGrant, held
from keyturn.adapters.keys.session_key import SessionKey
from keyturn.adapters.over_http.bastion_over_http import bastion_terms
from keyturn.app.access.await_grant import await_grant
from keyturn.app.access.request_access import Wish, draft_request, of_resource, request_access, require_hope, shown
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Unavailable
from keyturn.formats.session_terms import BastionTerms
from keyturn.grants.bastion import require_bastion
from keyturn.wiring.grants import Viewed, desk, wait_until_in_force
from keyturn.wiring.typed import session_terms, uri

__all__ = ["HostWish", "granted", "hold_until"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWish:
    """What somebody wants of a host. What is None is chosen by the policy's one permit that fits."""

    host: str
    gate: str
    root: bool
    account: str | None
    sources: tuple[str, ...]
    command: str | None
    sftp: bool
    forwards: tuple[str, ...]
    bastion: str | None
    reason: str
    ticket: str
    duration_s: int | None
    permit: str | None
    urgent: bool


@contextmanager
def granted(
    lab: str | None,
    wish: HostWish,
    *,
    key: str | None,
    agree: Callable[[tuple[tuple[str, str], ...]], None],
    tell: Callable[[str], None],
    within_s: int,
) -> Iterator[HeldGrant]:
    """Ask for what `wish` says, which `agree` is shown before it is signed, and hold the key once people agreed."""
    with SessionKey() as session:
        with desk(lab, key=key) as here:
            seen, hand = here.seen, here.hand
            terms = session_terms(
                account=wish.account,
                sources=wish.sources,
                command=wish.command,
                sftp=wish.sftp,
                forwards=wish.forwards,
                bastion=None if wish.bastion is None else _bastion(seen, wish.bastion, session.public),
            )
            made = draft_request(
                Wish(
                    requester=hand.member,
                    beneficiary=None,
                    action="host:root" if wish.root else "host:shell",
                    resource=uri("HOST", f"host/{wish.host}", lab=seen.trust.lab),
                    gate=uri("`--gate`", f"gate/{wish.gate}", lab=seen.trust.lab),
                    permit=wish.permit,
                    justification=wish.reason,
                    ticket=wish.ticket,
                    duration_s=wish.duration_s,
                    not_before=None,
                    pending_s=None,
                    session_key=session.public.text,
                    bytes_max=None,
                    follows=None,
                    urgent=wish.urgent,
                    session=terms,
                ),
                seen.policy,
                keyid=hand.key.public.keyid,
                clock=hand.clock,
                entropy=hand.entropy,
            )
            if terms is not None and terms.bastion is not None:
                require_bastion(made, terms.bastion, seen.trust)
            require_hope(made, seen.policy, gates=seen.trust.gates, now=seen.now)
            agree(shown(made, of_resource(made)))
            logged = request_access(made, subjects=of_resource(made), key=hand.key, log=hand.log)
            wait_until_in_force(seen, logged)
            tell(f"{logged.id}: asked; a coworker now runs `keyturn approve {logged.id[:12]}`")
            live = await_grant(
                seen.view,
                seen.reader,
                logged.digest,
                clock=SystemClock(),
                pause=pause,
                within_s=within_s,
                changed=lambda one: tell(f"approved by {', '.join(one.approvers)}") if one.approvers else None,
            )
        if live.window is None:
            raise Unavailable("grant-waits", f"`{logged.id}` has no window yet", hint=f"keyturn grant show {logged.id}")
        account = wish.account or ("root" if wish.root else hand.member)
        grant = HeldGrant(
            version=1, request=logged.id, account=account, ends_at=live.window.ends_at, identity=session.path
        )
        with held(wish.host, grant):
            yield grant


def _bastion(seen: Viewed, name: str, session_key: PublicKey) -> BastionTerms:
    url = seen.place.processes().get(f"gate-{name}")
    if url is None:
        raise Unavailable(
            "gate-address",
            f"no address of the bastion `{name}` is known",
            hint=f"its address belongs in the `[processes]` of the lab's keyturn.toml, as gate-{name}",
        )
    return bastion_terms(url, session_key)


def hold_until(ends_at: int) -> None:
    """Return when it is `ends_at`."""
    while (left_s := ends_at - SystemClock().now()) > 0:
        time.sleep(min(left_s, 60))
