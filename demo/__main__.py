"""Show the main job on real input, from nothing, in under three minutes: `make demo`.

1. three people found a lab; 2. its processes run; 3. a model is trained under custody; 4. its release is refused, refused, and
granted; 5. somebody verifies it with the pack and the root alone; 6. three attacks are caught and named.

Everything is left in demo-out/: lab/, model/, model.pack, root.json, and work/ with the steps. Profile `demo`: one machine, and
software keys that approve, which every verdict says.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from demo.people import Stop, Teller
from demo.scenario import play

OUT = Path(__file__).resolve().parents[1] / "demo-out"


def main() -> None:
    """Run the demo in demo-out/, which is made anew."""
    begin = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    teller = Teller(OUT)
    try:
        play(teller)
    except Stop as err:
        sys.exit(f"\nthe demo stopped: {err}")
    (OUT / "transcript.txt").write_text(teller.transcript(), encoding="utf-8")
    print(f"\nDone in {time.monotonic() - begin:.0f} s. Everything is in {OUT.name}/. Try next:")
    for line in (
        f".venv/bin/keyturn verify {OUT.name}/model --pack {OUT.name}/model.pack --root {OUT.name}/root.json",
        f"export KEYTURN_HOME={OUT.name}/homes/ada    # you are Ada now",
        ".venv/bin/keyturn lineage show demo-out/model",
        ".venv/bin/keyturn policy check",
        ".venv/bin/keyturn log show",
    ):
        print(f"    {line}")


if __name__ == "__main__":
    main()
