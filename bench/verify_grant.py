"""Measure `verify_grant` with two approvals against its raw signature checks plus one Cedar evaluation of the same question.

Both sides run in turns, under a policy set of 100 parsed policies. The peer verifies the request's and the two approvals'
signatures with the very same keys, and asks cedarpy once with handles that were parsed before.
"""

from __future__ import annotations

import time

import cedarpy

from bench.measure import Row, median_and_spread, paired, percentile, row
from keyturn.formats.dsse import pae
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from support.world import make_world

POLICIES = 100
ROUNDS = 41
CALLS = 400


def run() -> list[Row]:
    """Give the ratio and the median time."""
    policy = "\n".join(
        f"""@id("{name}") @quorum("1 weights-owners + 1 security") @duration_max("2h") @pending_max("8h")
        permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"{model}")
        when {{ context.time.weekday < 8 }};"""
        for name, model in [("weights-read", "aurora"), *((f"other-{n}", f"m{n}") for n in range(POLICIES - 1))]
    )
    resources: dict[str, tuple[str, ...]] = {"model/aurora": (), **{f"model/m{n}": () for n in range(POLICIES - 1)}}
    world = make_world(policy={"main": policy}, resources=resources)
    asked = world.ask()
    given = [world.approve(asked, who) for who in ("bob", "eve")]
    view, bundle, session = world.view(), world.bundle(asked, *given), world.session.public
    signed = [
        (world.key(who).public, one.signatures[0].sig, pae(one.payload_type, one.payload))
        for who, one in zip(("ada", "bob", "eve"), (asked, *given), strict=True)
    ]
    loaded = view.shelf.policy(world.lab.state)
    question = {
        "principal": {"type": "Human", "id": "ada"},
        "action": {"type": "Action", "id": "weights:read"},
        "resource": {"type": "Model", "id": "aurora"},
        "context": {
            "request": {"duration_s": 3600, "for_other": False, "renewal": False},
            "time": {"hour": 14, "weekday": 1},
        },
    }

    def ours() -> None:
        verify_grant(bundle, view, now=world.now, gate=world.gate, session_key=session, facts=NO_FACTS)

    def peer() -> None:
        for key, signature, message in signed:
            key.verify(signature, message)
        answer = cedarpy.is_authorized(question, loaded.policies, loaded.entities, loaded.schema)
        assert answer.allowed

    found = paired(ours, peer, rounds=ROUNDS)
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        ours()
        times.append((time.perf_counter() - begin) * 1000)
    return [
        row(
            "verify_grant, 2 approvals, 100 policies: against signatures and Cedar alone",
            found.ratio,
            "x",
            at_most=1.4,
            peer=f"3 Ed25519 verifications and 1 cedarpy evaluation, {found.peer_s * 1e6:.0f} us",
            spread=found.spread,
        ),
        row(
            "verify_grant, 2 approvals, p50",
            percentile(times, 50),
            "ms",
            at_most=1.2,
            spread=median_and_spread(times)[1],
        ),
    ]
