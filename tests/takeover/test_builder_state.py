"""Taken: a builder's key together with its outbox and its state. What lies there is sent, and is its own word or nobody's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from keyturn.bulk.read_chain import claimed_size
from keyturn.formats import dsse, leaf, provenance
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.negatives import Suspension
from keyturn.formats.provenance import BuilderId, Dependency, Output, Provenance
from support.processes import wait_for
from support.taken_lab import LAB, TakenLab, found, serving, sign

pytestmark = [pytest.mark.xdist_group("takeover-builder"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def old_gate() -> None:
    """None of the other take-overs' lab is needed here."""


def never_made(lab: TakenLab) -> bytes:
    """Provenance of a step that nobody asked for, by the builder's own key."""
    made = Provenance(
        lab=LAB,
        build="train",
        step="train",
        request=Sha256("1" * 64),
        command=("true",),
        dependencies=(Dependency("train", "input", ArtifactDigest("dirHash", Sha256("3" * 64)), check="full"),),
        outputs=(Output("model", ArtifactDigest("dirHash", Sha256("2" * 64))),),
        builder=BuilderId(LAB, "builder", "builder"),
        level=1,
        sandbox="bubblewrap",
        started_at=int(time.time()),
        finished_at=int(time.time()),
    )
    return dsse.render(sign(provenance.make(made), lab.stolen("builder/key")))


def suspension(lab: TakenLab) -> bytes:
    """A suspension of Ada in Carol's name, by the builder's key."""
    until = int(time.time()) + 3600
    key = lab.stolen("builder/key")
    return dsse.render(lab.negative(Suspension, "carol", "0" * 64, key=key, target_member="ada", until=until))


def test_what_is_put_into_a_builders_outbox_is_its_own_word_or_nobodys(tmp_path: Path) -> None:
    lab = found(tmp_path)
    outbox = lab.lab / "builder" / "outbox"
    outbox.mkdir(mode=0o700)
    groups = {
        "its own lie": never_made(lab),
        "in a human's name": suspension(lab),
        "both, one after the other": b"\n".join((suspension(lab), never_made(lab))),
        "garbage": b"\x00garbage\xff",
    }
    for content in groups.values():
        (outbox / sha256(content)).write_bytes(content)
    (outbox / ("3" * 64)).symlink_to("/dev/zero")
    with serving(lab):
        left = {f"{sha256(content)}.refused" for what, content in groups.items() if what != "its own lie"}
        wait_for("the outbox", lambda: {path.name for path in outbox.iterdir()} - {"3" * 64} == left or None)
        log, lie = lab.log, groups["its own lie"]
        wait_for("its own word to be witnessed", lambda: claimed_size(log.checkpoint()) > 2 or None)
        leaves = [leaf.parse(raw) for raw in log.leaves(0, claimed_size(log.checkpoint()))]
        said = [one for one in leaves if one.kind not in ("rot", "tgt", "chk")]
        assert [(one.kind, one.record) for one in said] == [("prv", dsse.parse_foreign(lie).record_digest)]
