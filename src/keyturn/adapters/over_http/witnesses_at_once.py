"""Ask the witnesses of a log all at once, a thread for each: `ports.Witnesses` over whatever way there is to each of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from keyturn.errors import KeyturnError, Unavailable
from keyturn.ports import Cosigner

__all__ = ["GRACE_S", "WitnessesAtOnce"]

GRACE_S = 1.0
"""How long a witness may take longer than the quorum."""

T = TypeVar("T")


class WitnessesAtOnce:
    """The witnesses that `cosigners` reaches, by name. Thread-safe when they are."""

    def __init__(self, cosigners: Mapping[str, Cosigner]) -> None:
        self._cosigners = cosigners

    def ask(
        self,
        needed: Collection[str],
        welcome: Collection[str],
        question: Callable[[str, Cosigner], T],
        *,
        enough: int,
    ) -> Mapping[str, T | KeyturnError]:
        names = [*needed, *welcome]
        pool = ThreadPoolExecutor(max_workers=len(names))
        try:
            asked = {name: pool.submit(self._answer, name, question) for name in names}
            pending = {asked[name] for name in needed}
            answers = 0
            while pending and answers < enough:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                answers += sum(not isinstance(future.result(), KeyturnError) for future in finished)
            done, _ = wait(asked.values(), timeout=GRACE_S)
            late = Unavailable("witness-late", "the witness did not answer in time")
            return {name: future.result() if future in done else late for name, future in asked.items()}
        finally:
            pool.shutdown(wait=False)  # whoever is late answers to nobody

    def _answer(self, name: str, question: Callable[[str, Cosigner], T]) -> T | KeyturnError:
        cosigner = self._cosigners.get(name)
        if cosigner is None:
            return Unavailable("witness-address", f"no address of the witness `{name}`", hint="keyturn.toml")
        try:
            return question(name, cosigner)
        except KeyturnError as err:
            return err
