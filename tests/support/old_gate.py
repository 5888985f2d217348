"""Take an old snapshot of a lab's gate and start it, before the log as it is, or before one that stands still."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from keyturn.formats.dsse import Envelope
from support.commands import KEYTURN
from support.lying_log import serving_lies
from support.processes import running, wait_for_file
from support.taken_lab import TakenLab, code_of

__all__ = ["approved", "frozen", "snapshot", "started"]


def approved(lab: TakenLab) -> tuple[Envelope, list[Envelope]]:
    """A release request that Bob and Carol approved."""
    asked = lab.ask()
    given = [lab.approval(asked, member) for member in ("bob", "carol")]
    lab.submit(*given)
    return asked, given


def snapshot(lab: TakenLab, place: Path) -> Path:
    """Everything that the gate's machine holds, as of now."""
    shutil.copytree(lab.lab / "gates", place / "gates")
    shutil.copy(lab.lab / "keyturn.toml", place)
    return place


@contextmanager
def started(lab: TakenLab, place: Path, *, log: str) -> Iterator[str]:
    """Start the gate of a snapshot, whose log is at `log`; gives its address."""
    config = place / "gates" / "release" / "gate.toml"
    config.write_text(config.read_text().replace("[release]", f'service = "{log}"\n\n[release]'))
    words: list[str | Path] = [*KEYTURN, "gate", "serve", "release", "--lab", place]
    with running(words, environment={"KEYTURN_HOME": str(lab.home("nobody"))}) as process:
        yield json.loads(wait_for_file(place / "run" / "gate-release.json", process))["url"]


@contextmanager
def frozen(lab: TakenLab, place: Path) -> Iterator[Future[set[str]]]:
    """Order what was granted, and revoked since, at an old gate before a log that shows what it showed then.

    The gate looks for its own nonce for half a minute: the future gives the codes of what it says in the end.
    """
    asked, given = approved(lab)
    snapshot(lab, place)
    then = lab.log.checkpoint()
    lab.by("bob", "grant", "revoke", f"req-{asked.record_digest[:32]}", "--reason", "enough", "--yes")

    def lie(method: str, path: str, body: bytes) -> bytes | None:
        return then if path == "/checkpoint" else b'{"index":1}' if path == "/submit" else None

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        url = stack.enter_context(started(lab, place, log=stack.enter_context(serving_lies(lab.url("service"), lie))))
        yield pool.submit(lambda: code_of(lambda: lab.release(asked, *given, url=url)))
