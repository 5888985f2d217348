"""Somebody had the log's disk for a moment, and left entries in it that nobody can read: they close until they are void."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.formats.leaf import Leaf
from support.hidden import hidden_leaf
from support.taken_lab import GATE, TakenLab, build, found, serving

pytestmark = [pytest.mark.xdist_group("recovery"), pytest.mark.timeout(300)]

FAR = 2**33
NO_LEAVES = (b"no leaf", b"", b"\xff", b"[" * 9000, b'{"kind":"req"}],[9,9,9,9,{"kind":"req"}', b"x" * 65535)
"""Texts that stand in the log like leaves, and are none."""


def left_behind(lab: TakenLab) -> tuple[Leaf, ...]:
    """One leaf for each way in which an entry that nobody can read closes something."""
    model = str(lab.model)
    return (
        hidden_leaf("tgt", "version:2", number=1),
        hidden_leaf("rot", "version:2", number=2),
        hidden_leaf("sus", "member:ada", number=3, until=FAR),
        hidden_leaf("sus", f"gate:{GATE}", number=4, until=FAR),
        hidden_leaf("lft", f"suspension:{'0' * 64}", number=5),
        hidden_leaf("prv", model, number=6),
        hidden_leaf("tst", model, number=7),
        hidden_leaf("stp", "build:evaluate", model, number=8),
    )


def test_a_lab_gets_over_entries_that_nobody_can_read(tmp_path: Path) -> None:
    lab = found(tmp_path)
    with serving(lab):
        build(lab)
        lab.releases("before.pack")
        leaves = left_behind(lab)
        last = lab.write(*(b"what was here is gone: %d" % number for number, _ in enumerate(leaves)), leaves=leaves)
        last = lab.write_texts(*((b"of no record", text) for text in NO_LEAVES))
        entries = list(range(last - len(leaves) - len(NO_LEAVES) + 1, last + 1))
        lab.write(b"gone", leaves=(hidden_leaf("rel", str(lab.model), number=9),))  # all of it is witnessed

        ask = ("release", "model", "--as", "model/tiny", "--reason", "it is good", "--yes")
        assert lab.refused("ada", *ask, status=3) == {"envelope-unknown"}
        assert lab.refused("bob", "log", "verify", status=3) == {"log-envelope-missing"}
        assert lab.refused("bob", "trust", "void", "0") == {"trust-void-readable"}
        listed = lab.by("bob", "trust", "void")
        assert ([one["index"] for one in listed["entries"]], listed["void"]) == (entries, [])
        lab.by("bob", "trust", "void", f"{entries[0]}-{entries[3]}")
        assert lab.by("bob", "trust", "void", "--all")["void"] == entries
        lab.by("ada", "trust", "propose")
        shown = lab.run("carol", "trust", "show").stdout
        assert f"first = {entries[0]}" in shown
        assert f"last = {last}" in shown
        for member in ("ada", "bob"):
            lab.by(member, "trust", "sign", "--yes")
        lab.by("ada", "trust", "publish")

        lab.releases("after.pack")
        verified = lab.by("bob", "log", "verify")
        assert [fault["index"] for fault in verified["faults"] if fault["void"]] == entries
        assert lab.by("bob", "trust", "void")["entries"] == []
    lab.by("bob", "log", "reindex")
    with serving(lab):
        lab.releases("again.pack")


@pytest.mark.parametrize(("first", "last"), [(2, 2), (1000, 2**52)], ids=["what stands in the log", "what is to come"])
def test_nobody_signs_that_entries_are_void_which_he_can_read_or_which_are_to_come(
    tmp_path: Path, first: int, last: int
) -> None:
    lab = found(tmp_path)
    with serving(lab):
        lab.by("carol", "trust", "suspend", "--member", "dan", "--reason", "his laptop is lost", "--yes")
        draft = lab.lab / "trust" / "draft" / "log.toml"
        draft.write_text(f"{draft.read_text()}\n[[void]]\nfirst = {first}\nlast = {last}\n")
        lab.by("eve", "trust", "propose")
        assert lab.refused("ada", "trust", "sign", "--yes") == {"trust-void-readable"}
        assert lab.by("ada", "trust", "show")["versions"][0]["signed_by"] == []
