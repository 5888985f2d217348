"""Verified submissions end to end: parsed, signer looked up, signature verified, quota charged, durable in the log.

The peer checks the same signatures over the same bytes on the same threads, and nothing else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.appends import THREADS, each, opened_log
from bench.measure import Row, paired, row
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.crypto.dsse_signing import verify_one
from keyturn.formats import dsse
from support.labs import NOW, make_lab
from support.signed_records import request

PER_TURN = THREADS * 50
ROUNDS = 5


class _Stopped:
    """A clock that stands still: quotas are not what is measured."""

    def now(self) -> int:
        return NOW


def run() -> list[Row]:
    lab = make_lab()
    key = lab.member_keys["ada"].public
    turns = [
        [request(lab, first + number, at=NOW) for number in range(PER_TURN)]
        for first in range(0, PER_TURN * ROUNDS, PER_TURN)
    ]
    checks = [dsse.parse_own(raw) for raw in turns[0]]
    with tempfile.TemporaryDirectory() as directory, opened_log(Path(directory)) as log:
        index = IndexSqlite(Path(directory) / "index.sqlite")
        admission = Admission(
            log=log,
            reader=log,
            index=index,
            root_sha256=lambda: lab.root_sha256,
            clock=_Stopped(),
            quotas=Quotas(records=10**9),
        )
        for container in lab.containers:
            admission.submit(container)
        found = paired(
            lambda: each(turns.pop(), admission.submit),
            lambda: each(checks, lambda envelope: verify_one(envelope, key)),
            rounds=ROUNDS,
            calls=1,
        )
        index.close()
    return [
        row(
            "verified submissions end to end / raw verification",
            found.rate_ratio,
            "x",
            at_least=0.7,
            peer=f"{PER_TURN / found.peer_s:,.0f} Ed25519 checks/s on the same {THREADS} threads",
            spread=found.spread * found.rate_ratio**2,
        ),
        row("verified submissions end to end", PER_TURN / found.ours_s, "records/s"),
    ]
