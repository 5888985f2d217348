"""Durable appends to a log in PostgreSQL, as durable as it is in production, beside a log on disk: 64 threads each."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from bench.appends import THREADS, each, make, opened_log
from bench.measure import Row, paired, row
from keyturn.adapters.postgres.log import LogInPostgres
from support.postgresql import running_cluster

PER_TURN = THREADS * 60
ROUNDS = 5


def run() -> list[Row]:
    ready = {which: [make(k * PER_TURN, PER_TURN) for k in range(ROUNDS)] for which in ("database", "disk")}
    with (
        tempfile.TemporaryDirectory() as directory,
        opened_log(Path(directory)) as disk,
        running_cluster() as cluster,
        closing(cluster.store().connections()) as connections,
        LogInPostgres(connections) as database,
    ):
        found = paired(
            lambda: each(ready["database"].pop(), lambda record: database.append_leaf(*record)),
            lambda: each(ready["disk"].pop(), lambda record: disk.append_leaf(*record)),
            rounds=ROUNDS,
            calls=1,
        )
    return [
        row("durable appends in PostgreSQL, 64 threads", PER_TURN / found.ours_s, "entries/s"),
        row(
            "durable appends in PostgreSQL / on disk",
            found.rate_ratio,
            "x",
            peer=f"{PER_TURN / found.peer_s:,.0f} entries/s on disk in the same run",
            spread=found.spread * found.rate_ratio**2,
        ),
    ]
