"""How much one signer may append to the log within a window of time.

What takes access away has a quota of its own, which asking for access cannot use up. What one address may cost, signed or not,
is another thing: `service.rates`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from keyturn.errors import Refused
from keyturn.formats.leaf import NEGATIVES, Leaf

__all__ = ["Quota", "Quotas"]

_CHARGED_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class Quotas:
    """Records that one signer may append within `window_s`: of any kind but negatives, and negatives. A large record counts
    once for each 16 KiB that it begins."""

    records: int = 2000
    negatives: int = 500
    window_s: int = 3600


class Quota:
    """When each signer appended, within the window; forgets with the process, and then a signer may begin again."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._lock = threading.Lock()
        self._used: dict[tuple[str, bool], _Used] = {}

    def charge(self, signer: str, leaf: Leaf, *, size_bytes: int, now: int) -> None:
        """Charge one record, unless it was charged within the window; `Refused` `quota` when too little is left."""
        negative = leaf.kind in NEGATIVES
        limit = self._quotas.negatives if negative else self._quotas.records
        cost = -(-size_bytes // _CHARGED_BYTES)
        with self._lock:
            used = self._used.setdefault((signer, negative), _Used())
            used.forget(now - self._quotas.window_s)
            if leaf.envelope in used.records:
                return
            if used.total + cost > limit:
                raise Refused(
                    "quota",
                    f"`{signer}` appended {used.total} {'negatives' if negative else 'records'} within "
                    f"{self._quotas.window_s} s: {limit} is the most",
                    hint="wait; what takes access away has a quota of its own",
                    retry_after_s=used.room_in_s(now, self._quotas.window_s),
                )
            used.records[leaf.envelope] = (now, cost)
            used.total += cost


@dataclass(slots=True)
class _Used:
    """What one signer appended: when and at which cost, by envelope, oldest first."""

    records: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    total: int = 0

    def room_in_s(self, now: int, window_s: int) -> int | None:
        """When the oldest of them leaves the window; `None` when there are none, and waiting makes no room."""
        return next(iter(self.records.values()))[0] + window_s - now if self.records else None

    def forget(self, until: int) -> None:
        while self.records:
            at, cost = next(iter(self.records.values()))
            if at > until:
                return
            self.records.popitem(last=False)
            self.total -= cost
