"""A host gate over HTTP: hears at once of what takes access away, and says who it is. Logins come through sshd, never this way.

POST /negative    what takes access away (`service.taking_away`)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from litestar import get

from keyturn.service import shell
from keyturn.service.taking_away import taking_away

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["create_app"]


def create_app(*, obey: Callable[[bytes], bytes], look: Callable[[], None], about: dict[str, str]) -> Litestar:
    """Make the service of one host gate: `obey` obeys what takes away, before which `look` reads the log."""

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, its host, and the root that its operator pinned."""
        return about

    return shell.build([taking_away(obey, look), say], title="A host gate")
