"""Only a release that two subjects describe goes to a gate, and one that people took back since is not called a release."""

from __future__ import annotations

import pytest

from keyturn.app.access.authorize import find_pending
from keyturn.app.custody.make_pack import order_of, require_not_ended
from keyturn.errors import Refused
from support.world import make_world


def test_what_goes_to_a_gate_names_a_model_and_its_pack_index() -> None:
    world = make_world()
    with pytest.raises(Refused, match=r"got `weights:read` \[release-action\]"):
        order_of(world.bundle(world.ask()), path=None)
    with pytest.raises(Refused, match=r"a model and its pack index as subjects, got 1 \[release-subjects\]"):
        order_of(world.bundle(world.ask(world.release())), path=None)


@pytest.mark.parametrize("taken", ["denied", "revoked"])
def test_a_release_that_was_taken_back_does_not_stand(taken: str) -> None:
    world = make_world()
    asked = world.ask(world.release())
    pending = find_pending(world.view(), f"req-{asked.record_digest[:32]}")
    require_not_ended(pending, world.view(), now=world.now)
    (world.deny if taken == "denied" else world.revoke)(asked, "bob")
    with pytest.raises(Refused, match=f"before `bob` {taken} req-.* nothing was released now") as caught:
        require_not_ended(pending, world.view(), now=world.now)
    assert caught.value.code == "request-ended"
    assert "asks again" in caught.value.hint
