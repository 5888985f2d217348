"""Show somebody else's terminal on one's own: text, colours and the cursor, and nothing that acts on the terminal besides.

What a session writes is its person's choice, and the terminal of who watches or replays it believes it: it sets titles and the
clipboard, answers questions as if typed, prints, and takes over mouse and keyboard. So what is passed on is a closed list; every
other sequence is dropped, whole. ECMA-48 section 5.4 has the form of control sequences, xterm's ctlseqs their meaning.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["RESTORE", "SafeScreen"]

RESTORE = "\x1b[m\x1b[r\x1b(B\x1b[?7h\x1b[?25h\x1b[?1049l\r\n"
"""What leaves a terminal as a shell wants it."""

_SEQUENCE_MAX = 64
_STRING_MAX = 4096
_KEPT = frozenset("\n\r\t\b")
_ESCAPES = re.compile(r"[78DEM]|\([B0]")
_CURSOR_AND_ERASE = re.compile(r"[0-9;:]*[ABCDEFGHJKLMPSTX@`adefmr]|[su]|[0-9]{0,4}b")
_MODES = re.compile(r"4[hl]|\?(?:7|12|25|47|1047|1048|1049)[hl]")
_STRINGS = frozenset("]PX^_")
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class SafeScreen:
    """One stream of bytes of one terminal; sequences may be cut anywhere between two calls."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._state, self._sequence = "ground", ""

    def feed(self, data: bytes) -> str:
        """What may be written of `data` to a terminal, now."""
        return "".join(map(self._next, self._decoder.decode(data)))

    def _next(self, character: str) -> str:
        if character in "\x18\x1a":  # CAN and SUB end whatever was begun
            self._state = "ground"
            return ""
        if character == "\x1b":
            self._state, self._sequence = "escape", ""  # whatever was begun is over, as on a terminal
            return ""
        match self._state:
            case "ground":
                return self._plain(character)
            case "escape":
                return self._escape(character)
            case "csi":
                return self._csi(character)
            case _:
                return self._string(character)

    def _plain(self, character: str) -> str:
        if character in "\x9b\x9d\x90\x98\x9e\x9f":  # C1: the same as two characters, for some terminals
            self._state = "csi" if character == "\x9b" else "string"
            self._sequence = ""
            return ""
        if character in _KEPT:
            return character
        if character < " " or "\x7f" <= character <= "\x9f" or character in _BIDI:
            return ""
        return character

    def _escape(self, character: str) -> str:
        self._sequence += character
        if self._sequence == "[":
            self._state, self._sequence = "csi", ""
            return ""
        if self._sequence in _STRINGS:
            self._state, self._sequence = "string", ""
            return ""
        if " " <= character <= "/" and len(self._sequence) < _SEQUENCE_MAX:
            return ""
        self._state = "ground"
        return f"\x1b{self._sequence}" if _ESCAPES.fullmatch(self._sequence) else ""

    def _csi(self, character: str) -> str:
        if character < " ":  # a control inside a sequence: terminals differ, so it is dropped with it
            self._state = "ground"
            return ""
        self._sequence += character
        if " " <= character <= "?":
            if len(self._sequence) > _SEQUENCE_MAX:
                self._state = "ground"
            return ""
        self._state = "ground"
        found = self._sequence
        return f"\x1b[{found}" if _CURSOR_AND_ERASE.fullmatch(found) or _MODES.fullmatch(found) else ""

    def _string(self, character: str) -> str:
        self._sequence += character
        # One that does not end would hide all that follows from whoever watches.
        if character in "\x07\x9c\n" or len(self._sequence) > _STRING_MAX:
            self._state = "ground"
        return character if character == "\n" else ""
