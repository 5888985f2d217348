"""docs/guide/backup.md is run as it stands; and a copy in its order is whole, however fast the log grows meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.wiring.log.log import lab_log, reindex
from service.conftest import make_lab_on_disk
from support.pages import DOCS, run_page
from support.processes import wait_for
from support.signed_records import request

__all__ = ["make_lab_on_disk"]

NOW = int(time.time())


def test_copies_and_what_becomes_of_them_work_as_they_are_written(tmp_path: Path) -> None:
    said = run_page("guide/backup.md", tmp_path)
    for words in (
        "verified   4 entries of acme.example/log",
        "is logged as entry 4",
        "the log has 3 entries, and its witnesses have seen 5",
        "[log-behind-witnesses]",
        "verified   5 entries of acme.example/log",
        "is logged as entry 5",
    ):
        assert words in said, f"{words}\n\n{said}"


def test_a_copy_in_the_pages_order_is_whole_while_the_log_grows(
    make_lab_on_disk: Callable[..., object], tmp_path: Path
) -> None:
    page = (DOCS / "guide" / "backup.md").read_text(encoding="utf-8")
    first, then = page.index("cp -p lab/log/signed lab/log/checkpoint"), page.index("cp -rp lab/log/envelopes")
    assert first < then
    lab = make_lab_on_disk()
    with lab.witness(), lab.log() as (process, url):  # type: ignore[attr-defined]
        stop, written = threading.Event(), []

        def write() -> None:
            log = LogOverHttp(url)
            while not stop.is_set():
                written.append(log.append(request(lab.lab, len(written), at=NOW)))  # type: ignore[attr-defined]

        writer = threading.Thread(target=write)
        writer.start()
        place = lab.path / "log"  # type: ignore[attr-defined]
        sizes = []
        try:
            for number in range(8):
                before = len(written)
                wait_for("the log to grow", lambda: len(written) > before + 5 or None)
                copy = tmp_path / f"copy-{number}"
                shutil.copytree(lab.path, copy, ignore=shutil.ignore_patterns("log", "run", "index.sqlite*"))  # type: ignore[attr-defined]
                (copy / "log").mkdir()
                for name in ("signed", "checkpoint"):
                    shutil.copy(place / name, copy / "log" / name)
                shutil.copytree(place / "envelopes", copy / "log" / "envelopes")
                sizes.append(len(written))
        finally:
            stop.set()
            writer.join()
    for number in range(8):
        reindex(tmp_path / f"copy-{number}")
        with lab_log(tmp_path / f"copy-{number}") as opened:
            assert opened.log.settle().size > 0
    assert sizes == sorted(set(sizes))
