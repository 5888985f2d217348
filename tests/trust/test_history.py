"""TrustHistory: from the pinned first root through every version, and each way to be led astray refused by its name."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from keyturn.crypto.credentials import Credential
from keyturn.errors import KeyturnError, Malformed, Refused, Tampered
from keyturn.formats import trust_version
from keyturn.formats.digest import sha256
from keyturn.formats.trust_version import TrustVersion
from keyturn.trust import signing
from keyturn.trust.history import TrustHistory, walk
from keyturn.trust.metadata import Holder, RootMetadata
from keyturn.trust.render import render_contents
from keyturn.trust.roster import Member, Profile, Roster, Witness
from support.labs import DAY_S, NOW, Lab, make_key, make_lab


def _code(history: TrustHistory, version: TrustVersion, *, now: int | None = NOW) -> str:
    with pytest.raises(KeyturnError) as caught:
        history.advance(version, now=now)
    return caught.value.code


def _targets(lab: Lab, number: int) -> TrustVersion:
    found = [trust_version.parse(raw) for raw in lab.containers]
    return next(v for v in found if v.role == "targets" and v.version == number)


def _root(lab: Lab, number: int) -> TrustVersion:
    found = [trust_version.parse(raw) for raw in lab.containers]
    return next(v for v in found if v.role == "root" and v.version == number)


def _signed_root(lab: Lab, raw: bytes, *, version: int, by: tuple[str, ...]) -> TrustVersion:
    for human in by:
        raw = signing.add_signature(raw, make_key(f"{lab.name} trust {human}"))
    return TrustVersion(role="root", version=version, metadata=raw)


def test_a_founded_lab_has_a_newest_state(lab: Lab) -> None:
    state = lab.history.newest
    assert (state.lab, state.profile, state.root_version, state.targets_version) == ("acme.example", "demo", 1, 1)
    assert state.publishers == {"ada", "bob"}
    assert state.roster.members_of("everyone") == {"ada", "bob"}
    assert lab.history.at(1) == state == lab.history.current(now=NOW)
    assert lab.history.at(0) is None
    assert lab.history.at(2) is None
    assert [(link.role, link.version, link.signers) for link in lab.history.links] == [
        ("root", 1, {"ada", "bob"}),
        ("targets", 1, {"ada", "bob"}),
    ]


def test_a_root_that_is_not_the_pinned_one_is_refused(lab: Lab) -> None:
    with pytest.raises(Refused, match="trust-root-not-pinned"):
        TrustHistory.start(lab.root_json, pinned_sha256="0" * 64)
    with pytest.raises(Malformed, match="digest-invalid"):
        TrustHistory.start(lab.root_json, pinned_sha256=sha256(lab.root_json).upper())


def test_a_history_begins_with_version_one(lab: Lab) -> None:
    second = lab.with_root(humans=("ada", "bob")).history.root.raw
    with pytest.raises(Refused, match="trust-root-first"):
        TrustHistory.start(second, pinned_sha256=sha256(second))


def test_a_first_root_that_its_own_threshold_did_not_sign_is_founding(lab: Lab) -> None:
    for by in ((), ("ada",)):
        raw = _signed_root(lab, lab.make_root(version=1), version=1, by=by).metadata
        with pytest.raises(Refused, match="trust-founding"):
            TrustHistory.start(raw, pinned_sha256=sha256(raw))


def test_a_lab_without_targets_is_founding_and_grants_nothing(lab: Lab) -> None:
    history = TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256)
    assert history.targets_version == 0
    for ask in (lambda: history.newest, lambda: history.current(now=NOW)):
        with pytest.raises(Refused, match="trust-founding"):
            ask()


def test_versions_follow_each_other(lab: Lab) -> None:
    later = lab.publish(policy={}).with_root(humans=("ada", "bob", "cyd")).publish(policy={"x": "// x\n"})
    assert later.history.newest.targets_version == 3
    assert later.history.newest.root_version == 2
    assert later.history.newest.publishers == {"ada", "bob", "cyd"}
    replayed = walk(
        later.root_json,
        pinned_sha256=lab.root_sha256,
        versions=map(trust_version.parse, later.containers),
        now=NOW,
    )
    assert replayed == later.history


def test_the_newest_version_again_changes_nothing(lab: Lab) -> None:
    assert lab.history.advance(_root(lab, 1), now=NOW) == lab.history
    assert lab.history.advance(_targets(lab, 1), now=NOW) == lab.history


def test_rolled_back_versions_are_refused(lab: Lab) -> None:
    later = lab.publish(policy={}).with_root(humans=("ada", "bob"))
    assert _code(later.history, _targets(lab, 1)) == "trust-rollback"
    assert _code(later.history, _root(lab, 1)) == "trust-rollback"


def test_skipped_versions_are_refused(lab: Lab) -> None:
    second = lab.publish(policy={"a": "// a\n"})
    assert _code(lab.history, _targets(second.publish(policy={}), 3)) == "trust-version-skipped"
    third_root = second.with_root(humans=("ada", "bob")).with_root(humans=("ada", "bob"))
    assert _code(lab.history, _root(third_root, 3)) == "trust-version-skipped"


def test_two_signed_texts_of_one_version_are_a_fork(lab: Lab) -> None:
    one, other = lab.publish(policy={"a": "// a\n"}), lab.publish(policy={"b": "// b\n"})
    with pytest.raises(Tampered, match="trust-version-twice"):
        one.history.advance(_targets(other, 2), now=NOW)
    two = lab.with_root(humans=("ada", "bob", "cyd"))
    with pytest.raises(Tampered, match="trust-version-twice"):
        lab.with_root(humans=("ada", "bob")).history.advance(_root(two, 2), now=NOW)


def test_an_unsigned_fork_accuses_nobody(lab: Lab) -> None:
    fork = TrustVersion(role="root", version=1, metadata=lab.make_root(version=1, now=NOW + 1))
    assert _code(lab.history, fork) == "trust-threshold"
    raw = signing.make_targets({}, lab=lab.name, version=1, expires_at=NOW + DAY_S)
    assert _code(lab.history, TrustVersion(role="targets", version=1, metadata=raw)) == "trust-threshold"


def test_a_version_with_fewer_of_its_signatures_is_the_same_version() -> None:
    lab = make_lab(humans=("ada", "bob", "cyd"))
    raw = _signed_root(lab, lab.make_root(version=1), version=1, by=("ada", "bob"))
    assert raw.metadata != lab.root_json
    assert lab.history.advance(raw, now=NOW) == lab.history


def test_a_container_that_says_another_number_than_its_metadata_is_malformed(lab: Lab) -> None:
    version = msgspec.structs.replace(_targets(lab.publish(policy={}), 2), version=3)
    assert _code(lab.history, version) == "trust-version-mismatch"


def test_targets_signed_by_one_human_are_refused(lab: Lab) -> None:
    with pytest.raises(Refused, match="trust-threshold"):
        lab.with_contents(lab.contents, signers=("ada",))


def test_a_version_in_the_log_that_nobody_signed_changes_nothing_and_stops_nobody(lab: Lab) -> None:
    files = render_contents(lab.contents)
    for version in (1, 2, 7):
        raw = signing.make_targets(files, lab=lab.name, version=version, expires_at=NOW + DAY_S)
        raw = signing.add_signature(raw, lab.online_key)
        forged = TrustVersion(role="targets", version=version, metadata=raw, files=tuple(sorted(files.items())))
        assert lab.history.followed_by(forged) is lab.history
    later = lab.publish(policy={})
    assert lab.history.followed_by(trust_version.parse(later.containers[-1])) == later.history


def test_two_keys_that_one_human_has_had_count_once() -> None:
    lab = make_lab(humans=("ada", "bob", "cyd"))
    raw = signing.add_signature(lab.make_root(version=2), lab.trust_keys["ada"])
    raw = signing.add_signature(raw, make_key("another key of ada"))
    assert _code(lab.history, TrustVersion(role="root", version=2, metadata=raw)) == "trust-threshold"


@pytest.mark.parametrize(
    "by",
    [
        pytest.param(("ada", "cyd"), id="the old root's threshold is missing"),
        pytest.param(("bob", "ada"), id="the new root's threshold is missing"),
        pytest.param(("ada",), id="one human of both"),
    ],
)
def test_a_new_root_needs_the_old_threshold_and_its_own(lab: Lab, by: tuple[str, ...]) -> None:
    keys = {human: make_key(f"{lab.name} trust {human}") for human in ("ada", "cyd")}
    raw = signing.make_root(
        lab=lab.name,
        profile="demo",
        version=2,
        expires_at=NOW + DAY_S,
        threshold=2,
        targets_threshold=2,
        holders=tuple(Holder(h, k.public, root=True, targets=True, recovery=False) for h, k in keys.items()),
        online=lab.online_key.public,
    )
    assert _code(lab.history, _signed_root(lab, raw, version=2, by=by)) == "trust-threshold"
    done = lab.history.advance(_signed_root(lab, raw, version=2, by=("ada", "bob", "cyd")), now=NOW)
    assert done.root.version == 2


def _other_root(lab: Lab, *, name: str, profile: Profile) -> TrustVersion:
    raw = signing.make_root(
        lab=name,
        profile=profile,
        version=2,
        expires_at=NOW + DAY_S,
        threshold=2,
        targets_threshold=2,
        holders=tuple(
            Holder(human, key.public, root=True, targets=human != "cyd", recovery=human == "cyd")
            for human, key in lab.trust_keys.items()
        ),
        online=lab.online_key.public,
    )
    return _signed_root(lab, raw, version=2, by=tuple(lab.trust_keys))


def test_profile_and_lab_are_fixed_for_the_roots_life(production: Lab) -> None:
    assert (
        _code(production.history, _other_root(production, name=production.name, profile="demo"))
        == "trust-profile-changed"
    )
    assert (
        _code(production.history, _other_root(production, name="other.example", profile="production"))
        == "trust-lab-changed"
    )


def test_targets_of_another_lab_are_refused_though_the_same_people_signed_them(lab: Lab) -> None:
    files = render_contents(lab.contents)
    raw = signing.make_targets(files, lab="other.example", version=2, expires_at=NOW + DAY_S)
    for key in lab.trust_keys.values():
        raw = signing.add_signature(raw, key)
    version = TrustVersion(role="targets", version=2, metadata=raw, files=tuple(sorted(files.items())))
    assert _code(lab.history, version) == "trust-lab-changed"


def test_a_root_that_removes_a_signer_closes_the_lab_until_targets_are_signed_again() -> None:
    lab = make_lab(humans=("ada", "bob", "cyd"))
    signed = lab.with_contents(lab.contents, signers=("bob", "cyd"))
    rotated = signed.with_root(humans=("ada", "bob", "dan"))
    with pytest.raises(Refused, match="trust-targets-unsigned"):
        rotated.history.current(now=NOW)
    assert rotated.history.at(2) is not None
    assert rotated.with_contents(lab.contents).history.current(now=NOW).targets_version == 3


def test_expired_metadata_proves_the_past_and_opens_nothing(lab: Lab) -> None:
    targets_end, root_end = NOW + 90 * DAY_S, NOW + 365 * DAY_S
    assert lab.history.current(now=targets_end - 1).targets_version == 1
    for now in (targets_end, root_end):
        with pytest.raises(Refused, match="trust-expired"):
            lab.history.current(now=now)
    renewed = lab.with_contents(lab.contents, now=root_end - DAY_S)
    with pytest.raises(Refused, match="root version 1 expired"):
        renewed.history.current(now=root_end)
    containers = tuple(map(trust_version.parse, lab.containers))
    past = walk(lab.root_json, pinned_sha256=lab.root_sha256, versions=containers, now=None)
    assert past.at(1) is not None
    with pytest.raises(Refused, match="trust-expired"):
        walk(lab.root_json, pinned_sha256=lab.root_sha256, versions=containers, now=root_end)


def test_a_frozen_version_is_refused_when_time_is_given(lab: Lab) -> None:
    late = NOW + 366 * DAY_S
    later = lab.publish(policy={}).with_root(humans=("ada", "bob"))
    for version in (_targets(lab, 1), _targets(later, 2), _root(lab, 1), _root(later, 2)):
        assert _code(lab.history, version, now=late) == "trust-expired"
        assert lab.history.advance(version, now=None).links


def test_a_walk_may_pass_through_versions_that_have_expired(lab: Lab) -> None:
    late = NOW + 364 * DAY_S
    later = lab.with_root(humans=("ada", "bob"), now=late).with_contents(lab.contents, now=late)
    history = walk(
        lab.root_json, pinned_sha256=lab.root_sha256, versions=map(trust_version.parse, later.containers), now=late
    )
    assert history.newest.targets_version == 2


def _with_files(version: TrustVersion, **files: bytes | None) -> TrustVersion:
    changed = dict(version.files) | {name: content for name, content in files.items() if content is not None}
    for name, content in files.items():
        if content is None:
            del changed[name]
    return msgspec.structs.replace(version, files=tuple(sorted(changed.items())))


def test_target_files_are_exactly_those_that_were_signed(lab: Lab) -> None:
    good = _targets(lab.publish(policy={}), 2)
    roster = dict(good.files)["roster.toml"]
    for changed, code in (
        (_with_files(good, **{"roster.toml": roster + b"\n"}), "targets-file-hash"),
        (_with_files(good, **{"roster.toml": roster.replace(b"ada", b"eve")}), "targets-file-hash"),
        (_with_files(good, **{"roster.toml": None}), "targets-file-missing"),
        (_with_files(good, **{"policy/extra.cedar": b""}), "targets-file-extra"),
        (msgspec.structs.replace(good, files=(*good.files, good.files[0])), "targets-file-extra"),
    ):
        assert _code(lab.history, changed) == code
    replay = _with_files(_targets(lab, 1), **{"roster.toml": roster + b"\n"})
    assert _code(lab.history, replay) == "targets-file-hash"


def test_signed_targets_that_do_not_parse_are_refused_whole(lab: Lab) -> None:
    files = render_contents(lab.contents) | {"roster.toml": b"version = 2\n"}
    raw = signing.make_targets(files, lab=lab.name, version=2, expires_at=NOW + DAY_S)
    for key in lab.trust_keys.values():
        raw = signing.add_signature(raw, key)
    version = TrustVersion(role="targets", version=2, metadata=raw, files=tuple(sorted(files.items())))
    assert _code(lab.history, version) == "targets-file-invalid"


def _roster(lab: Lab, **members: Member | None) -> Roster:
    known = dict(lab.contents.roster.members)
    for name, member in members.items():
        known.pop(name, None)
        if member is not None:
            known[name] = member
    return Roster(lab=lab.name, members=known, groups={})


def _human(name: str, *keys: str) -> Member:
    return Member(
        id=name, kind="human", name=name, keys=tuple(Credential(make_key(k).public, "software") for k in keys)
    )


def test_an_id_is_never_reused() -> None:
    lab = make_lab(humans=("ada", "bob"))
    gone = lab.publish(roster=_roster(lab, dan=_human("dan", "dan 1"))).publish(roster=_roster(lab))
    with pytest.raises(Refused, match="member-id-reused"):
        gone.publish(roster=_roster(lab, dan=_human("dan", "dan 2")))


def test_a_member_never_becomes_another_kind() -> None:
    lab = make_lab(humans=("ada", "bob"), agents={"helper": ("ada",)})
    human = _human("helper", "new")
    with pytest.raises(Refused, match="member-id-reused"):
        lab.publish(roster=_roster(lab, helper=human))


def test_a_key_never_passes_to_somebody_else() -> None:
    lab = make_lab(humans=("ada", "bob"))
    later = lab.publish(roster=_roster(lab, dan=_human("dan", "dan 1")))
    moved = later.publish(roster=_roster(lab, dan=_human("dan", "dan 2")))
    assert moved.publish(roster=_roster(lab, dan=_human("dan", "dan 1"))).history.targets_version == 4
    with pytest.raises(Refused, match="member-key-reassigned"):
        moved.publish(roster=_roster(lab, dan=_human("dan", "dan 2"), eve=_human("eve", "dan 1")))


def test_a_new_root_may_not_use_a_key_that_the_targets_use() -> None:
    lab = make_lab(humans=("ada", "bob"))
    raw = signing.make_root(
        lab=lab.name,
        profile="demo",
        version=2,
        expires_at=NOW + DAY_S,
        threshold=2,
        targets_threshold=2,
        holders=(
            *lab.history.root.holders,
            Holder("cyd", lab.member_keys["bob"].public, root=True, targets=True, recovery=False),
        ),
        online=lab.online_key.public,
    )
    assert _code(lab.history, _signed_root(lab, raw, version=2, by=("ada", "bob"))) == "key-purpose"


def test_whoever_holds_a_trust_key_is_human() -> None:
    lab = make_lab(humans=("ada", "bob"), agents={"helper": ("ada",)})
    with pytest.raises(Refused, match="trust-holder-not-human"):
        lab.with_root(humans=("ada", "bob", "helper"))


def test_a_change_of_witnesses_or_log_key_names_every_log_whose_quorum_is_needed() -> None:
    lab = make_lab(humans=("ada", "bob"))
    log = lab.contents.log
    assert lab.publish(policy={}).history.logs_since(1) == (log,)
    wider = replace(log, witnesses=(*log.witnesses, Witness("south", make_key("south").public, "op-south")))
    rekeyed = replace(wider, key=make_key("log 2").public)
    later = lab.publish(log=wider).publish(policy={}).publish(log=rekeyed)
    assert later.history.logs_since(1) == (log, wider, rekeyed)
    assert later.history.logs_since(0) == (log, wider, rekeyed)
    assert later.history.logs_since(3) == (wider, rekeyed)
    assert later.history.logs_since(4) == (rekeyed,)


def test_a_root_before_any_targets_may_be_replaced(lab: Lab) -> None:
    start = TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256)
    history = start.advance(_root(lab.with_root(humans=("ada", "bob")), 2), now=NOW)
    assert history.states == ()
    assert history.root.version == 2


def test_a_history_keeps_what_old_versions_said(lab: Lab) -> None:
    later = lab.publish(roster=_roster(lab, dan=_human("dan", "dan 1")))
    first, second = later.history.at(1), later.history.at(2)
    assert first is not None
    assert second is not None
    assert "dan" not in first.roster.members
    assert "dan" in second.roster.members
    assert later.history.lab == "acme.example"
    assert later.history.profile == "demo"


def test_publishers_are_everyone_who_signs_root_or_targets(production: Lab) -> None:
    root: RootMetadata = production.history.root
    assert root.publishers == {"ada", "bob", "cyd"}


def test_the_log_keeps_its_origin() -> None:
    lab = make_lab(humans=("ada", "bob"))
    with pytest.raises(Refused, match="log-origin-changed"):
        lab.publish(log=replace(lab.contents.log, origin="log.elsewhere.example"))
