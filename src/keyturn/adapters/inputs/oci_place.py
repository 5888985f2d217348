"""What a builder's operator says of registries: who asks there, and which other hosts they may send it on to.

    {"auths": {"registry.example": {"auth": "<base64 of NAME:PASSWORD>"}}}

The file of names is the one that Docker, podman and skopeo write (`skopeo login --authfile FILE`); it is read anew for each
input. A registry that is not in it is asked without a name. This is NOT where anything is fetched: see `oci_registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.adapters.inputs.credentials_file import read_credentials
from keyturn.errors import Unavailable

__all__ = ["ANONYMOUS", "ANY_HOST", "OciPlace", "place_of_environment"]

ANY_HOST = "https://"
"""Stands for every origin with TLS: for whoever acts on his own machine, and on his own word."""


class _Auth(msgspec.Struct, frozen=True):
    auth: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/=]{0,4096}\Z")] = ""


class _Auths(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] = {}


@dataclass(frozen=True, slots=True)
class OciPlace:
    """`follow` are origins, as `https://storage.example`, that a registry may send on to."""

    credentials: Path | None = None
    follow: tuple[str, ...] = ()

    def follows(self, origin: str) -> bool:
        return origin in self.follow or (ANY_HOST in self.follow and origin.startswith(ANY_HOST))

    def authorization(self, host: str) -> Mapping[str, str]:
        """The header that says who asks at `host`, or none; raises by name when the file cannot be had."""
        if self.credentials is None:
            return {}
        try:
            said = msgspec.json.decode(read_credentials(self.credentials), type=_Auths).auths.get(host)
        except (OSError, UnicodeError, RecursionError, msgspec.MsgspecError) as err:
            raise Unavailable(
                "oci-credentials",  # what stands in it is not shown
                f'expected `{{"auths": {{"HOST": {{"auth": "..."}}}}}}` in `{self.credentials}`',
                hint=f"write it as skopeo does: skopeo login --authfile {self.credentials} {host}",
            ) from err
        return {"Authorization": f"Basic {said.auth}"} if said is not None and said.auth else {}


ANONYMOUS = OciPlace()
"""No names, and no other host."""


def place_of_environment(environment: Mapping[str, str]) -> OciPlace:
    """The names of whoever acts on his own machine, where skopeo and Docker keep them."""
    own = environment.get("REGISTRY_AUTH_FILE")
    docker = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    file = Path(own) if own else docker
    return OciPlace(file if file.exists() else None, (ANY_HOST,))
