"""The ceremony: found, propose, show and sign; and what each step refuses."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.app.trust.found_lab import Founding, found_lab
from keyturn.app.trust.lab_trust import read_history
from keyturn.app.trust.show_trust import show_trust
from keyturn.app.trust.sign_trust import sign_trust
from keyturn.app.trust.trust_log import trust_log
from keyturn.crypto.credentials import Credential
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Malformed, Refused, Usage
from keyturn.formats import trust_version
from keyturn.trust.draft import Draft, propose
from keyturn.trust.metadata import signed_sha256
from keyturn.trust.render import render_contents
from support.labs import keyholders

from .conftest import DAY_S, FOUNDED, Ceremony, code_of


def test_two_people_found_a_lab(founded: Ceremony) -> None:
    history = read_history(founded.store, pinned_sha256=None)
    assert history is not None
    state = history.current(now=FOUNDED)
    assert state.publishers == {"ada", "bob"}
    assert state.roster.members_of("releasers") == {"ada", "bob"}
    assert [
        trust_version.parse(founded.log.envelope(leaf.envelope)).role for leaf in founded.log.of_kinds(("rot", "tgt"))
    ] == [
        "root",
        "targets",
    ]


def test_until_a_second_human_has_signed_a_lab_is_founding_and_publishes_nothing(ceremony: Ceremony) -> None:
    ceremony.found()
    with pytest.raises(Refused) as alone:
        ceremony.propose()
    assert code_of(alone) == "trust-threshold-unreachable"
    ceremony.join("bob")
    ceremony.propose()
    ceremony.sign("ada")
    ceremony.sign("ada")
    with pytest.raises(Refused) as once:
        ceremony.publish()
    assert code_of(once) == "trust-founding"
    assert ceremony.store.versions() == ()
    assert not (ceremony.trust / "metadata").exists()
    with pytest.raises(Refused, match="trust-founding"):
        trust_log(pinned_sha256=None, store=ceremony.store, clock=ceremony.clock)


def test_a_lab_is_founded_once(founded: Ceremony) -> None:
    with pytest.raises(Refused, match="lab-exists"):
        founded.found()


def test_production_is_founded_with_witnesses_and_no_keys_of_others(ceremony: Ceremony) -> None:
    def found(*, witnesses: tuple[str, ...], gates: tuple[str, ...]) -> None:
        found_lab(
            Founding("acme.example", "production", "ada", "Ada", (), witnesses, gates, builder=False),
            store=ceremony.store,
            member=lambda: Credential(ceremony.home("ada").create("member").public, "software"),
            trust=lambda: ceremony.home("ada").create("trust").public,
            lab_keys=ceremony.lab_keys,
        )

    with pytest.raises(Usage, match="witness-none"):
        found(witnesses=(), gates=())
    with pytest.raises(Usage, match="production-local-keys"):
        found(witnesses=("north",), gates=("release",))
    with pytest.raises(Usage, match="name-invalid"):
        found(witnesses=("../../north",), gates=())
    assert not (ceremony.directory / "homes").exists()
    found(witnesses=("north", "south", "west"), gates=())
    ceremony.join("bob")
    ceremony.enrol(ceremony.accept(ceremony.invite("vault", kind="custodian"), "vault"))
    with pytest.raises(Refused, match="production-witness-operator"):
        ceremony.propose()
    ceremony.edit("log.toml", lambda text: text.replace('operator = "service"', 'operator = "it"', 1))
    for name in ("north", "south", "west"):
        ceremony.edit(
            "log.toml", lambda text, name=name: text.replace('operator = "service"', f'operator = "{name}"', 1)
        )
    ceremony.propose()
    ceremony.sign("ada")
    with pytest.raises(Refused, match="trust-founding"):
        ceremony.publish()
    ceremony.sign("vault")
    with pytest.raises(Refused, match="trust-threshold"):
        ceremony.publish()
    ceremony.sign("bob")
    ceremony.publish()
    history = read_history(ceremony.store, pinned_sha256=None)
    assert history is not None
    assert "vault" not in history.newest.roster.members
    assert [holder.human for holder in history.root.holders if holder.recovery] == ["vault"]


def test_what_is_shown_is_the_whole_change(founded: Ceremony) -> None:
    founded.edit(
        "resources.toml", lambda _: 'version = 1\n[[resources]]\nuri = "keyturn://acme.example/model/aurora"\n'
    )
    founded.propose()
    shown = show_trust(pinned_sha256=None, store=founded.store)
    (version,) = shown.versions
    assert {change.path for change in version.changes} == {"resources.toml"}
    lines = next(change.lines for change in version.changes if change.path == "resources.toml")
    assert '+uri = "keyturn://acme.example/model/aurora"' in lines
    assert "-resources = []" in lines
    assert " version = 1" in lines
    assert version.needs == (("root version 1", 2),)


def test_who_would_open_recordings_is_shown_to_whoever_signs(founded: Ceremony) -> None:
    files = render_contents(replace(Draft.parse(founded.store.draft()).contents, recordings=keyholders("ada", "bob")))
    founded.edit("gates.toml", lambda _: files["gates.toml"].decode())
    founded.propose()
    shown = show_trust(pinned_sha256=None, store=founded.store)
    (version,) = shown.versions
    lines = next(change.lines for change in version.changes if change.path == "gates.toml")
    assert {"+[recordings]", "+quorum = 2"} <= set(lines)
    assert any(line.startswith("+") and 'human = "bob"' in line for line in lines)
    assert "recordings of bastions, together: any 2 of ada, bob" in shown.coalitions
    founded.sign("ada")
    with pytest.raises(Refused, match="trust-threshold"):
        founded.publish()
    founded.sign("bob")
    assert founded.publish().versions == (("targets", 2),)


def test_a_new_root_is_shown_as_what_it_says(founded: Ceremony) -> None:
    founded.join("cyd")
    founded.propose()
    root, targets = show_trust(pinned_sha256=None, store=founded.store).versions
    lines = root.changes[0].lines
    cyd = founded.home("cyd").read("trust").public.keyid
    assert f"+cyd holds {cyd} for root and targets" in lines
    assert "-version 1" in lines
    assert root.needs == (("root version 1", 2), ("root version 2", 2))
    assert targets.role == "targets"
    founded.sign("ada")
    founded.sign("cyd")
    assert show_trust(pinned_sha256=None, store=founded.store).versions[0].needs == (
        ("root version 1", 1),
        ("root version 2", 0),
    )
    with pytest.raises(Refused, match="trust-threshold"):
        founded.publish()
    founded.sign("bob")
    assert founded.publish().versions == (("root", 2), ("targets", 2))


def test_an_outgoing_signer_signs_the_root_that_replaces_him(founded: Ceremony) -> None:
    founded.join("cyd")
    founded.edit("root.toml", lambda text: _without_holder(text, "bob"))
    founded.propose()
    assert founded.sign("bob").versions[0][:2] == ("root", 2)
    assert len(founded.sign("cyd").versions) == 2
    founded.sign("ada")
    founded.publish()
    history = read_history(founded.store, pinned_sha256=None)
    assert history is not None
    assert history.newest.publishers == {"ada", "cyd"}


def _without_holder(text: str, human: str) -> str:
    head, *holders = text.split("[[holders]]\n")
    return head + "".join("[[holders]]\n" + h for h in holders if f'human = "{human}"' not in h)


def test_nothing_is_signed_that_was_not_shown(founded: Ceremony) -> None:
    founded.edit("limits.toml", lambda text: text.replace("3600", "1800"))
    founded.propose()
    shown = tuple(version.digest for version in show_trust(pinned_sha256=None, store=founded.store).versions)
    founded.edit("limits.toml", lambda text: text.replace("1800", "900"))
    founded.propose()
    key = founded.home("ada").read("trust")
    with pytest.raises(Refused, match="trust-not-shown"):
        sign_trust(key, shown=shown, pinned_sha256=founded.pin, store=founded.store)
    with pytest.raises(Refused, match="trust-not-shown"):
        sign_trust(key, shown=(), pinned_sha256=founded.pin, store=founded.store)


def test_nothing_is_signed_beside_a_history_that_the_signer_did_not_pin(founded: Ceremony) -> None:
    founded.propose(renew=True)
    shown = tuple(version.digest for version in show_trust(pinned_sha256=None, store=founded.store).versions)
    key = founded.home("ada").read("trust")
    for pin, kind, code in ((None, Usage, "trust-root-unpinned"), ("0" * 64, Refused, "trust-root-not-pinned")):
        with pytest.raises(kind, match=code):
            sign_trust(key, shown=shown, pinned_sha256=pin, store=founded.store)
    assert show_trust(pinned_sha256=founded.pin, store=founded.store).versions[0].signed_by == frozenset()


def test_a_change_is_shown_against_the_version_before_it_and_no_older_one(founded: Ceremony, tmp_path: Path) -> None:
    for age in ("1800", "900"):
        founded.edit("limits.toml", lambda text, age=age: re.sub("log_age_max_s = .*", f"log_age_max_s = {age}", text))
        founded.propose()
        if age == "900":
            break
        founded.sign("ada")
        founded.sign("bob")
        founded.publish()
    cut = TrustOnDisk(tmp_path / "cut")
    for number, version in enumerate(founded.store.versions()[:2], start=1):
        cut.add_version(number, version)
    cut.swap_staged((), founded.store.staged())
    with pytest.raises(Refused, match="trust-version-skipped"):
        show_trust(pinned_sha256=founded.pin, store=cut)
    cut.swap_staged(cut.staged(), founded.store.versions()[1:2])
    assert show_trust(pinned_sha256=founded.pin, store=cut).versions[0].version == 1


def test_a_key_that_counts_for_nothing_signs_nothing(founded: Ceremony) -> None:
    founded.propose(renew=True)
    shown = tuple(version.digest for version in show_trust(pinned_sha256=None, store=founded.store).versions)
    for key in (SoftwareKey.generate(), founded.home("ada").read("member"), founded.lab_keys.read("online")):
        with pytest.raises(Refused, match="trust-key-unknown"):
            sign_trust(key, shown=shown, pinned_sha256=founded.pin, store=founded.store)


def test_a_proposal_with_signatures_is_not_replaced_by_accident(founded: Ceremony) -> None:
    founded.edit("limits.toml", lambda text: text.replace("3600", "1800"))
    founded.propose()
    founded.propose()
    founded.sign("ada")
    with pytest.raises(Refused, match="trust-staged"):
        founded.propose()
    founded.propose(replace=True)
    assert show_trust(pinned_sha256=None, store=founded.store).versions[0].signed_by == frozenset()


def test_nothing_to_propose_nothing_to_show_nothing_to_publish(founded: Ceremony) -> None:
    for step, code in (
        (founded.propose, "trust-nothing-to-propose"),
        (lambda: show_trust(pinned_sha256=None, store=founded.store), "trust-nothing-staged"),
        (founded.publish, "trust-nothing-staged"),
    ):
        with pytest.raises(Refused) as caught:
            step()
        assert code_of(caught) == code


def test_lab_and_profile_cannot_be_edited(founded: Ceremony) -> None:
    founded.edit("root.toml", lambda text: text.replace('profile = "demo"', 'profile = "production"'))
    with pytest.raises(Refused, match="trust-profile-changed"):
        founded.propose()


def test_a_policy_that_nobody_can_use_is_not_proposed(founded: Ceremony) -> None:
    founded.edit("policy/release.cedar", lambda _: "permit (principal, action, resource);")
    with pytest.raises(KeyturnError):
        founded.propose()
    assert founded.store.staged() == ()


def test_a_staged_policy_that_was_not_checked_is_not_published(founded: Ceremony) -> None:
    founded.edit("policy/release.cedar", lambda _: "permit (principal, action, resource);")
    versions = propose(founded.store.draft(), read_history(founded.store, pinned_sha256=None), now=FOUNDED, renew=False)
    founded.store.swap_staged((), [trust_version.render(version) for version in versions])
    shown = tuple(signed_sha256(version.metadata) for version in versions)
    for member in ("ada", "bob"):
        sign_trust(founded.home(member).read("trust"), shown=shown, pinned_sha256=founded.pin, store=founded.store)
    before = founded.store.versions()
    with pytest.raises(KeyturnError):
        founded.publish()
    assert founded.store.versions() == before


def test_staged_bytes_that_contradict_themselves_are_not_shown(founded: Ceremony) -> None:
    founded.edit("limits.toml", lambda text: text.replace("3600", "1800"))
    founded.propose()
    staged = founded.store.staged()
    version = trust_version.parse(staged[0])
    files = dict(version.files) | {"policy/evil.cedar": b"permit(principal, action, resource);"}
    changed = msgspec.structs.replace(version, files=tuple(sorted(files.items())))
    founded.store.swap_staged(staged, (trust_version.render(changed),))
    with pytest.raises(Malformed, match="targets-file-hash"):
        show_trust(pinned_sha256=None, store=founded.store)


def test_targets_are_not_shown_without_a_root(founded: Ceremony, tmp_path: Path) -> None:
    store = TrustOnDisk(tmp_path / "other")
    store.swap_staged((), (founded.store.versions()[1],))
    with pytest.raises(Refused, match="trust-founding"):
        show_trust(pinned_sha256=None, store=store)
    store.add_version(1, founded.store.versions()[1])
    with pytest.raises(Malformed, match="trust-root-first"):
        read_history(store, pinned_sha256=None)


def test_renewal_gives_new_dates_and_warnings_come_a_third_before_the_end(founded: Ceremony) -> None:
    def warnings() -> tuple[str, ...]:
        return trust_log(pinned_sha256=None, store=founded.store, clock=founded.clock).warnings

    founded.clock.at = FOUNDED + 60 * DAY_S
    assert warnings() == ()
    founded.clock.at += 1
    assert warnings() == ("targets version 1 expires in 29 days: propose --renew, sign, publish",)
    founded.clock.at = FOUNDED + 90 * DAY_S
    assert warnings() == ("targets version 1 has expired: every gate is closed",)
    founded.propose(renew=True)
    founded.sign("ada")
    founded.sign("bob")
    founded.publish()
    assert warnings() == ()


def test_a_draft_is_plain_files_and_nothing_else(founded: Ceremony) -> None:
    draft = founded.trust / "draft"
    (draft / ".roster.toml.swp").write_text("an editor's own")
    founded.store.draft()
    (draft / "notes.md").write_text("mine")
    with pytest.raises(Malformed, match="targets-file-unknown"):
        founded.propose()
    (draft / "notes.md").unlink()
    (draft / "roster.toml").rename(draft.parent / "elsewhere")
    os.symlink(draft.parent / "elsewhere", draft / "roster.toml")
    with pytest.raises(Malformed, match="draft-no-file"):
        founded.propose()
    (draft / "roster.toml").unlink()
    with pytest.raises(Malformed, match="targets-file-missing"):
        founded.propose()
    with pytest.raises(Malformed, match="targets-file-unknown"):
        founded.store.swap_draft(founded.store.draft(), {"../../x": b""})


def test_whoever_can_publish_is_always_listed_as_able_to_change_everything(founded: Ceremony) -> None:
    founded.edit("policy/release.cedar", lambda _: POLICY)
    founded.propose()
    lines = show_trust(pinned_sha256=None, store=founded.store).coalitions
    assert lines == (
        "permit `model-release`: 2 people are enough, as ada, bob",
        "everything, by publishing targets again: any 2 of ada, bob",
        "everything, by publishing another root: any 2 of ada, bob",
    )
    founded.sign("ada")
    founded.sign("bob")
    founded.publish()
    founded.edit("policy/release.cedar", lambda _: POLICY.replace("1 releasers", "2 releasers"))
    with pytest.raises(Refused, match="policy-unapprovable"):
        founded.propose()
    founded.join("cyd", groups=("releasers",))
    founded.propose()
    first, *_, targets, root = show_trust(pinned_sha256=None, store=founded.store).coalitions
    assert first == "`cyd` can now publish root or targets"
    assert targets == "everything, by publishing targets again: any 2 of ada, bob, cyd"
    assert root == "everything, by publishing another root: any 2 of ada, bob, cyd"


POLICY = """@id("model-release")
@quorum("1 releasers")
@pending_max("8h")
permit (principal, action == Action::"model:release", resource);
"""
