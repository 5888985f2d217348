"""A builder that is killed at its n-th write, and the one that starts after it: for each n until the first one lives.

    python -m support.killed DIRECTORY      # prints one JSON object for each point

Each builder is a process of its own, forked from this one, over the same directories: a log on disk, and what builders keep.
What it was killed before is each durable write of the builder's own, each sync of what the command left, each append to the log,
and each step of publishing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from keyturn.adapters.files import durable_files, settling, step_files
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.over_http.builder_over_http import Order
from keyturn.errors import Unavailable
from keyturn.formats import dsse, leaf
from keyturn.service.builder_service import BuilderService
from support.builders import Place
from support.evaluations import criteria
from support.labs import make_lab

_SCRIPT = 'echo \'{\\"bits-per-byte\\": \\"3.25\\"}\' > /out/measurement'

F = TypeVar("F", bound=Callable[..., Any])


def main() -> None:
    root, point, lived = Path(sys.argv[1]), 0, False
    while not lived:
        point += 1
        place = root / str(point)
        place.mkdir()
        lived = _forked(partial(_first, place, point)) == 0
        _forked(partial(_second, place))


def _forked(run: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # the last border of a process
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _first(root: Path, point: int) -> None:
    left = [point]

    def killing(function: F) -> F:
        def killed(*given: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                (root / "before").write_text(function.__name__)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **more)

        return killed  # type: ignore[return-value]

    with closing(IndexSqlite(root / "index.sqlite")) as index, LogOnDisk(root / "log", index) as log:
        for module, names in (
            (durable_files, ("create", "replace")),
            (step_files, ("_move", "clear")),
            (settling, ("sync",)),
        ):
            for name in names:
                setattr(module, name, killing(getattr(module, name)))
        log.append = killing(log.append)  # type: ignore[method-assign]
        place, order = _ordered(root, log)
        service = BuilderService(place.parts())
        service.start()
        service.state(service.order(order).job, wait_s=60)
        service.stop()


def _second(root: Path) -> None:
    with closing(IndexSqlite(root / "index.sqlite")) as index, LogOnDisk(root / "log", index) as log:
        place, order = _ordered(root, log)
        service = BuilderService(place.parts())
        service.start()
        job = dsse.parse_own(order.request).record_digest
        try:
            state = service.state(job, wait_s=60)
        except Unavailable:
            state = service.state(service.order(order).job, wait_s=60)
        service.stop()
        log.settle()
        found = {
            "state": state.state,
            "error": None if state.error is None else state.error.code,
            "attempt": state.attempt,
            "kinds": [leaf.parse(raw).kind for raw in log.leaves(0, log.size)],
            "made": sorted(path.name for path in place.out.iterdir()) if place.out.exists() else [],
            "left": [path.name for path in place.work.iterdir() if path.name.endswith(".keyturn")]
            + [path.name for path in (root / "lab" / "builder" / "jobs").iterdir()],
            "history": state.history,
            "before": (root / "before").read_text() if (root / "before").exists() else "",
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def _ordered(root: Path, log: Any) -> tuple[Place, Order]:
    place = Place(root, make_lab(humans=("ada", "bob")), log=log)
    rule, digest = criteria(place)
    raw = place.step_file(_SCRIPT, build="evaluate", outputs=("measurement",), name="model")
    return place, place.order(raw, criteria=rule, criteria_digest=digest)


if __name__ == "__main__":
    main()
