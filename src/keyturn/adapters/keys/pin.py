"""A PIN that a person typed, on its way to a token or security key."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Pin"]


class Pin:
    """A PIN in memory, which shows itself nowhere."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Pin()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PIN is not pickled")
