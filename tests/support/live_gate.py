"""A release gate that runs before a log with a whole chain in it, and what anybody with any key may bring it.

with live_gate(lab, tmp_path) as gate:
    gate.order(gate.ask("ada", key), gate.approval("bob", asked))       # bytes for POST /release
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.custody.make_pack import order_of
from keyturn.app.custody.open_release import make_release_request, open_release, sign_release_request
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats import access, dsse, records, statement
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.digest import Sha256
from keyturn.formats.statement import DigestSet, Subject
from keyturn.grants import bundle as bundles
from keyturn.wiring.log.log import lab_log
from support.chains import AURORA, MadeChain, artifact
from support.lab_on_disk import put_on_disk
from support.labs import Lab
from support.processes import wait_for
from support.signed_records import sign

__all__ = ["LiveGate", "live_gate"]

MODEL = artifact("model")


@dataclass
class LiveGate:
    """The running parts of `lab`: the gate at `url`, a notifier at `notifier`, and their log."""

    lab: Lab
    url: str
    notifier: str
    log: LogOverHttp

    def ask(self, member: str, key: SoftwareKey) -> bytes:
        """A request in the name of `member` to release the model, signed by `key`; it is in the log if that takes it."""
        now = SystemClock().now()
        lab = self.lab
        draft = open_release(
            self.log, root_json=lab.root_json, pinned_sha256=lab.root_sha256, model=MODEL, resource=AURORA, now=now
        )
        made = make_release_request(
            draft,
            requester=member,
            key=lab.member_keys[member].public,
            permit="release",
            resource=AURORA,
            gate=lab.gate_uri("release"),
            justification="it is good",
            ticket="",
            duration_s=3600,
            nonce=os.urandom(16).hex(),
            now=now,
        )
        return self.submit(sign_release_request(draft, made, key))

    def authorization(self, member: str, key: SoftwareKey, asked: bytes, *, decision: str = "approve") -> bytes:
        """An approval or denial of `asked` in the name of `member`, signed by `key`."""
        digest = records.leaf_of(asked).record
        now = int(time.time())
        made = HumanAuthorization(
            lab=self.lab.name,
            nonce=os.urandom(16).hex(),
            approver=member,
            key=self.lab.member_keys[member].public.keyid,
            request=digest,
            trust_version=1,
            decision=decision,  # type: ignore[arg-type]  # one of the two
            reason="looked at",
            signed_at=now,
            expires_at=now + 3600,
        )
        subject = Subject(digest=DigestSet(sha256=Sha256(digest)), name="request")
        return sign(statement.make(made, access.HUMAN_AUTHORIZATION, (subject,)), key)

    def submit(self, raw: bytes) -> bytes:
        """Give `raw` to the log and wait for its witnesses, if the log takes it; it is given back."""
        trust = self.lab.state
        with suppress(KeyturnError):
            await_witnessed(
                self.log,
                index=self.log.append(raw),
                leaf=records.leaf_of(raw),
                log=trust.log,
                limits=trust.limits,
                clock=SystemClock(),
                pause=pause,
                deadline_s=30,
            )
        return raw

    def order(self, asked: bytes, *given: bytes) -> bytes:
        """What is sent to the gate to have the model released."""
        return order_of(bundles.make(dsse.parse_own(asked), tuple(map(dsse.parse_own, given))), path=None)


@contextmanager
def live_gate(lab: Lab, place: Path) -> Iterator[LiveGate]:
    """Run the log, the witness, the gate and a notifier of `lab`, which was founded just now."""
    on_disk = put_on_disk(lab, place / "lab")
    chain = MadeChain(lab, now=int(time.time()))
    chain.build()
    with lab_log(on_disk.path) as opened:
        for raw in chain.records[len(lab.containers) :]:
            opened.admission.submit(raw)
    with on_disk.witness(), on_disk.log() as (_, service):
        log = LogOverHttp(service)
        wait_for("a checkpoint", lambda: _checkpoint(log))
        with on_disk.gate() as (_, gate), on_disk.notifier() as (_, notifier):
            yield LiveGate(lab, gate, notifier, log)


def _checkpoint(log: LogOverHttp) -> bytes | None:
    try:
        return log.checkpoint()
    except KeyturnError:
        return None
