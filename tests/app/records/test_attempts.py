"""What a job signs with its attempt's key comes through the log's door: for the member who asked, and while it is open."""

from __future__ import annotations

from typing import Any

import pytest

from app.records.test_submit import LAB, At, door
from keyturn.app.records.submit import Admission
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused
from keyturn.formats.provenance import BuilderId
from support.chains import MadeChain, artifact, changed
from support.labs import NOW

KEY = SoftwareKey.generate()


def attempt() -> tuple[MadeChain, Any]:
    """A chain whose last record asks for an attempt by Ada, of a minute; and that request."""
    chain = MadeChain(LAB)
    _, made, digest = chain.request(
        "train",
        {"data": artifact("data")},
        builder=None,
        outputs=("model",),
        alter=lambda r: changed(r, attempt=KEY.public.text),
    )
    return chain, (made, digest)


def checkpoint(chain: MadeChain, asked: Any, **more: Any) -> bytes:
    key = more.pop("key", KEY)
    chain.provenance(*asked, {"checkpoint": artifact("at 1")}, key=key, alter=lambda p: changed(p, segment=1, **more))
    return chain.records[-1]


def refused(admission: Admission, raw: bytes) -> str:
    with pytest.raises(Refused) as caught:
        admission.submit(raw)
    return caught.value.code


def test_a_checkpoint_is_taken_in_the_name_of_whoever_asked_while_the_attempt_is_open() -> None:
    clock = At(NOW)
    admission, _ = door(clock=clock)
    chain, asked = attempt()
    segment = checkpoint(chain, asked)
    assert refused(admission, segment) == "signer-unknown", "nobody asked for that attempt yet"
    admission.submit(chain.records[-2])
    assert admission.submit(segment).leaf.kind == "prv"
    clock.time = NOW + 60 + 3600
    assert admission.submit(segment).index == len(LAB.containers) + 1, "what is there stays there"
    assert refused(admission, checkpoint(chain, asked, finished_at=NOW + 9)) == "signer-unknown"


def test_its_key_is_for_its_own_attempt_and_its_own_member() -> None:
    admission, _ = door()
    chain, asked = attempt()
    admission.submit(chain.records[-1])
    _, plain, digest = chain.request("train", {"data": artifact("data")}, builder=None, outputs=("model",))
    admission.submit(chain.records[-1])
    assert refused(admission, checkpoint(chain, (plain, digest))) == "signer-unknown"
    assert (
        refused(admission, checkpoint(chain, asked, builder=BuilderId(LAB.name, "member", "bob"))) == "signer-unknown"
    )
    assert refused(admission, checkpoint(chain, asked, key=SoftwareKey.generate())) == "signer-unknown"
