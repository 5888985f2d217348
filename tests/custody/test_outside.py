"""Evidence from outside: a fact about where custody begins when all of it holds, and each way in which it does not, by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from keyturn.custody.afterwards import changed_since
from keyturn.custody.evidence import Entry, Failure
from keyturn.custody.expected import bound_to, found_in
from keyturn.custody.facts import facts_of
from keyturn.custody.outside import Outside, nobody_verifies, read_outside, require_expected
from keyturn.custody.verify import Chain, Suspended, examine, with_outside
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import dsse, records
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.evidence import Found, Presented
from keyturn.formats.evidence_format import EvidenceFormat
from keyturn.formats.outside_statement import OMS, PROVENANCE_V1, VSA_V1
from keyturn.trust.outside import OutsideSigner
from support.chains import AURORA, MadeChain, artifact
from support.labs import NOW, make_key, make_lab

RAW = artifact("raw")
ROOT = b"a trusted root"
VENDOR = OutsideSigner(
    name="vendor",
    method="sigstore",
    statements=frozenset({"https://x.example/v1", VSA_V1}),
    identity="ci@vendor.example",
    issuer="https://vendor.example",
    trusted_root=sha256(ROOT),
)
FOUND = Found(
    signer="ci@vendor.example", issuer="https://vendor.example", statement="https://x.example/v1", subjects=(str(RAW),)
)


def presented(**more: Any) -> Presented:
    form: EvidenceFormat = "dsse"
    return replace(Presented(form, b"original", RAW, ROOT, b"", NOW), **more)


def verify(one: Presented, _signer: OutsideSigner) -> Found:
    """A verifier of a format whose originals say what was found in them."""
    if one.original == b"original":
        return FOUND
    return msgspec.json.decode(one.original, type=Found)


@pytest.fixture
def chain() -> MadeChain:
    return MadeChain(make_lab(outside=(VENDOR,), agents={"ada+coder": ("ada",)}))


def read(
    chain: MadeChain, suspended: Suspended | None = None, checked: Any = verify
) -> tuple[tuple[Outside, ...], list[str]]:
    found, failures = read_outside(
        of_kind(chain, "evd"),
        parts=of_kind(chain, "evp"),
        lab=chain.lab.name,
        timeline=chain.timeline,
        suspended_members=suspended.members if suspended else frozenset(),
        suspended_keys=suspended.keys if suspended else frozenset(),
        verify=checked,
        about=None,
    )
    return found, [one.code for one in failures]


def of_kind(chain: MadeChain, kind: str) -> list[Entry]:
    return [Entry(i, raw) for i, raw in enumerate(chain.records) if records.leaf_of(raw).kind == kind]


def whole(chain: MadeChain) -> Chain:
    model = chain.build()
    found = examine(
        model,
        chain.entries(model),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=Suspended(frozenset(), frozenset()),
    )
    held, _ = read(chain)
    return with_outside(found, held, ())


def test_evidence_about_what_custody_begins_with_is_a_fact(chain: MadeChain) -> None:
    at = chain.evidence(presented(), FOUND)
    found = whole(chain)
    assert [one.index for one in found.outside] == [at]
    assert found.failures == ()
    facts = facts_of(found)
    assert (facts["custody.evidence_count"], facts["custody.evidence_complete"]) == (1, True)
    assert facts["custody.evidence_level_min"] == 0
    assert RAW not in found.lineage.makers  # it is no step
    assert at in [one.index for one in chain.index(found.model).statements]


def test_the_highest_level_counts_and_what_rests_on_a_members_word_does_not(chain: MadeChain) -> None:
    for level in (1, 3):
        summary = msgspec.structs.replace(FOUND, statement=VSA_V1, level=level)
        chain.evidence(presented(original=msgspec.json.encode(summary)), summary)
    assert facts_of(whole(chain))["custody.evidence_level_min"] == 3


def test_evidence_bound_by_files_is_shown_and_completes_nothing() -> None:
    chain = MadeChain(make_lab(outside=(replace(VENDOR, statements=frozenset({OMS})),)))
    nameless = msgspec.structs.replace(FOUND, subjects=(), statement=OMS)
    chain.evidence(presented(original=msgspec.json.encode(nameless)), nameless)
    facts = facts_of(whole(chain))
    assert (facts["custody.evidence_count"], facts["custody.evidence_complete"]) == (1, False)


def test_evidence_about_something_else_in_the_chain_completes_nothing(chain: MadeChain) -> None:
    data = artifact("data")
    about = msgspec.structs.replace(FOUND, subjects=(str(data),))
    chain.evidence(presented(artifact=data, original=msgspec.json.encode(about)), about)
    facts = facts_of(whole(chain))
    assert (facts["custody.evidence_count"], facts["custody.evidence_complete"]) == (1, False)


def test_what_is_about_something_else_than_was_asked_for_neither_holds_nor_fails(chain: MadeChain) -> None:
    chain.evidence(presented(), FOUND)
    chain.evidence(presented(artifact=artifact("other")), FOUND)
    assert (len(read(chain)[0]), read(chain)[1]) == (1, ["evidence-other-subject"])
    assert [len(part) for part in _about(chain, artifact("other"))] == [0, 1]
    assert [len(part) for part in _about(chain, RAW)] == [1, 0]
    assert _about(chain, artifact("third")) == ((), ())


def _about(chain: MadeChain, one: ArtifactDigest) -> tuple[tuple[Outside, ...], tuple[Failure, ...]]:
    return read_outside(
        of_kind(chain, "evd"),
        parts=(),
        lab=chain.lab.name,
        timeline=chain.timeline,
        suspended_members=frozenset(),
        suspended_keys=frozenset(),
        verify=verify,
        about=frozenset({one}),
    )


def test_what_nobody_of_the_lab_signed_has_no_effect(chain: MadeChain) -> None:
    chain.evidence(presented(), FOUND, signer=make_key("mallory"))
    chain.evidence(presented(), FOUND, lab="other.example")
    chain.evidence(presented(), FOUND, key="ab" * 32)
    early = MadeChain(chain.lab)
    early.records.insert(0, chain.records[-1])
    assert read(chain) == ((), [])
    assert read(early) == ((), [])


@pytest.mark.parametrize(
    ("altered", "code"),
    [
        pytest.param({"outside": "nobody"}, "outside-unknown", id="a signer whom the lab does not know"),
        pytest.param({"subject": artifact("data")}, "evidence-subject", id="a record about another artifact"),
        pytest.param({"materials": ()}, "evidence-material", id="no trusted root"),
        pytest.param(
            {"found": msgspec.structs.replace(FOUND, signer="mallory")}, "evidence-differs", id="another signer's name"
        ),
        pytest.param({"found": msgspec.structs.replace(FOUND, level=3)}, "evidence-differs", id="a level of its own"),
        pytest.param(
            {"found": msgspec.structs.replace(FOUND, subjects=()), "bound": "files"},
            "evidence-bound",
            id="bound otherwise",
        ),
    ],
)
def test_evidence_that_says_more_than_verifies_is_a_failure(
    chain: MadeChain, altered: dict[str, Any], code: str
) -> None:
    chain.evidence(presented(), altered.pop("found", FOUND), **altered)
    assert read(chain) == ((), [code])


def test_evidence_about_other_bytes_than_its_artifact_is_a_failure(chain: MadeChain) -> None:
    other = msgspec.structs.replace(FOUND, subjects=(str(artifact("data")),))
    chain.evidence(presented(original=msgspec.json.encode(other)), FOUND)
    assert read(chain) == ((), ["evidence-other-subject"])


def test_another_root_than_the_pinned_one_is_refused_whoever_brings_it(chain: MadeChain) -> None:
    chain.evidence(presented(trusted_root=b"my own"), FOUND)
    chain.evidence(presented(layout=b"my own"), FOUND)
    assert read(chain) == ((), ["evidence-material"] * 2)


def test_a_statement_about_which_the_signer_is_not_believed_is_refused(chain: MadeChain) -> None:
    other = msgspec.structs.replace(FOUND, statement="https://y.example/v1")
    chain.evidence(presented(original=msgspec.json.encode(other)), other)
    assert read(chain) == ((), ["evidence-statement"])


def test_without_what_verifies_it_evidence_does_not_hold(chain: MadeChain) -> None:
    chain.evidence(presented(), FOUND)
    assert read(chain, checked=nobody_verifies) == ((), ["evidence-not-verified"])


def test_whoever_took_it_in_is_suspended(chain: MadeChain) -> None:
    chain.evidence(presented(), FOUND)
    key = chain.lab.member_keys["ada"].public.keyid
    for members, keys in ((frozenset({"ada"}), frozenset[str]()), (frozenset[str](), frozenset({key}))):
        assert read(chain, Suspended(members, keys)) == ((), ["chain-signer-suspended"])


def test_a_signer_whom_the_lab_lists_no_more_or_otherwise_is_not_believed_afterwards(chain: MadeChain) -> None:
    chain.evidence(presented(), FOUND)
    chain.publish(chain.lab.publish(outside=(replace(VENDOR, identity="other@vendor.example"),)))
    assert read(chain) == ((), ["outside-changed"])
    chain.publish(chain.lab.publish(outside=()))
    assert read(chain) == ((), ["outside-changed"])


def test_an_original_in_parts_is_put_together_of_every_one_of_them_in_order(chain: MadeChain) -> None:
    parts = {name: chain.part(presented(), content) for name, content in (("first", b"ori"), ("last", b"ginal"))}
    digests = [dsse.parse_own(chain.records[at]).record_digest for at in parts.values()]
    whole_of: dict[str, Any] = {"original": b"", "parts": tuple(digests), "size": 8}
    at = chain.evidence(presented(), FOUND, **whole_of)
    found, failures = read(chain)
    assert ([(one.index, one.original) for one in found], failures) == ([(at, b"original")], [])
    assert found[0].evidence.size_bytes == len(b"original"), "though it stands in no record whole"
    named = {one.index for one in chain.index(chain.build()).statements}
    assert {at, *parts.values()} <= named
    assert whole(chain).failures == ()


@pytest.mark.parametrize(
    ("altered", "code"),
    [
        pytest.param({"parts": ("ab" * 32,)}, "evidence-part-missing", id="a part that nobody has"),
        pytest.param({"parts": (1, 0)}, "evidence-digest", id="parts in another order"),
        pytest.param({"parts": (0,)}, "evidence-digest", id="the first part alone"),
        pytest.param({"parts": (0, 1, 1)}, "evidence-digest", id="a part twice"),
        pytest.param({"size": 9}, "evidence-digest", id="another size"),
        pytest.param({"digest": "ab" * 32}, "evidence-digest", id="another digest"),
    ],
)
def test_parts_that_make_another_whole_than_the_member_signed_are_refused_by_name(
    chain: MadeChain, altered: dict[str, Any], code: str
) -> None:
    places = [chain.part(presented(), content, signer=make_key("anybody")) for content in (b"ori", b"ginal")]
    digests = [dsse.parse_own(chain.records[at]).record_digest for at in places]
    fields: dict[str, Any] = {"original": b"", "parts": (0, 1), "size": 8} | altered
    fields["parts"] = tuple(digests[one] if isinstance(one, int) else one for one in fields["parts"])
    chain.evidence(presented(), FOUND, **fields)
    assert read(chain) == ((), [code])


def test_evidence_pulls_nothing_into_a_chain_but_parts(chain: MadeChain) -> None:
    request, made = chain.step("train", {"data": artifact("elsewhere")}, {"model": artifact("other")})
    named = tuple(dsse.parse_own(chain.records[at]).record_digest for at in (request,))
    chain.evidence(presented(), FOUND, original=b"", parts=named, size=8)
    assert not {request, made} & {one.index for one in chain.index(chain.build()).statements}
    assert read(chain) == ((), ["evidence-part-missing"])


def test_evidence_that_comes_after_what_people_approved_is_a_change(chain: MadeChain) -> None:
    found = whole(chain)
    start = len(chain.records)
    chain.evidence(presented(), FOUND)
    chain.evidence(presented(artifact=artifact("elsewhere")), FOUND, bound="files")
    assert [one.index for one in changed_since(found, chain.leaves[start:], start=start)] == [start]


# --- what is expected of a signer ----------------------------------------------------------------------------------


def said(kind: str, predicate: Any, subject: str = RAW.hex) -> bytes:
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"dirHash": subject}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    return json.dumps(value).encode()


SUMMARY: dict[str, Any] = {
    "verifier": {"id": "https://v.example"},
    "resourceUri": "pkg:generic/x",
    "verificationResult": "PASSED",
    "verifiedLevels": ["SLSA_BUILD_LEVEL_3"],
}
VERIFIER = OutsideSigner(
    name="v",
    method="key",
    statements=frozenset({VSA_V1}),
    public=b"x",
    verifier="https://v.example",
    resource="pkg:generic/x",
    level=2,
)


def refused(call: Any) -> str:
    with pytest.raises(KeyturnError) as caught:
        call()
    return caught.value.code


def test_a_verification_summary_passes_every_check() -> None:
    found = found_in(said(VSA_V1, SUMMARY), VERIFIER, by="key:x")
    assert (found.level, found.statement, found.subjects) == (3, VSA_V1, (str(RAW),))
    require_expected(found, VERIFIER)
    assert bound_to(found, str(RAW))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"verifier": {"id": "https://mallory.example"}}, "vsa-verifier", id="another verifier"),
        pytest.param({"resourceUri": "pkg:generic/y"}, "vsa-resource", id="another resource"),
        pytest.param({"verificationResult": "FAILED"}, "vsa-failed", id="FAILED"),
        pytest.param({"verifiedLevels": ["SLSA_BUILD_LEVEL_1"]}, "vsa-level", id="a level below policy"),
        pytest.param({"verifiedLevels": ["SLSA_SOURCE_LEVEL_3"]}, "vsa-level", id="a level of another track"),
        pytest.param({"verifiedLevels": []}, "vsa-level", id="no level"),
    ],
)
def test_a_verification_summary_fails_each_check_by_name(change: dict[str, Any], code: str) -> None:
    assert refused(lambda: found_in(said(VSA_V1, SUMMARY | change), VERIFIER, by="key:x")) == code


def test_a_summary_counts_for_nothing_where_targets_name_no_verifier() -> None:
    assert refused(lambda: found_in(said(VSA_V1, SUMMARY), VENDOR, by="x")) == "vsa-verifier"


def test_a_summary_under_another_predicate_type_is_no_summary() -> None:
    found = found_in(said("https://slsa.dev/verification_summary/v2", SUMMARY), VERIFIER, by="key:x")
    assert found.level == 0
    assert refused(lambda: require_expected(found, VERIFIER)) == "evidence-statement"


def test_provenance_names_the_builder_that_is_expected() -> None:
    payload = said(PROVENANCE_V1, {"runDetails": {"builder": {"id": "https://b.example"}}})
    assert found_in(payload, replace(VENDOR, builder="https://b.example"), by="x").subjects == (str(RAW),)
    assert found_in(payload, VENDOR, by="x").subjects == (str(RAW),)
    assert (
        refused(lambda: found_in(payload, replace(VENDOR, builder="https://c.example"), by="x")) == "evidence-builder"
    )


def test_a_model_signature_is_about_its_files_and_never_about_its_subject() -> None:
    one = {"name": ".", "algorithm": "sha256", "digest": "11" * 32}
    found = found_in(said(OMS, {"serialization": {"method": "files"}, "resources": [one]}), VENDOR, by="x")
    assert found.subjects == (f"sha256:{'11' * 32}",)
    assert refused(lambda: bound_to(found, str(RAW))) == "evidence-other-subject"
    shards = found_in(said(OMS, {"serialization": {"method": "shards"}, "resources": [one]}), VENDOR, by="x")
    assert not bound_to(shards, str(RAW))


def test_too_many_subjects_and_none_are_refused() -> None:
    many = json.loads(said("https://x.example/v1", None))
    many["subject"] = [{"digest": {"sha256": f"{n:064x}"}} for n in range(1025)]
    assert refused(lambda: found_in(json.dumps(many).encode(), VENDOR, by="x")) == "evidence-subjects"
    none = msgspec.structs.replace(FOUND, subjects=())
    with pytest.raises(Refused, match="nothing that has a SHA-256"):
        bound_to(none, str(RAW))


def test_a_statement_that_is_none_is_malformed() -> None:
    with pytest.raises(Malformed):
        found_in(b"{}", VENDOR, by="x")
