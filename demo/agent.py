"""Ada's AI agent signs an approval by itself: it holds its own key, and needs no client that stops it."""

from __future__ import annotations

import os
import time

from demo.doors import attempt, process_url, write_past_admission
from demo.founding import DemoLab
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.app.custody.make_pack import order_of
from keyturn.app.records.sign_record import about
from keyturn.config.person import Home
from keyturn.crypto import dsse_signing
from keyturn.formats import access, dsse, statement
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.grants import bundle as bundles
from keyturn.wiring.log.log import lab_log

__all__ = ["approves_by_itself"]


def approves_by_itself(lab: DemoLab, request: str) -> None:
    """Sign an approval of `request` with the agent's own key, have the log's owner take it in, and go to the release gate."""
    directory = lab.out / "lab"
    key = read_key(Home(lab.coder.home).member_key, passphrase=None)
    with lab_log(directory) as service:
        (found,) = service.index.by_record(request.removeprefix("req-"), "req")
        asked = dsse.parse_own(service.log.envelope(found.envelope))
        made = statement.parse(asked.payload, AccessRequest, access.ACCESS_REQUEST).predicate
        now = int(time.time())
        approval = HumanAuthorization(
            lab=made.lab,
            nonce=os.urandom(16).hex(),
            approver="ada+coder",
            key=key.public.keyid,
            request=asked.record_digest,
            trust_version=made.trust_version,
            decision="approve",
            reason="looks good to me",
            signed_at=now,
            expires_at=made.not_after,
        )
        payload = statement.make(approval, access.HUMAN_AUTHORIZATION, about(asked.record_digest))
        given = dsse_signing.sign(payload, key)
        write_past_admission(service, given)
    order = order_of(bundles.make(asked, (given,)), path=None)
    gate = ReleaseOverHttp(process_url(directory, "gate-release"))
    attempt(
        lab,
        "Its client will not, so it signs an approval by itself; whoever runs the log takes it in; and it goes to the gate",
        lambda: gate.release(order),
    )
