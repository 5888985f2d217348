"""The whole scenario of the demo, in order: the same that a test plays."""

from __future__ import annotations

from pathlib import Path

from demo import attacks, custody, founding
from demo.people import say, title
from demo.processes import lab_running

__all__ = ["play"]


def play(out: Path) -> None:
    """Play the scenario below the empty directory `out`; `Stop` when anything ends otherwise than it should."""
    say("profile: demo. One machine and software keys: the form, not the separation; every verdict says so.")
    title("1. Three people found a lab; none of them can do anything alone")
    lab = founding.found(out)
    title("2. The lab's processes: witness, log service, builder, release gate")
    with lab_running(lab.ada, out / "lab"):
        title("3. A real model from real data, each step in a sandbox, with signed provenance")
        model = custody.build(lab)
        title("4. The release: refused to one person, refused with an AI agent's approval, granted to two people")
        request = custody.release(lab, model)
        title("5. Offline, in an empty directory, with the pack and the trust root alone")
        custody.verify_elsewhere(lab)
        title("6. Three attacks, each caught and named")
        attacks.flipped_bit(lab)
        attacks.removed_step(lab)
        attacks.stolen_service(lab, request)
