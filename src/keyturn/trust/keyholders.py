"""Hold who opens recordings together: the keyholders that targets name, and how many of them it takes.

Recordings are sealed to these and to nobody else (docs/decisions/0108): whoever would seal to his own keys needs the threshold
of humans that signs targets. A keyholder need not be in the roster, as whoever holds a recovery key need not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from keyturn.crypto.sealing_key import holder_key
from keyturn.errors import Malformed

__all__ = ["HOLDERS_MAX", "QUORUM_MIN", "Keyholder", "Keyholders"]

QUORUM_MIN = 2
HOLDERS_MAX = 32


@dataclass(frozen=True, slots=True)
class Keyholder:
    """Somebody who has to agree before a recording is opened, with his X25519 key (SubjectPublicKeyInfo)."""

    human: str
    spki: bytes

    def __post_init__(self) -> None:
        holder_key(self.spki)


@dataclass(frozen=True, slots=True)
class Keyholders:
    """Everybody who has a share of each recording, and of how many of them the shares open it: two at least."""

    quorum: int
    holders: tuple[Keyholder, ...]

    def __post_init__(self) -> None:
        for what in ([one.human for one in self.holders], [one.spki for one in self.holders]):
            if len(set(what)) != len(what):
                raise Malformed("keyholder-twice", "expected each keyholder once, with a key of his own")
        if not QUORUM_MIN <= self.quorum <= len(self.holders) <= HOLDERS_MAX:
            raise Malformed(
                "keyholder-quorum",
                f"expected {QUORUM_MIN} to {HOLDERS_MAX} keyholders, and a quorum of {QUORUM_MIN} to all of them; "
                f"got {self.quorum} of {len(self.holders)}",
            )

    @property
    def text(self) -> str:
        """As `2 of carol, dan, eve`."""
        return f"{self.quorum} of {', '.join(one.human for one in self.holders)}"

    def without(self, human: str) -> Self:
        """Those without `human`; as they are when too few would be left to open what is sealed next."""
        left = tuple(one for one in self.holders if one.human != human)
        return self if len(left) < self.quorum else replace(self, holders=left)
