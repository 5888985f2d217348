"""A pack is verified by whoever holds only the lab's root: what it proves, and each way to forge one, by its failure."""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.app.custody.open_release import read_label
from keyturn.app.custody.verify_pack import VerifiedPack, examine_pack, verify_pack
from keyturn.custody import pack_index
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, pack, pack_members, records, statement
from keyturn.formats.pack import PackContents
from keyturn.formats.statement import DigestSet, Subject
from support.chains import artifact, signed
from support.labs import Lab, make_key, make_lab
from support.packs import Members, codes, drop, drop_kind, forged, judge, records_of, stolen_gate_pack
from support.releases import MODEL, ReleaseWorld, make_release_world


@functools.cache
def _made() -> tuple[Lab, bytes]:
    world = make_release_world()
    world.build()
    return world.world.lab, world.released()


@pytest.fixture
def lab() -> Lab:
    return _made()[0]


@pytest.fixture
def raw() -> bytes:
    return _made()[1]


# --- what it proves ------------------------------------------------------------------------------------------------------


def test_a_pack_says_who_released_what_and_from_where(raw: bytes, lab: Lab) -> None:
    found = verify_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256).verdict
    assert found.failures == ()
    assert (found.lab, found.profile, found.model) == ("acme.example", "demo", MODEL)
    assert found.granted is not None
    assert found.granted.request.requester == "ada"
    assert set(found.granted.approvers) == {"bob", "cat"}
    assert found.chain is not None
    assert [step.value.build for step in found.chain.steps] == ["ingest", "train", "evaluate", "package"]
    assert found.chain.sources == (artifact("raw"),)
    assert found.cosigners == ("north",)


def test_whoever_verifies_offline_sees_who_stands_behind_the_code() -> None:
    made = make_release_world()
    made.chain.word("ada", controls=3)
    made.chain.word("bob", "reviewer")
    made.build()
    raw, lab = made.released(), made.world.lab
    found = judge(raw, lab)
    assert (found.failures, found.facts is not None and found.facts["custody.code_reviewed"]) == ((), True)
    assert found.chain is not None
    assert [revision.level for code in found.chain.code for revision in code.revisions] == [4]
    assert "pack-statement-missing" in codes(forged(raw, lab, drop_kind("src")), lab)
    without = judge(_made()[1], _made()[0])
    assert without.facts is not None
    assert without.facts["custody.code_reviewed"] is False


def test_only_the_verifier_makes_a_verified_pack(raw: bytes, lab: Lab) -> None:
    verdict = judge(raw, lab)
    with pytest.raises(TypeError):
        VerifiedPack(verdict, MODEL, object())
    with pytest.raises(TypeError):
        verify_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256).__reduce__()


# --- whose root ----------------------------------------------------------------------------------------------------------


def test_a_pack_of_another_lab_with_a_root_of_its_own_is_refused(lab: Lab) -> None:
    world = make_release_world(name="acme.example", humans=("ada", "bob", "cat", "dan", "eve", "mal"))
    world.build()
    found = judge(world.released(), lab)
    ((code, sentence),) = found.failures
    assert code == "pack-other-root"
    assert lab.root_sha256 in sentence
    assert found.chain is None


def test_a_pack_never_brings_a_root(raw: bytes, lab: Lab) -> None:
    brought = forged(raw, lab, lambda members: members.update({"root.json": lab.root_json}))
    assert codes(brought, lab) == {"pack-member-unknown"}


def test_a_root_that_is_not_the_pinned_one_is_the_callers_own_error(raw: bytes, lab: Lab) -> None:
    with pytest.raises(Refused) as caught:
        examine_pack(raw, root_json=make_lab(humans=("eve", "mal")).root_json, pinned_sha256=lab.root_sha256)
    assert caught.value.code == "trust-root-not-pinned"


# --- what is left out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("prv", {"pack-statement-missing", "model-not-made"}),
        ("stp", {"pack-statement-missing", "step-request-missing"}),
        ("tst", {"pack-statement-missing"}),
        ("crt", {"pack-statement-missing", "criteria-missing"}),
        ("req", {"pack-request-missing"}),
        ("apr", {"pack-record-missing"}),
        ("use", {"pack-use-missing"}),
        ("tgt", {"trust-founding"}),
    ],
)
def test_a_record_that_is_left_out_is_missed_by_name(raw: bytes, lab: Lab, kind: str, expected: set[str]) -> None:
    assert expected <= codes(forged(raw, lab, drop_kind(kind)), lab)


def built() -> ReleaseWorld:
    """A lab with a whole chain, of which a test may steal the release gate's key."""
    made = make_release_world()
    made.build()
    return made


def test_a_failed_result_that_is_dropped_from_the_pack_is_missed() -> None:
    made = built()
    _, criteria = made.chain.criteria((artifact("held-out"),))
    made.chain.evaluate(
        artifact("weights"), criteria, name="again", alter_result=lambda r: msgspec.structs.replace(r, passed=False)
    )
    made.sync()
    place = max(i for i, raw in enumerate(made.chain.records) if records.leaf_of(raw).kind == "tst")
    raw = stolen_gate_pack(made)
    dropped = forged(raw, made.world.lab, lambda members: drop(members, place))
    assert "pack-statement-missing" in codes(dropped, made.world.lab)
    assert "evaluation-failed" in codes(raw, made.world.lab)


def test_a_failed_result_that_is_dropped_from_the_index_is_another_index_than_people_signed() -> None:
    made = built()
    _, criteria = made.chain.criteria((artifact("held-out"),))
    made.chain.evaluate(
        artifact("weights"), criteria, name="again", alter_result=lambda r: msgspec.structs.replace(r, passed=False)
    )
    made.sync()
    place = max(i for i, raw in enumerate(made.chain.records) if records.leaf_of(raw).kind == "tst")

    def without(members: Members) -> None:
        drop(members, place)
        index = pack_index.parse(members["index.json"])
        kept = tuple(one for one in index.statements if one.index != place)
        members["index.json"] = pack_index.render(msgspec.structs.replace(index, statements=kept))

    raw = stolen_gate_pack(made)
    assert "release-subjects" in codes(forged(raw, made.world.lab, without), made.world.lab)


def test_what_a_careless_gate_signs_over_a_whole_chain_is_a_pack_too() -> None:
    made = built()
    assert codes(stolen_gate_pack(made), made.world.lab) == set()


def test_a_gates_key_alone_releases_nothing() -> None:
    made = built()
    world = made.world
    world.approve = lambda asked, approver: world.submit(  # type: ignore[method-assign]  # a gate without people
        world.authorization(asked, approver, key=make_key("thief").public.keyid)
    )
    assert codes(stolen_gate_pack(made), world.lab) == {"quorum-not-met", "one-shot-approvals"}


def test_a_stolen_gate_cannot_act_on_a_grant_that_is_over_and_date_it_back() -> None:
    # When a use was is the gate's word; the time of the checkpoint that holds it is the witnesses'.
    made = built()
    world = made.world
    use = world.use

    def use_late(asked: dsse.Envelope, *given: dsse.Envelope) -> dsse.Envelope:
        used_at = world.now
        world.now += 30 * 86400
        return use(asked, *given, used_at=used_at)

    world.use = use_late  # type: ignore[method-assign,assignment]  # a month later
    assert codes(stolen_gate_pack(made), world.lab) == {"release-after-grant"}


def test_an_index_as_of_a_time_to_come_leaves_out_who_is_suspended() -> None:
    made = built()
    made.world.suspend("bob", target_key=made.world.lab.builder_keys["builder"].public.keyid)
    made.index = made.compute_index(as_of=made.world.now + 86400)
    made.ask = functools.partial(made.ask, index=made.index)  # type: ignore[method-assign]  # whoever asks computes it so
    assert codes(stolen_gate_pack(made), made.world.lab) == {"pack-index-ahead"}


def test_an_approval_while_the_gate_acts_does_not_spoil_the_pack() -> None:
    made = built()
    asked = made.ask()
    given = [made.world.approve(asked, "bob"), made.world.approve(asked, "cat")]
    late: list[dsse.Envelope] = []
    made.before_witness = lambda: late.append(made.world.approve(asked, "eve"))
    with pytest.raises(Refused, match="authorization-withheld"):
        made.gate().release(made.order(asked, *given))
    made.before_witness = lambda: None
    assert codes(made.gate().release(made.order(asked, *given, *late)), made.world.lab) == set()


def test_records_about_the_request_that_nobody_signed_do_not_harm_the_pack() -> None:
    made = built()
    world = made.world
    thief = make_key("thief")

    def forge(envelope: dsse.Envelope, keyid: str) -> None:
        resigned = dsse.parse_own(signed(envelope.payload, thief)).signatures[0]
        lie = msgspec.structs.replace(resigned, keyid=keyid)
        world.log.append(dsse.render(msgspec.structs.replace(envelope, signatures=(lie,))))

    def approve_among_forgeries(asked: dsse.Envelope, approver: str) -> dsse.Envelope:
        forge(asked, world.key("ada").public.keyid)
        given = world.authorization(asked, approver)
        forge(given, world.key(approver).public.keyid)
        forge(world.authorization(asked, "dan", decision="deny", reason="no"), world.key("dan").public.keyid)
        return world.submit(given)

    world.approve = approve_among_forgeries  # type: ignore[method-assign]  # among what a thief of the log wrote
    assert codes(made.released(), world.lab) == set()


def test_a_denial_after_the_index_cannot_be_left_out() -> None:
    made = built()
    world = made.world

    def approve_then_deny(asked: dsse.Envelope, approver: str) -> dsse.Envelope:
        given = world.submit(world.authorization(asked, approver))
        if approver == "cat":
            world.submit(world.authorization(asked, "eve", decision="deny", reason="not yet"))
        return given

    world.approve = approve_then_deny  # type: ignore[method-assign]  # somebody denies in between
    raw = stolen_gate_pack(made)
    assert "request-denied" in codes(raw, world.lab)
    assert "pack-record-missing" in codes(forged(raw, world.lab, drop_kind("den")), world.lab)


def test_a_revocation_after_the_release_and_before_the_checkpoint_is_named() -> None:
    made = built()
    world = made.world
    use = world.use

    def use_then_revoke(asked: dsse.Envelope, *given: dsse.Envelope) -> dsse.Envelope:
        used = use(asked, *given)
        world.revoke(asked, "eve")
        return used

    world.use = use_then_revoke  # type: ignore[method-assign,assignment]  # somebody revokes right after
    assert "release-withdrawn" in codes(stolen_gate_pack(made), world.lab)


def test_a_statement_about_the_chain_after_the_index_is_named() -> None:
    made = built()
    use = made.world.use

    def use_then_say(asked: dsse.Envelope, *given: dsse.Envelope) -> dsse.Envelope:
        made.chain.train()
        made.sync()
        return use(asked, *given)

    made.world.use = use_then_say  # type: ignore[method-assign,assignment]  # a step in between
    assert codes(stolen_gate_pack(made), made.world.lab) == {"chain-changed-since"}


# --- what is altered ------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_in_the_pack_is_refused(raw: bytes, lab: Lab) -> None:
    for position in range(0, len(raw), 211):
        assert judge(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :], lab).failures


@settings(max_examples=30)
@given(st.data())
def test_every_single_byte_mutation_is_refused(data: st.DataObject) -> None:
    lab, raw = _made()
    position = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != raw[position]))
    assert judge(raw[:position] + bytes([byte]) + raw[position + 1 :], lab).failures


def test_a_truncated_pack_is_refused(raw: bytes, lab: Lab) -> None:
    assert codes(raw[:-1], lab) == {"pack-truncated"}
    assert codes(b"", lab) == {"pack-magic"}


def test_contents_that_another_key_signed_are_refused(raw: bytes, lab: Lab) -> None:
    assert "signature-key" in codes(forged(raw, lab, lambda members: None, key=make_key("thief")), lab)


def test_another_members_record_in_a_records_place_is_refused(raw: bytes, lab: Lab) -> None:
    def swap(members: Members) -> None:
        first, second = sorted(p for p, kind in records_of(members).items() if kind == "prv")[:2]
        a, b = pack_members.record_name(first), pack_members.record_name(second)
        members[a], members[b] = members[b], members[a]

    assert {"pack-record-unproved", "pack-record-other"} <= codes(forged(raw, lab, swap), lab)


def test_a_record_that_the_index_does_not_name_is_refused(raw: bytes, lab: Lab) -> None:
    def add(members: Members) -> None:
        index = pack_index.parse(members["index.json"])
        kept = tuple(one for one in index.statements if one.kind != "crt")
        members["index.json"] = pack_index.render(msgspec.structs.replace(index, statements=kept))

    assert {"pack-record-unknown", "release-subjects"} <= codes(forged(raw, lab, add), lab)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda m: m.update(leaves=m["leaves"][:-1]), "pack-leaves", id="leaves cut inside one"),
        pytest.param(lambda m: m.update(leaves=b""), "pack-other-leaves", id="no leaves"),
        pytest.param(
            lambda m: m.update({"frontier.json": pack_members.render_frontier(0, ())}),
            "pack-other-leaves",
            id="a tree without the leaves before the index",
        ),
        pytest.param(lambda m: m.update(proofs=b""), "pack-proofs", id="no proofs"),
        pytest.param(lambda m: m.update(checkpoint=b"x"), "note-", id="no checkpoint"),
        pytest.param(lambda m: m.pop("vsa.json"), "pack-member-missing", id="no summary"),
        pytest.param(lambda m: m.update({"vsa.json": m["release.json"]}), "json-invalid", id="no summary in its place"),
    ],
)
def test_a_member_that_is_not_what_it_must_be_is_refused(
    raw: bytes, lab: Lab, change: Callable[[Members], object], expected: str
) -> None:
    assert any(code.startswith(expected) for code in codes(forged(raw, lab, change), lab)), codes(
        forged(raw, lab, change), lab
    )


def test_an_index_of_another_tree_is_refused(raw: bytes, lab: Lab) -> None:
    def other(members: Members) -> None:
        index = pack_index.parse(members["index.json"])
        members["index.json"] = pack_index.render(msgspec.structs.replace(index, root="0" * 64))

    assert codes(forged(raw, lab, other), lab) == {"pack-other-index"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"gate": "keyturn://acme.example/gate/elsewhere"}, "gate-unknown"),
        ({"gate": "keyturn://acme.example/gate/other"}, "signature-key"),
        ({"key": "0" * 64}, "pack-contents-key"),
        ({"size": 3}, "pack-contents-size"),
        ({"lab": "evil.example"}, "lab-other"),
        ({"table": "0" * 64}, "pack-table-other"),
        ({"request": "0" * 64}, "pack-request-missing"),
    ],
)
def test_contents_that_say_something_else_are_refused(
    raw: bytes, lab: Lab, changed: dict[str, object], code: str
) -> None:
    found = pack.parse(raw)
    old = statement.parse(dsse.parse_own(found.contents).payload, PackContents, pack.PACK)
    payload = statement.make(msgspec.structs.replace(old.predicate, **changed), pack.PACK, old.subject)
    assert code in codes(pack.render(signed(payload, lab.gate_keys["release"]), found.members), lab)


def test_contents_about_another_model_are_refused(raw: bytes, lab: Lab) -> None:
    found = pack.parse(raw)
    old = statement.parse(dsse.parse_own(found.contents).payload, PackContents, pack.PACK)
    payload = statement.make(old.predicate, pack.PACK, (Subject(digest=DigestSet.of(artifact("other"))),))
    assert "pack-contents-model" in codes(pack.render(signed(payload, lab.gate_keys["release"]), found.members), lab)


@pytest.mark.parametrize("name", ["release.json", "vsa.json"])
def test_statements_about_another_model_or_by_another_key_are_refused(raw: bytes, lab: Lab, name: str) -> None:
    def about_another(members: Members) -> None:
        payload = dsse.parse_own(members[name]).payload.replace(MODEL.hex.encode(), artifact("other").hex.encode())
        members[name] = signed(payload, lab.gate_keys["release"])

    def by_another(members: Members) -> None:
        members[name] = signed(dsse.parse_own(members[name]).payload, make_key("thief"))

    assert "release-statement-other" in codes(forged(raw, lab, about_another), lab)
    assert "signature-key" in codes(forged(raw, lab, by_another), lab)


def test_a_summary_that_claims_a_higher_level_is_refused(raw: bytes, lab: Lab) -> None:
    def higher(members: Members) -> None:
        payload = dsse.parse_own(members["vsa.json"]).payload.replace(b"SLSA_BUILD_LEVEL_1", b"SLSA_BUILD_LEVEL_3")
        members["vsa.json"] = signed(payload, lab.gate_keys["release"])

    assert "release-statement-other" in codes(forged(raw, lab, higher), lab)


def test_a_summary_that_claims_a_second_builder_who_is_not_in_the_chain_is_refused(raw: bytes, lab: Lab) -> None:
    def reproduced(members: Members) -> None:
        payload = dsse.parse_own(members["vsa.json"]).payload.replace(
            b'"SLSA_BUILD_LEVEL_1"', b'"SLSA_BUILD_LEVEL_1","SLSA_BUILD_REPRODUCED"'
        )
        members["vsa.json"] = signed(payload, lab.gate_keys["release"])

    assert codes(forged(raw, lab, reproduced), lab) == {"release-statement-other"}


@pytest.mark.parametrize("name", ["", "pack-index", "pack-index/01/2", "pack-index/1/2/3", "pack-index/1/\u0662"])
def test_a_label_has_one_form(name: str) -> None:
    with pytest.raises(Malformed):
        read_label(name)
