"""Join lineage to this machine: whose log and root, and the graph of that log in the home of whoever asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.lineage_graph import LineageGraphFile
from keyturn.app.custody.find_affected import Affected, Interval, find_affected
from keyturn.app.custody.show_lineage import Bounds, ShownLineage, show_lineage
from keyturn.errors import Usage
from keyturn.formats.digest import ArtifactDigest
from keyturn.wiring import typed
from keyturn.wiring.custody.release import artifact_digest
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import log_reader
from keyturn.wiring.log.pinned_log import root_of

__all__ = ["affected_by", "bad_thing", "interval_of", "lineage_of"]

_KEY_ID = re.compile(r"[0-9a-f]{1,64}")
_KEY_ID_DIGITS_MIN = 8


def lineage_of(
    place: LabPlace, artifact: ArtifactDigest, *, bounds: Bounds, progress: Callable[[int, int], None]
) -> ShownLineage:
    """The lineage of `artifact` in the lab's log."""
    with _graph_of(place) as known:
        return show_lineage(artifact=artifact, bounds=bounds, progress=progress, verify=Verifiers().verify, **known)


@contextmanager
def affected_by(
    place: LabPlace, of: ArtifactDigest | str, *, interval: Interval, progress: Callable[[int, int], None]
) -> Iterator[Affected]:
    """What descends from an artifact, or from what the key whose id begins so signed, in the lab's log; to be read inside."""
    with _graph_of(place) as known:
        yield find_affected(of=of, interval=interval, progress=progress, **known)


def bad_thing(named: str) -> ArtifactDigest | str:
    """What `named` means: a digest, the id of a key or how it begins, or the files at a path, hashed now."""
    if not _KEY_ID.fullmatch(named):
        return artifact_digest(named)[0]
    if len(named) < _KEY_ID_DIGITS_MIN:
        raise Usage(
            "key-id-short",
            f"expected a digest, a path, or {_KEY_ID_DIGITS_MIN} digits of a key's id or more, got `{named}`",
            hint=f"a file of that name is ./{named}",
        )
    return named


def interval_of(of: ArtifactDigest | str, since: str | None, until: str | None) -> Interval:
    """When a key was in wrong hands, as typed; `Usage` for anything else than a key."""
    if (since is not None or until is not None) and not isinstance(of, str):
        raise Usage(
            "interval-of-artifact",
            "--since and --until are of what a key signed, and an artifact was named",
            hint="without them: what descends from it descends from it since ever",
        )
    now = SystemClock().now()
    begin, end = (
        None if text is None else typed.instant(option, text, now=now, ago=True)
        for option, text in (("`--since`", since), ("`--until`", until))
    )
    if begin is not None and end is not None and end < begin:
        raise Usage("interval-order", "expected --until at or after --since", hint="keyturn lineage affected --help")
    return Interval(begin, end)


@contextmanager
def _graph_of(place: LabPlace) -> Iterator[dict[str, Any]]:
    home = find_person().home.path
    with log_reader(place) as log:
        root, pin = root_of(place, log)
        with closing(LineageGraphFile(home / "lineage" / f"{pin}.sqlite")) as graph:
            yield {"log": log, "graph": graph, "root_json": root, "pinned_sha256": pin, "now": SystemClock().now()}
