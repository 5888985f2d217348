"""Another lab that released a model: its files, the pack that proves it, and the lab's first root."""

from __future__ import annotations

from pathlib import Path

import pytest

import support.chains
import support.releases
from keyturn.bulk import manifest
from support.labs import Lab
from support.releases import ReleaseWorld, make_release_world

__all__ = ["write_release"]


def write_release(model: Path, monkeypatch: pytest.MonkeyPatch, *, name: str = "acme.example") -> tuple[Lab, bytes]:
    """Release the files at `model` as the lab `name`; gives the lab and its pack."""
    identity, named = manifest.make(model).identity, support.chains.artifact
    defaults = ReleaseWorld.compute_index.__kwdefaults__
    assert defaults is not None
    with monkeypatch.context() as there:
        there.setattr(support.chains, "artifact", lambda what: identity if what == "model" else named(what))
        there.setattr(support.releases, "MODEL", identity)
        there.setitem(defaults, "model", identity)
        world = make_release_world(name=name)
        world.build()
        return world.world.lab, world.released()
