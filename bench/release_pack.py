"""Verify a release over 100,000 statements as an outsider does: `verify_pack`, with nothing but the pack and the lab's root.

The pack is a release gate's, over a real log: 50,000 steps, each of which takes what the one before it made, with a signed
request and signed provenance; then an evaluation, two approvals, and the gate's own statements. Making it takes a minute or two.

Beside other work the clock says nothing: compare processor time, which the row names, and of that what one thread does alone
(docs/decisions/0060-speed.md).
"""

from __future__ import annotations

import time

from bench.measure import Row, median_and_spread, row
from keyturn.app.custody.verify_pack import verify_pack
from support.chains import artifact
from support.releases import ReleaseWorld, make_release_world

STATEMENTS = 100_000
ROUNDS = 3


def run(count: int = STATEMENTS) -> list[Row]:
    """Measure on as many cores as there are."""
    made = make_release_world()
    _build(made, count)
    raw, lab = made.released(), made.world.lab
    del made
    took: list[float] = []
    processor: list[float] = []
    for _ in range(ROUNDS):
        began, began_on = time.perf_counter(), time.process_time()
        found = verify_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256).verdict
        took.append(time.perf_counter() - began)
        processor.append(time.process_time() - began_on)
        if found.chain is None or len(found.chain.steps) < count // 2 - 8:
            raise AssertionError("expected the whole chain in the verdict")
    value, spread = median_and_spread(took)
    return [
        row(
            f"verify the pack of a release over {count:,} statements",
            value,
            "s",
            at_most=10,
            peer=f"{len(raw) / 1e6:,.0f} MB; {median_and_spread(processor)[0]:.1f} s of processor time",
            spread=spread,
        )
    ]


def _build(made: ReleaseWorld, count: int) -> None:
    """Log a chain of about `count` statements, whose last step packages the model that is released."""
    chain, before = made.chain, artifact("source")
    for number in range(count // 2 - 4):
        made_of_it = artifact(f"part-{number}")
        chain.step("train" if number else "ingest", {"data": before}, {"out": made_of_it})
        before = made_of_it
    chain.build(before)
    made.sync()
