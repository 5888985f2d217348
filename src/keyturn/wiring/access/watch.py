"""Join `keyturn grant watch` to this machine: who watches, with a key in memory. The client is `adapters.hosts.watch_client`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keyturn.adapters.hosts import ssh_client
from keyturn.adapters.keys.session_key import SessionKey
from keyturn.adapters.over_http.bastion_over_http import will_watch
from keyturn.app.access.authorize import Pending, find_pending
from keyturn.app.records.sign_record import about
from keyturn.crypto import dsse_signing
from keyturn.errors import Refused
from keyturn.formats import dsse, statement
from keyturn.formats.uri import Uri
from keyturn.formats.watch import WATCH, Watch
from keyturn.grants.bastion import bastion_of
from keyturn.wiring.access.grants import pen
from keyturn.wiring.gates.bastions import bastion_url, known_bastion

__all__ = ["watching"]


@contextmanager
def watching(
    lab: str | None, which: str, *, key: str | None, agree: Callable[[Pending], None]
) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Say to the bastion of the request `which` that one watches, once `agree` returned; gives its name, and how ssh comes in."""
    with pen(lab, approving=True, key=key, payload=None) as own, SessionKey() as session:
        seen = own.seen
        pending = find_pending(seen.view, which)
        bastion = bastion_of(pending.made)
        if bastion is None or pending.made.session is None or pending.made.session.watcher is None:
            raise Refused(
                "watch-none",
                f"{pending.id} asks for nobody who watches",
                hint="keyturn ssh HOST --bastion NAME --watched-by group:NAME asks for it",
            )
        gate = Uri.parse(bastion.gate)
        with known_bastion(seen, gate) as known:
            agree(pending)
            said = Watch(
                lab=seen.trust.lab,
                nonce=own.entropy.nonce(),
                member=own.member,
                key=own.key.public.keyid,
                request=pending.digest,
                gate=bastion.gate,
                session_key=session.public.text,
                signed_at=own.clock.now(),
            )
            signed = dsse_signing.sign(statement.make(said, WATCH, about(pending.digest)), own.key)
            will_watch(bastion_url(seen, gate.name), dsse.render(signed))
            yield gate.name, ssh_client.options("watch", session.path, alias=gate.name, known_hosts=known.path)
