"""Which trust stood at an entry of the log, and what is void by it."""

from __future__ import annotations

import pytest

from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import Malformed
from keyturn.trust.void import NOTHING_VOID
from support.chains import MadeChain


def test_a_timeline_needs_rising_indices(chain: MadeChain) -> None:
    with pytest.raises(Malformed):
        TrustTimeline((3, 3), (chain.lab.state, chain.lab.state))
    with pytest.raises(Malformed):
        TrustTimeline((3,), ())


def test_what_is_void_for_a_chain_stood_before_the_version_that_says_so(chain: MadeChain) -> None:
    said = chain.lab.publish(void=(range(2, 9),)).state
    assert [index for index in range(12) if index in TrustTimeline((0, 5), (chain.lab.state, said)).void] == [2, 3, 4]
    assert TrustTimeline((), ()).void == NOTHING_VOID
