"""The demo's story, part by part. `make demo` plays it for people, and tests/demo plays the same one."""

from __future__ import annotations

from demo import attacks, custody, founding
from demo.founding import DemoLab
from demo.people import Teller
from demo.processes import lab_running

__all__ = ["play"]


def play(teller: Teller) -> DemoLab:
    """Play the whole story below `teller.out`, which is empty; `Stop` at the first thing that goes otherwise than told."""
    teller.say("Profile `demo`: one machine, software keys. It shows the form, not the separation.")
    teller.title("1. Three people found a lab; none of them can do anything alone")
    lab = founding.found(teller)
    teller.title("2. The lab's processes: witness, log service, builder, release gate")
    with lab_running(lab.ada):
        teller.title("3. A real model from real data, each step in a sandbox, with signed provenance")
        custody.build(lab)
        teller.title(
            "4. The release: refused to one person, refused with an AI agent's approval, granted to two people"
        )
        custody.release(lab)
        teller.title("5. Offline, in an empty directory, with the pack and the trust root alone")
        custody.verify_elsewhere(lab)
        teller.title("6. Three attacks")
        attacks.flipped_bit(lab)
        attacks.removed_step(lab)
        attacks.stolen_service(lab)
    return lab
