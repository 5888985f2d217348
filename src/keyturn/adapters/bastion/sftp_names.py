"""Name what somebody does by sftp, for who watches: requests that open, list, make, move, change or take away, by their paths.

draft-ietf-secsh-filexfer-02, sections 3 and 6: a request is its length, its kind, its number, and what it asks. Of each only the
beginning is kept. This decides nothing: the host's own server acts on the same bytes. What comes by handles alone (a file's
content, its end) has no name here, and neither have extensions that are not listed.
"""

from __future__ import annotations

__all__ = ["SftpNames"]

_KEPT_BYTES = 16 * 1024
"""Of each request: two paths of PATH_MAX, and what stands around them."""
_REQUEST_BYTES_MAX = 1 << 28
"""More than any server takes: OpenSSH's ends at 256 KiB."""
_OPEN, _EXTENDED, _WRITE = 3, 200, 2
_PATHS = {
    _OPEN: ("open", 1),
    9: ("change", 1),
    11: ("list", 1),
    13: ("remove", 1),
    14: ("make directory", 1),
    15: ("remove directory", 1),
    18: ("rename", 2),
    20: ("link", 2),
}
_EXTENSIONS = {
    "posix-rename@openssh.com": ("rename", 2),
    "hardlink@openssh.com": ("link", 2),
    "lsetstat@openssh.com": ("change", 1),
}
_SHOWN_MAX = 1000


class SftpNames:
    """What one client sends, as lines for eyes."""

    def __init__(self) -> None:
        self._head = b""
        self._kept = b""
        self._left = 0
        self._lost = False

    def take(self, data: bytes) -> list[str]:
        """What `data`, which follows what was taken before, asks for: each request once, as soon as all of it is there."""
        said: list[str] = []
        while data and not self._lost:
            if not self._left:
                need = 4 - len(self._head)
                self._head, data = self._head + data[:need], data[need:]
                if len(self._head) == 4:
                    self._left, self._head, self._kept = int.from_bytes(self._head, "big"), b"", b""
                    if not 1 <= self._left <= _REQUEST_BYTES_MAX:
                        self._lost = True
                        said.append("no request that makes sense: nothing more is named")
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            self._kept += part[: _KEPT_BYTES - len(self._kept)]
            if not self._left and (named := _named(self._kept)):
                said.append(named)
        return said


def _named(request: bytes) -> str:
    kind, body = request[0], request[5:]
    if kind == _EXTENDED:
        name, body = _text(body)
        what, count = _EXTENSIONS.get(name, ("", 0))
    else:
        what, count = _PATHS.get(kind, ("", 0))
    paths = []
    for _ in range(count):
        path, body = _text(body)
        paths.append(ascii(path if len(path) <= _SHOWN_MAX else f"{path[:_SHOWN_MAX]}..."))
    if kind == _OPEN and int.from_bytes(body[:4], "big") & _WRITE:
        what += " to write"
    return f"{what} {' '.join(paths)}" if paths else ""


def _text(body: bytes) -> tuple[str, bytes]:
    size = int.from_bytes(body[:4], "big")
    return body[4 : 4 + size].decode("utf-8", "backslashreplace"), body[4 + size :]
