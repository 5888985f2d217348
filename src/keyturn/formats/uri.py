"""Name resources: `keyturn://<lab>/<type>/<name>`, one text per resource.

The digest of a resource that is not content is the SHA-256 of its URI (docs/formats/uri.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from keyturn.errors import Malformed
from keyturn.formats.digest import Sha256, sha256

__all__ = ["ResourceType", "Uri"]

ResourceType = Literal[
    "host",
    "hosts",
    "model",
    "dataset",
    "repo",
    "db",
    "cluster",
    "bucket",
    "gate",
    "procedure",
    "report",
    "release",
    "trust",
]

_LAB = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(\.[a-z0-9][a-z0-9-]{0,62}){0,7}\Z")
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_TYPES: tuple[str, ...] = get_args(ResourceType)
_SEGMENTS_MAX = 8
_LENGTH_MAX = 1024


@dataclass(frozen=True, slots=True, order=True)
class Uri:
    """A resource of a lab. `str()` gives its one text.

    >>> str(Uri.parse("keyturn://acme.example/model/aurora"))
    'keyturn://acme.example/model/aurora'
    """

    lab: str
    type: ResourceType
    name: str

    def __post_init__(self) -> None:
        expected = "expected `keyturn://<lab>/<type>/<name>`"
        if not _LAB.match(self.lab):
            raise Malformed("uri-lab", f"{expected}, got the lab `{self.lab[:120]}`")
        if self.type not in _TYPES:
            raise Malformed("uri-type", f"expected a type among {', '.join(_TYPES)}, got `{self.type[:40]}`")
        segments = self.name.split("/")
        if len(segments) > _SEGMENTS_MAX or not all(map(_SEGMENT.match, segments)):
            raise Malformed(
                "uri-name", f"expected up to {_SEGMENTS_MAX} segments of [a-z0-9._-], got `{self.name[:120]}`"
            )

    @staticmethod
    def parse(text: str) -> Uri:
        """Parse `text`, or raise `Malformed`; no other text of the same resource is accepted."""
        return _parsed(text)

    def __str__(self) -> str:
        return f"keyturn://{self.lab}/{self.type}/{self.name}"

    @property
    def digest(self) -> Sha256:
        return sha256(str(self).encode("ascii"))


@lru_cache(maxsize=1024)  # a log names the same few again and again; what is refused is not remembered
def _parsed(text: str) -> Uri:
    if len(text) > _LENGTH_MAX or not text.startswith("keyturn://"):
        raise Malformed("uri-invalid", f"expected `keyturn://<lab>/<type>/<name>`, got `{text[:120]}`")
    lab, _, rest = text.removeprefix("keyturn://").partition("/")
    kind, _, name = rest.partition("/")
    return Uri(lab, kind, name)  # type: ignore[arg-type]  # the constructor checks the membership
