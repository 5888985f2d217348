"""Read a store's URL: which PostgreSQL database, as whom, and under which TLS. A password in it is never shown.

    postgresql://keyturn_service@db.acme.example/keyturn?sslrootcert=/etc/ssl/acme.pem
    postgresql://keyturn_service@/keyturn?host=/var/run/postgresql

A password comes from libpq's own means (PGPASSFILE, ~/.pgpass, PGPASSWORD), or from the URL. A server on another machine must
prove who it is (`verify-full`), unless the URL says another `sslmode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from keyturn.errors import Usage

__all__ = ["StorePlace"]

URL_BYTES_MAX = 2000

_OPTIONS = frozenset(
    {
        "channel_binding",
        "host",
        "passfile",
        "port",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
    }
)
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A database and how to get there; `options` are libpq's."""

    host: str
    user: str
    database: str
    options: tuple[tuple[str, str], ...]
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> StorePlace:
        """Parse the URL, or raise `Usage`, which does not repeat it."""
        try:
            parts = urlsplit(url)
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=16)
            port = parts.port
        except ValueError as err:
            raise _invalid("it is no URL") from err
        if len(url) > URL_BYTES_MAX or not url.isascii() or not url.isprintable():
            raise _invalid(f"expected up to {URL_BYTES_MAX} printable ASCII characters")
        user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
        if parts.scheme != "postgresql" or not user or not database or "/" in database or parts.fragment:
            raise _invalid("expected `postgresql://user@host/database`")
        given = dict(pairs)
        unknown = sorted(given.keys() - _OPTIONS)
        if unknown or len(given) != len(pairs):
            raise _invalid(f"expected each option once, of {', '.join(sorted(_OPTIONS))}")
        host = given.pop("host", None) or unquote(parts.hostname or "")
        if not host:
            raise _invalid("expected a host, or `?host=/directory/of/the/socket`")
        if port is not None:
            given.setdefault("port", str(port))
        if host not in _LOCAL and not host.startswith("/") and "sslmode" not in given:
            given = {"sslrootcert": "system", **given, "sslmode": "verify-full"}
        password = None if parts.password is None else unquote(parts.password)
        return cls(host, user, database, tuple(sorted(given.items())), password)

    @property
    def parameters(self) -> Mapping[str, str]:
        """What libpq connects with. Never print it: a password may be in it."""
        found = {"host": self.host, "user": self.user, "dbname": self.database, **dict(self.options)}
        return found if self.password is None else {**found, "password": self.password}

    def __str__(self) -> str:
        return f"postgresql://{self.user}@{self.host}/{self.database}"


def _invalid(why: str) -> Usage:
    return Usage(
        "store-url", f"the store's URL: {why}", hint="postgresql://user@host/database; docs/guide/postgresql.md"
    )
