"""The whole log is verified, what nobody can read in it is named, and people can declare that void."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.app.log.verify_log import VerifiedLog, read_log, refuse_faults
from keyturn.app.trust.void_hidden import closing, void_hidden
from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats import dsse, records
from keyturn.formats.leaf import Leaf
from keyturn.trust.draft import Draft, RootDraft
from support.chains import changed
from support.hidden import hidden_leaf
from support.labs import NOW
from support.world import POLICY, Witnessed, World, make_world


class Now:
    def now(self) -> int:
        return NOW


def verified(world: World) -> VerifiedLog:
    seen: list[int] = []
    found = read_log(Witnessed(world), history=world.lab.history, clock=Now(), progress=seen.append)
    assert sum(seen) == found.size
    refuse_faults(found)
    return found


def lying(world: World) -> Leaf:
    """A leaf whose envelope is there, and is another's."""
    world.made += 1
    return changed(records.leaf_of(dsse.render(world.ask())), record=f"{world.made:064x}")


def test_a_whole_log_has_no_faults() -> None:
    world = make_world()
    world.ask()
    found = verified(world)
    assert (found.size, found.faults) == (3, ())


def test_an_envelope_that_nobody_looks_for_is_named_and_no_more() -> None:
    world = make_world()
    at = world.hide("rel", f"dirHash:{'0' * 64}")
    (fault,) = verified(world).faults
    assert (fault.index, fault.what, fault.closes, fault.stands) == (at, "missing", False, False)


@pytest.mark.parametrize("kind", ["tgt", "sus", "den", "prv", "tst", "lft", "use"])
def test_an_envelope_that_somebody_looks_for_is_refused_until_it_is_void(kind: str) -> None:
    world = make_world()
    at = world.log.append_leaf(b"gone", hidden_leaf(kind, number=1))  # type: ignore[arg-type]  # a kind
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        verified(world)
    world.publish(void=(range(at, at + 1),))
    assert [(fault.index, fault.void) for fault in verified(world).faults] == [(at, True)]


def test_what_was_named_before_it_was_there_is_void_to_nobody() -> None:
    world = make_world()
    size = world.log.settle().size
    world.publish(void=(range(size, size + 9),))
    world.hide("sus", "member:ada", until=NOW + 9)
    with pytest.raises(Unavailable, match="log-envelope-missing"):
        verified(world)


def test_a_leaf_of_no_record_is_refused_until_it_is_void() -> None:
    world = make_world()
    raw = dsse.render(world.suspend("bob", target_member="ada", submit=False))
    at = world.log.append_leaf(raw, changed(records.leaf_of(raw), about=("member:bob",)))
    with pytest.raises(Tampered, match="log-leaf"):
        verified(world)
    world.publish(void=(range(at, at + 1),))
    (fault,) = verified(world).faults
    assert (fault.what, fault.about, fault.void) == ("forged", ("member:bob",), True)


def test_other_leaves_than_the_witnesses_cosigned_are_tampering() -> None:
    world = make_world()
    seen = Witnessed(world)
    seen.leaves = lambda start, end: [raw + b" " for raw in world.log.leaves(start, end)]  # type: ignore[method-assign]
    with pytest.raises(Tampered, match="log-tree"):
        read_log(seen, history=world.lab.history, clock=Now(), progress=lambda count: None)


def test_entries_are_declared_void_in_the_draft_and_no_others(tmp_path: Path) -> None:
    world = make_world()
    at = [world.hide("sus", "member:ada", until=NOW + 9) for _ in range(3)]
    world.ask()
    at.append(world.hide("tgt", "version:2"))
    store = TrustOnDisk(tmp_path)
    draft = Draft(RootDraft.of(world.lab.history.root), world.lab.contents)
    store.swap_draft({}, draft.render() | {"limits.toml": b"# ours\n" + draft.render()["limits.toml"]})
    found = closing(Witnessed(world), history=world.lab.history, clock=Now(), progress=lambda count: None)
    assert [fault.index for fault in found] == at

    for chosen, named in (((), ()), (found[:1], (range(at[0], at[0] + 4),))):
        with pytest.raises(Refused, match="trust-void-readable"):
            void_hidden(chosen, named=named, store=store)
    void_hidden(found[1:2], named=(range(at[1], at[1] + 1),), store=store)
    void_hidden(found, named=(), store=store)
    assert Draft.parse(store.draft()).contents.void == (range(at[0], at[2] + 1), range(at[3], at[3] + 1))
    assert store.draft()["limits.toml"].startswith(b"# ours")


def test_a_trust_version_that_the_lab_has_is_not_given_up_because_the_log_lost_it(tmp_path: Path) -> None:
    world = make_world()
    world.publish(policy={"main": POLICY + "// another"})
    lost = records.leaf_of(world.lab.containers[-1])
    at = world.log.settle().size - 1
    store = TrustOnDisk(tmp_path)
    store.swap_draft({}, Draft(RootDraft.of(world.lab.history.root), world.lab.contents).render())
    seen = Witnessed(world, lost=frozenset({lost.envelope}))
    found = closing(seen, history=world.lab.history, clock=Now(), progress=lambda count: None)
    assert [(fault.index, fault.what) for fault in found] == [(at, "lost")]
    with pytest.raises(Refused, match="trust-void-lost"):
        void_hidden(found, named=(), store=store)
