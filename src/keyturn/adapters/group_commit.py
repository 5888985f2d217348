"""Make many threads' appends durable with one write and one sync: a queue, and one thread that commits what is in it.

While one group is being synced, the next gathers. If the committing thread dies, whoever waits fails, and so does whoever
comes later: nobody is ever told that something is durable which is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from keyturn.errors import KeyturnError, Unavailable

__all__ = ["GroupCommit", "Waiting"]


class Waiting:
    """One record on its way: what to append, and afterwards its index or the error. `done` is locked until then.

    `rendered` says that `leaf` was rendered here from a leaf that names `digest`.
    """

    __slots__ = ("digest", "done", "envelope", "error", "index", "leaf", "rendered")

    def __init__(self, envelope: bytes, digest: str, leaf: bytes, *, rendered: bool = False) -> None:
        self.envelope = envelope
        self.digest = digest
        self.leaf = leaf
        self.rendered = rendered
        self.index = -1
        self.error: KeyturnError | None = None
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit:
    """Runs `commit` on groups of waiting records, in one thread; each group within `count_max` and `bytes_max`.

    `commit` sets `index` or `error` of each, and raises only when nothing can be committed any more.
    """

    def __init__(self, commit: Callable[[list[Waiting]], None], *, count_max: int, bytes_max: int) -> None:
        self._commit = commit
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._ended: str | None = None
        self._thread = threading.Thread(target=self._run, name="log-commit", daemon=True)
        self._thread.start()

    def submit(self, waiting: Waiting) -> int:
        """Wait until the record is durable, and give its index; or raise why it is not."""
        return self.submit_all((waiting,))[0]

    def submit_all(self, many: Sequence[Waiting]) -> list[int]:
        """Wait until all of `many` are durable; raise why the first that is not is not. The others may be."""
        for waiting in many:
            self._queue.put(waiting)
        if self._ended is not None:
            self._fail_queue()
        for waiting in many:
            waiting.done.acquire()
        for waiting in many:
            if waiting.error is not None:
                raise waiting.error
        return [waiting.index for waiting in many]

    def close(self) -> None:
        """Commit what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        group: list[Waiting] = []
        why = "the log is closed"
        try:
            while (first := self._queue.get()) is not None:
                group = [first]
                last = self._gather(group)
                self._commit(group)
                for waiting in group:
                    waiting.done.release()
                group = []
                if last:
                    break
        except BaseException as err:
            why = f"the committing thread died: {type(err).__name__}"
            raise
        finally:
            self._ended = why
            for waiting in group:
                if waiting.done.locked():
                    self._fail(waiting)
            self._fail_queue()

    def _gather(self, group: list[Waiting]) -> bool:
        size_bytes = len(group[0].envelope)
        while len(group) < self._count_max and size_bytes < self._bytes_max:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                return False
            if waiting is None:
                return True
            group.append(waiting)
            size_bytes += len(waiting.envelope)
        return False

    def _fail_queue(self) -> None:
        while True:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                return
            if waiting is not None:
                self._fail(waiting)

    def _fail(self, waiting: Waiting) -> None:
        waiting.error = Unavailable(
            "log-stopped", f"not appended: {self._ended}", hint="start the log again; then submit the same record again"
        )
        waiting.done.release()
