"""Hold what is known about a request beyond the signatures: facts by dotted name, as policies see them under `context`.

    Facts({"custody.verified": True, "custody.steps": 4})

A fact comes from verified statements or from what the gate itself computes, never from the request or the service. A fact
that is not here is missing, and whatever policy asks for it says no; there are no defaults. Names are `schema.FACTS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from keyturn.errors import Malformed
from keyturn.formats.canonical_json import INTEGER_MAX
from keyturn.policy.schema import FACTS

__all__ = ["NO_FACTS", "Fact", "Facts"]

Fact = bool | int | frozenset[str]

_TYPES: Mapping[str, type] = {"bool": bool, "int": int, "names": frozenset}


class Facts(Mapping[str, Fact]):
    """A frozen mapping of facts. Refuses unknown names, other types and numbers that are not exact in JSON."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Fact]) -> None:
        for name, value in values.items():
            kind = FACTS.get(name)
            if kind is None:
                raise Malformed("fact-unknown", f"fact `{name[:80]}` is no fact that a policy can ask for")
            if type(value) is not _TYPES[kind]:
                raise Malformed("fact-type", f"fact `{name}`: expected {kind}, got {type(value).__name__}")
            if isinstance(value, frozenset) and not all(type(one) is str for one in value):
                raise Malformed("fact-type", f"fact `{name}`: expected names, got something else among them")
            if type(value) is int and abs(value) > INTEGER_MAX:
                raise Malformed("fact-type", f"fact `{name}`: expected at most {INTEGER_MAX}, got a larger number")
        self._values = MappingProxyType(dict(values))

    def __getitem__(self, name: str) -> Fact:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Facts({dict(self._values)!r})"

    def adding(self, more: Mapping[str, Fact]) -> Facts:
        """These facts and `more`; what `more` says wins. For what `decide` itself computes."""
        return Facts({**self._values, **more})

    def nested(self) -> dict[str, dict[str, Fact]]:
        """The facts as Cedar's context: one record for each area."""
        context: dict[str, dict[str, Fact]] = {}
        for name, value in self._values.items():
            area, _, leaf = name.partition(".")
            context.setdefault(area, {})[leaf] = value
        return context


NO_FACTS = Facts({})
"""Nothing is known: policies that ask for any fact say no."""
