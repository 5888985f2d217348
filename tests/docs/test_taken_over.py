"""docs/guide/taken-over.md is run as it stands; its attacker, who has the log's disk, is played by a program of this test."""

from __future__ import annotations

import sys
from pathlib import Path

from support.pages import run_page

ROOT = Path(__file__).resolve().parents[2]
ATTACKER = f"""#!{sys.executable}
import sys
from pathlib import Path

sys.path.insert(0, {str(ROOT / "tests")!r})
from keyturn.app.log.publish_checkpoint import confirm_with_witnesses
from keyturn.wiring.log.log import lab_log
from keyturn.wiring.log.witnesses import witnesses_of
from support.hidden import hidden_leaf

lab = Path(sys.argv[1]).resolve()
with lab_log(lab) as opened:
    log = opened.trust().log
    confirm_with_witnesses(opened.log, log=log, witnesses=witnesses_of(lab, log))
    for number, leaf in enumerate(
        (hidden_leaf("tgt", "version:2", number=1), hidden_leaf("sus", "member:ada", number=2, until=2**33))
    ):
        opened.log.append_leaf(b"what was here is gone: %d" % number, leaf)
"""


def test_a_log_is_taken_back_as_it_is_written(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    attacker = programs / "attacker"
    attacker.write_text(ATTACKER)
    attacker.chmod(0o755)
    said = run_page("guide/taken-over.md", tmp_path, programs=programs)
    for words in (
        ": as it should be",  # 3, or 1 while the witnesses have not cosigned them yet
        "version:2",
        "member:ada",
        "what was there yesterday is there",
        "next: keyturn trust propose, sign, publish; then each witness",
        "witness north believes another key",
        "which the lab declared void",
    ):
        assert words in said, f"{words}\n\n{said}"
    assert said.count("is logged as entry") == 3
