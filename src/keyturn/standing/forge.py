"""What scans of forges share: how an API is asked, and the findings that every forge has.

A forge answers what its token may see: whatever it refuses or leaves out is a finding, and not a pass. The commands that close
use the API of the forge, with a token in `$FORGE_TOKEN` that may change it, which the scan's own token need not.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Protocol, TypeVar

import msgspec

from keyturn.errors import KeyturnError
from keyturn.formats.built import built
from keyturn.standing.closing import quoted, typed
from keyturn.standing.finding import Finding, found, unseen

__all__ = ["AREA", "Forge", "admin", "asked", "call", "deploy_key"]

AREA = "forge"

T = TypeVar("T")


class Forge(Protocol):
    """The API of a forge, for reading. `api` is its address without a slash at the end."""

    api: str

    def get(self, path: str) -> bytes | None:
        """The JSON at `path`, None when there is nothing; pages of an array are joined. Raises a `KeyturnError` otherwise."""
        ...


def deploy_key(title: str, key: str, *, writes: bool, close: str) -> Finding:
    what = "every branch that is not protected, for pushing" if writes else "all of it, for reading"
    return found(
        "git-deploy-key",
        AREA,
        f"deploy key {title}",
        opens=what,
        to=f"whoever holds {key[:60]}",
        severity="high" if writes else "low",
        close=close,
        mark=(key, str(writes)),
    )


def admin(name: str, close: str) -> Finding:
    return found(
        "git-admin",
        AREA,
        f"member {name}",
        opens="its protection, for taking away",
        to=name,
        severity="medium",
        close=close,
    )


def asked(
    forge: Forge, path: str, kind: type[T], what: str, *, missing: T | None = None
) -> Generator[Finding, None, T | None]:
    """What the forge says at `path`; `missing` when it has nothing there; a finding when it does not say."""
    try:
        raw = forge.get(path)
        if raw is not None:
            return msgspec.json.decode(raw, type=built(kind))
    except KeyturnError as err:
        yield unseen(AREA, what, err.message, close="")
        return None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        yield unseen(AREA, what, "the forge's answer is not what its API says")
        return None
    if missing is None:
        yield unseen(AREA, what, "the forge knows none by this name, or this token may not see it")
    return missing


def call(forge: Forge, method: str, path: str, body: object = None) -> str:
    words = typed("curl", "--fail", "--silent", "--show-error", "--request", method)
    login = '--header "Authorization: Bearer $FORGE_TOKEN"'
    sent = "" if body is None else f" --header 'Content-Type: application/json' --data {quoted(json.dumps(body))}"
    return f"{words} {login}{sent} {quoted(forge.api + path)}"
