"""What a process that loads a model is told, by its own clock and the copy of the log that it has: little is a yes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from keyturn.formats import dsse, log_part
from sdk.test_verify import Delivery, delivery
from support.labs import NOW

__all__ = ["delivery"]

LOAD = """
import json, sys, keyturn
said = json.loads(sys.argv[1])
after = said.pop("after", None)
try:
    released = keyturn.check_release(**said)
    if after:
        released = keyturn.check_release(**{**said, "log": after, "after": released})
    with released.unchanged() as path:
        weights = (path / "weights.safetensors").read_bytes()
    print("loaded", len(weights))
except keyturn.KeyturnError as err:
    print(err.code, "|", err)
"""


def loaded(delivery: Delivery, clock: int, **changed: object) -> str:
    """What a process whose clock says `clock` seconds after the witnesses' word says."""
    said = {
        "model": delivery.place / "model",
        "pack": delivery.place / "model.pack",
        "log": delivery.place / "release.log-part",
    }
    asked = json.dumps({name: str(value) for name, value in {**said, **delivery.said, **changed}.items()})
    at = time.strftime("@%Y-%m-%d %H:%M:%S", time.localtime(NOW + clock))
    done = subprocess.run(
        ["faketime", "-f", at, sys.executable, "-c", LOAD, asked],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def withdrawn(delivery: Delivery, *, at: int) -> Path:
    """What `carried` gives once somebody took the release back."""
    taken = dsse.render(delivery.made.world.revoke(delivery.asked, "dan"))
    return carried(delivery, "newer.log-part", taken, at=at)


def carried(delivery: Delivery, name: str, *envelopes: bytes, at: int) -> Path:
    """The log from the pack on, as the witnesses cosigned it `at` seconds after the release."""
    world = delivery.made.world
    start = log_part.parse((delivery.place / "release.log-part").read_bytes()).start
    leaves = tuple(world.log.leaves(start, world.log.settle().size))
    part = log_part.LogPart(start=start, note=world.note(at=NOW + at), leaves=leaves, envelopes=envelopes)
    (delivery.place / name).write_bytes(log_part.render(part))
    return delivery.place / name


def test_a_host_loads_by_a_fresh_word_of_the_witnesses_alone(delivery: Delivery) -> None:
    assert loaded(delivery, 3000) == "loaded 4096\n"
    assert "checkpoint-old" in loaded(delivery, 3700), "a copy of the log that was not brought up to date"
    back = loaded(delivery, -7200)
    assert back.startswith("release-state-unknown |"), "a clock that was set back"
    assert "ahead of this clock" in back
    assert loaded(delivery, 3000, log="http://127.0.0.1:9").startswith("release-state-unknown"), (
        "a service that is down"
    )
    assert loaded(delivery, 3000, root_sha256="0" * 64).startswith("trust-root-not-pinned"), "another lab's pack"

    old, again = (carried(delivery, name, at=at) for name, at in (("old.log-part", 600), ("again.log-part", 1200)))
    assert loaded(delivery, 1800, log=old, after=again) == "loaded 4096\n"
    assert "saw that of" in loaded(delivery, 1800, log=again, after=old), (
        "whoever asks again is not shown what was before"
    )
    newer = withdrawn(delivery, at=3600)
    assert loaded(delivery, 3700, log=newer).startswith("release-withdrawn")
    assert loaded(delivery, 3700).startswith("release-state-unknown"), "the copy of before is no yes an hour later"
    assert loaded(delivery, 3000) == "loaded 4096\n", (
        "but with a clock that is set back to when it was one, nobody can tell"
    )
    assert loaded(delivery, 3000, log="http://127.0.0.1:9").startswith("release-state-unknown"), (
        "withdrawn, and nobody says so"
    )
