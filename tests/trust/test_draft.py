"""Drafts: what a working directory says, and when it amounts to a new version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.trust.draft import ROOT_FILE, Draft, RootDraft, propose
from keyturn.trust.history import TrustHistory
from keyturn.trust.proposal import describe
from support.labs import NOW, Lab, make_lab


def _draft(lab: Lab) -> Draft:
    return Draft(RootDraft.of(lab.history.root), lab.contents)


def test_a_draft_round_trips(lab: Lab, production: Lab) -> None:
    for each in (lab, production):
        draft = _draft(each)
        assert Draft.parse(draft.render()) == draft


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(None, "targets-file-missing", id="no root.toml"),
        pytest.param(b"x = 1\n", "targets-file-invalid", id="other keys"),
        pytest.param(b"\xff", "targets-file-invalid", id="no UTF-8"),
        pytest.param(b"#" * 70_000, "targets-file-too-large", id="oversize"),
        pytest.param(b"x = " + b"[" * 5000, "targets-file-invalid", id="deep nesting"),
    ],
)
def test_a_root_toml_is_parsed_strictly(lab: Lab, raw: bytes | None, code: str) -> None:
    files = _draft(lab).render()
    files.pop(ROOT_FILE)
    if raw is not None:
        files[ROOT_FILE] = raw
    with pytest.raises(Malformed) as caught:
        Draft.parse(files)
    assert caught.value.code == code


def test_a_threshold_of_one_cannot_be_drafted(lab: Lab) -> None:
    files = _draft(lab).render()
    files[ROOT_FILE] = files[ROOT_FILE].replace(b"threshold = 2", b"threshold = 1", 1)
    with pytest.raises(Malformed, match="targets-file-invalid"):
        Draft.parse(files)


def test_what_is_in_force_is_not_proposed_again(lab: Lab) -> None:
    files = _draft(lab).render()
    with pytest.raises(Refused, match="trust-nothing-to-propose"):
        propose(files, lab.history, now=NOW, renew=False)
    assert [(v.role, v.version) for v in propose(files, lab.history, now=NOW, renew=True)] == [
        ("root", 2),
        ("targets", 2),
    ]


def test_a_changed_file_is_a_targets_version_and_a_changed_holder_is_both(lab: Lab) -> None:
    draft = _draft(lab)
    files = draft.render()
    files["policy/more.cedar"] = b"// more\n"
    assert [(v.role, v.version) for v in propose(files, lab.history, now=NOW, renew=False)] == [("targets", 2)]
    wider = make_lab(humans=("ada", "bob", "cyd")).history.root
    changed = replace(draft, root=RootDraft.of(wider)).render()
    assert [v.role for v in propose(changed, lab.history, now=NOW, renew=False)] == ["root", "targets"]


def test_targets_that_a_new_root_left_unsigned_are_proposed_again() -> None:
    lab = make_lab(humans=("ada", "bob", "cyd"))
    rotated = lab.with_contents(lab.contents, signers=("bob", "cyd")).with_root(humans=("ada", "bob", "dan"))
    assert [(v.role, v.version) for v in propose(_draft(rotated).render(), rotated.history, now=NOW, renew=False)] == [
        ("targets", 3)
    ]


def test_a_root_without_targets_yet_is_given_targets(lab: Lab) -> None:
    start = TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256)
    assert [(v.role, v.version) for v in propose(_draft(lab).render(), start, now=NOW, renew=False)] == [("targets", 1)]


def test_what_a_gate_would_refuse_is_not_proposed(lab: Lab) -> None:
    draft = _draft(lab)
    gate = next(iter(lab.contents.gates.values()))
    shared = replace(draft.contents, gates={str(gate.uri): replace(gate, key=lab.trust_keys["ada"].public)})
    with pytest.raises(KeyturnError, match="key-purpose"):
        propose(replace(draft, contents=shared).render(), lab.history, now=NOW, renew=False)


def test_a_description_shows_new_changed_and_removed_files(lab: Lab) -> None:
    files = _draft(lab).render()
    del files["policy/release.cedar"]
    files["policy/new.cedar"] = b"// new"
    before = {path: dict(_draft(lab).render())[path] for path in _draft(lab).render() if path != ROOT_FILE}
    (shown,) = describe(propose(files, lab.history, now=NOW, renew=False), lab.history, before)
    assert {change.path: change.lines for change in shown.changes} == {
        "policy/new.cedar": ("+// new",),
        "policy/release.cedar": ("-// nothing yet", "-"),
    }
