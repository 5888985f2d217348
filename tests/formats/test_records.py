"""Statements, predicates, records, leaves and trust versions: strict, and a leaf is a function of its record."""

from __future__ import annotations

import base64
import json
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats import access, canonical_json, dsse, leaf, provenance, records, statement, trust_version
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.leaf import LEAF_BYTES_MAX, Leaf
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.statement import STATEMENT_V1, DigestSet, Subject
from keyturn.formats.trust_version import TrustVersion
from support.chains import MadeChain, artifact, signed
from support.labs import make_key, make_lab

SUBJECT = (Subject(digest=DigestSet(sha256="ab" * 32), name="x"),)
GATE = "keyturn://acme.example/gate/release"
MODEL = "keyturn://acme.example/model/aurora"
BIG = b"x" * (321 * 1024)

leaves = st.builds(
    Leaf,
    kind=st.sampled_from(sorted(leaf.KINDS)),
    record=st.binary(min_size=32, max_size=32).map(bytes.hex),
    envelope=st.binary(min_size=32, max_size=32).map(bytes.hex),
    about=st.sets(st.from_regex(r"[a-z]{1,9}:[!-~]{1,30}", fullmatch=True), max_size=6).map(
        lambda tags: tuple(sorted(tags))
    ),
    until=st.none() | st.integers(0, 253_402_300_799),
)
contents = st.binary(max_size=40)
trust_versions = st.builds(
    TrustVersion,
    role=st.just("targets"),
    version=st.integers(1, 2**31),
    metadata=contents,
    files=st.dictionaries(st.from_regex(r"[a-z]{1,9}(/[a-z]{1,9}){0,2}", fullmatch=True), contents, max_size=4).map(
        lambda files: tuple(sorted(files.items()))
    ),
)


def refused(call):
    with pytest.raises(Malformed) as caught:
        call()
    return caught.value.code


def altered(predicate, **changes):
    """The payload of `predicate` with some fields replaced or, with `...`, left out: as a hostile signer writes it."""
    fields = msgspec.to_builtins(predicate) | changes
    return {name: value for name, value in fields.items() if value is not ...}


def payload_of(predicate_type, fields, **changes):
    body = {
        "_type": STATEMENT_V1,
        "predicate": fields,
        "predicateType": predicate_type,
        "subject": [{"digest": {"sha256": "ab" * 32}}],
    } | changes
    return canonical_json.encode(body)


def test_every_record_of_ours_survives_its_text(record, envelope):
    name, predicate_type, predicate = record
    kind = name.partition("-")[0]
    raw = envelope(statement.make(predicate, predicate_type, SUBJECT))
    parsed = records.parse(raw)
    assert parsed.kind == kind
    assert parsed.statement.predicate == predicate
    assert parsed.statement.subject == SUBJECT
    assert dsse.render(parsed.envelope) == raw
    assert parsed.digest == sha256(parsed.envelope.payload)
    assert parsed.id == records.record_id(kind, parsed.digest) == f"{kind}-{parsed.digest[:32]}"


def test_no_field_of_a_record_may_be_unknown_missing_or_of_another_type(record):
    _, predicate_type, predicate = record
    kind_type = type(predicate)
    fields = msgspec.to_builtins(predicate)
    statement.parse(payload_of(predicate_type, fields), kind_type, predicate_type)

    def code(**changes):
        raw = payload_of(predicate_type, altered(predicate, **changes))
        return refused(lambda: statement.parse(raw, kind_type, predicate_type))

    assert code(surprise=1) == "json-invalid"
    required = {field.name for field in msgspec.structs.fields(kind_type) if field.required}
    for name in fields:
        assert code(**{name: {"an": "object"}}) == "json-invalid"
        assert code(**{name: 2**63}) == "json-invalid"
        assert code(**{name: None}) in ("json-invalid", "json-not-canonical")
        if name in required:
            assert code(**{name: ...}) == "json-invalid"


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        pytest.param("req", {"lab": "Acme"}, "json-invalid", id="a lab in upper case"),
        pytest.param("req", {"nonce": "00"}, "json-invalid", id="a short nonce"),
        pytest.param("req", {"key": "AB" * 32}, "json-invalid", id="a key id in upper case"),
        pytest.param("req", {"requester": "ada\n"}, "json-invalid", id="a newline after a member"),
        pytest.param("req", {"action": "release"}, "json-invalid", id="an action without a type"),
        pytest.param("req", {"action": "model:release\n"}, "json-invalid", id="a newline after an action"),
        pytest.param("req", {"resource": "model/aurora"}, "uri-invalid", id="a resource that is no URI"),
        pytest.param("req", {"gate": "keyturn://acme.example/gate/.."}, "uri-name", id="a gate that climbs"),
        pytest.param("req", {"justification": ""}, "json-invalid", id="no justification"),
        pytest.param("req", {"justification": " \n "}, "json-invalid", id="a blank justification"),
        pytest.param("req", {"justification": "\x1b]0;x\x07"}, "text-control-character", id="a terminal escape"),
        pytest.param("req", {"justification": "abc\u202ecba"}, "text-control-character", id="a direction override"),
        pytest.param("req", {"justification": "é" * 1001}, "text-too-long", id="a justification of 2002 bytes"),
        pytest.param("req", {"ticket": "x" * 201}, "text-too-long", id="a ticket of 201 bytes"),
        pytest.param("req", {"not_before": 201}, "json-invalid", id="a start after it must have started"),
        pytest.param("req", {"start_by": 301}, "json-invalid", id="a start after the end"),
        pytest.param("req", {"not_before": -1}, "json-invalid", id="a time before 1970"),
        pytest.param("req", {"not_after": 2**53}, "json-invalid", id="a time after the year 9999"),
        pytest.param("req", {"duration_s": 0}, "json-invalid", id="no duration"),
        pytest.param("req", {"duration_s": 30 * 86400 + 1}, "json-invalid", id="more than 30 days"),
        pytest.param("req", {"trust_version": 0}, "json-invalid", id="trust version 0"),
        pytest.param("req", {"session_key": "A" * 401}, "json-invalid", id="an oversized session key"),
        pytest.param("req", {"bytes_max": -1}, "json-invalid", id="fewer than no bytes"),
        pytest.param("req", {"bytes_max": 2**53}, "json-invalid", id="2^53 bytes"),
        pytest.param("req", {"ticket": ""}, "json-not-canonical", id="a default that is written out"),
        pytest.param("req", {"urgent": False}, "json-not-canonical", id="what is not urgent, written out"),
        pytest.param("req", {"urgent": 1}, "json-invalid", id="urgent by a number"),
        pytest.param("req", {"session": {"sftp": True}}, "json-invalid", id="terms of a session that is on no host"),
        pytest.param("req-host", {"session": {}}, "json-invalid", id="terms that say nothing"),
        pytest.param("req-host", {"session": {"account": "Root"}}, "json-invalid", id="an account in upper case"),
        pytest.param("req-host", {"session": {"account": "a b"}}, "json-invalid", id="an account with a blank"),
        pytest.param("req-host", {"session": {"agent": True}}, "json-invalid", id="a forwarded agent"),
        pytest.param("req-host", {"session": {"sources": ["10.1.0.1/8"]}}, "json-invalid", id="a network with a host"),
        pytest.param("req-host", {"session": {"sources": ["10.1"]}}, "json-invalid", id="half an address"),
        pytest.param(
            "req-host", {"session": {"sources": ["10.0.0.1"]}}, "json-invalid", id="an address, not a network"
        ),
        pytest.param(
            "req-host", {"session": {"sources": ["fe80::/16", "10.0.0.0/8"]}}, "json-invalid", id="sources out of order"
        ),
        pytest.param("req-host", {"session": {"forwards": ["db1"]}}, "json-invalid", id="a destination without a port"),
        pytest.param("req-host", {"session": {"forwards": ["*:1"]}}, "json-invalid", id="any destination"),
        pytest.param("req-host", {"session": {"forwards": ["db1:70000"]}}, "json-invalid", id="port 70000"),
        pytest.param("req-host", {"session": {"forwards": ['a",x="b:1']}}, "json-invalid", id="an option in a name"),
        pytest.param("req-host", {"session": {"command": "a\nb"}}, "json-invalid", id="a command on two lines"),
        pytest.param("req-host", {"session": {"command": "  "}}, "json-invalid", id="a blank command"),
        pytest.param("req-host", {"session": {"command": "a\x1bb"}}, "text-control-character", id="an escape to run"),
        pytest.param("req-host", {"session": {"command": "a", "sftp": True}}, "json-invalid", id="a command and sftp"),
        pytest.param("req-host", {"session": {"sftp": False}}, "json-invalid", id="no sftp, written out"),
        pytest.param("req", {"database": {"read_only": True}}, "json-invalid", id="terms of a database elsewhere"),
        pytest.param("req-db", {"session": {"sftp": True}}, "json-invalid", id="terms of a host in a database"),
        pytest.param("req-db", {"database": {}}, "json-invalid", id="terms of a database that say nothing"),
        pytest.param("req-db", {"database": {"read_only": False}}, "json-invalid", id="not read only, written out"),
        pytest.param("req-db", {"database": {"statement_s": 0}}, "json-invalid", id="no time for a statement"),
        pytest.param("req-db", {"database": {"connections": 101}}, "json-invalid", id="101 connections"),
        pytest.param("req-db", {"database": {"tables": ["b", "a"]}}, "json-invalid", id="tables out of order"),
        pytest.param("req-db", {"database": {"tables": ["app.runs"]}}, "json-invalid", id="a table with its schema"),
        pytest.param("req-db", {"database": {"tables": ['a"; DROP']}}, "json-invalid", id="SQL for a table"),
        pytest.param("req-db", {"database": {"superuser": True}}, "json-invalid", id="more than there is to take"),
        pytest.param("apr", {"decision": "Approve"}, "json-invalid", id="another decision"),
        pytest.param("apr", {"expires_at": 100}, "json-invalid", id="an approval that ends as it begins"),
        pytest.param("den", {"reason": ...}, "json-invalid", id="a denial without a reason"),
        pytest.param("den", {"reason": "  "}, "json-invalid", id="a denial with a blank reason"),
        pytest.param("use", {"approvals": ["12" * 32] * 2}, "json-invalid", id="one approval twice"),
        pytest.param("use", {"approvals": [f"{n:064x}" for n in range(65)]}, "json-invalid", id="65 approvals"),
        pytest.param("use", {"gate": "gate"}, "uri-invalid", id="a use at no gate"),
        pytest.param("req", {"break_glass_at": 301}, "json-invalid", id="break-glass that is over when it is signed"),
        pytest.param(
            "req", {"break_glass_at": 100, "not_after": 3701}, "json-invalid", id="break-glass for more than an hour"
        ),
        pytest.param("brk", {"break_glass": {}}, "json-invalid", id="break-glass by nobody"),
        pytest.param(
            "brk",
            {"break_glass": {"members": ["b", "a"], "approvers": ["c"], "resource": MODEL}},
            "json-invalid",
            id="members out of order",
        ),
        pytest.param(
            "brk",
            {"break_glass": {"members": ["a"], "approvers": ["c", "c"], "resource": MODEL}},
            "json-invalid",
            id="an approver twice",
        ),
        pytest.param(
            "brk",
            {"break_glass": {"members": ["a"], "approvers": [], "resource": MODEL}},
            "json-invalid",
            id="break-glass that nobody approved",
        ),
        pytest.param(
            "brk",
            {"break_glass": {"members": ["a"], "approvers": ["c"], "resource": "x"}},
            "uri-invalid",
            id="break-glass of no resource",
        ),
        pytest.param("rcv", {"not_after": 100 + 14401}, "json-invalid", id="a recovery of more than 4 hours"),
        pytest.param(
            "rcv", {"not_before": 86400, "not_after": 86501}, "json-invalid", id="a recovery a day after it was signed"
        ),
        pytest.param("rcv", {"not_before": 99}, "json-invalid", id="a recovery that opens before it is signed"),
        pytest.param("rcv", {"not_after": 100}, "json-invalid", id="a recovery that is never open"),
        pytest.param("rcv", {"justification": " "}, "json-invalid", id="a recovery for no reason"),
        pytest.param("rcv", {"session_key": ...}, "json-invalid", id="a recovery for any session"),
        pytest.param("rcv", {"session_key": ""}, "json-invalid", id="a recovery for a session without a key"),
        pytest.param("tmb", {"ground": "she asked for it"}, "json-invalid", id="a tombstone on a ground of its own"),
        pytest.param("tmb", {"case": "Ada Lovelace"}, "json-invalid", id="a tombstone with a name in the case's place"),
        pytest.param("tmb", {"case": "17\n"}, "json-invalid", id="a tombstone whose case goes on"),
        pytest.param("evd", {"digest": "ab" * 32}, "evidence-digest", id="evidence whose digest is of other bytes"),
        pytest.param("evd", {"original": "", "digest": sha256(b"")}, "evidence-too-large", id="evidence without bytes"),
        pytest.param(
            "evd",
            {"original": base64.b64encode(BIG).decode(), "digest": sha256(BIG)},
            "evidence-too-large",
            id="evidence that is too large",
        ),
        pytest.param("evd", {"original": ...}, "evidence-digest", id="evidence whose original is missing"),
        pytest.param("evd", {"parts": ["ab" * 32]}, "json-invalid", id="evidence whose parts have no size"),
        pytest.param("evd", {"size": 2}, "json-invalid", id="evidence whole in the record that says a size"),
        pytest.param("evd", {"parts": ["ab" * 32], "size": 2}, "json-invalid", id="evidence whole and in parts"),
        pytest.param("evd-parts", {"size": ...}, "json-invalid", id="evidence in parts without a size"),
        pytest.param("evd-parts", {"size": (16 << 20) + 1}, "json-invalid", id="evidence in parts that is too large"),
        pytest.param("evd-parts", {"parts": ["ab" * 32] * 53}, "json-invalid", id="evidence in too many parts"),
        pytest.param("evd-parts", {"parts": ...}, "json-invalid", id="evidence in no parts"),
        pytest.param(
            "evd-parts",
            {"materials": [{"name": "layout", "content": base64.b64encode(BIG).decode()}]},
            "evidence-too-large",
            id="evidence in parts whose material is too large",
        ),
        pytest.param("evp", {"content": ""}, "evidence-too-large", id="a part without bytes"),
        pytest.param("evp", {"content": base64.b64encode(BIG).decode()}, "evidence-too-large", id="a part too large"),
        pytest.param("evd", {"bound": "files"}, "json-invalid", id="evidence that names the artifact, bound by files"),
        pytest.param("evd", {"artifact": "dirHash:" + "cd" * 32}, "json-invalid", id="evidence about something else"),
        pytest.param("evd", {"artifact": "md5:" + "cd" * 32}, "json-invalid", id="evidence about another digest"),
        pytest.param("evd", {"format": "pgp"}, "json-invalid", id="evidence in a format that nobody reads"),
        pytest.param(
            "evd",
            {"materials": [{"name": n, "content": ""} for n in ("trusted-root", "layout")]},
            "json-invalid",
            id="evidence whose materials are not sorted",
        ),
        pytest.param("evd", {"found": {"signer": "\u202e", "statement": "x"}}, "text-control-character", id="turned"),
        pytest.param("dep", {"gate": GATE}, "json-invalid", id="a deployment by two"),
        pytest.param("dep", {"member": ...}, "json-invalid", id="a deployment by nobody"),
        pytest.param("dep", {"member": ..., "gate": "gpu1"}, "uri-invalid", id="a deployment by no gate"),
        pytest.param("dep", {"host": MODEL}, "json-invalid", id="a deployment on no host"),
        pytest.param("dep", {"resource": GATE}, "json-invalid", id="a deployment of no model"),
        pytest.param("dep", {"request": "ab"}, "json-invalid", id="a deployment of no release"),
        pytest.param("dsp", {"reason": " "}, "json-invalid", id="a disposal without a reason"),
        pytest.param("dsp", {"place": ""}, "json-invalid", id="a disposal of no place"),
        pytest.param("rcd", {"ended_at": 99}, "json-invalid", id="a recording that ended before it began"),
        pytest.param(
            "rcd", {"watched_by": ["cat", "bob"]}, "json-invalid", id="a recording whose watchers are not sorted"
        ),
        pytest.param("rcd", {"what": "thoughts"}, "json-invalid", id="a recording of something else"),
        pytest.param("ofr", {"duration_s": ...}, "json-invalid", id="an offer of nothing"),
        pytest.param("ofr", {"reason": " "}, "json-invalid", id="an offer without a reason"),
        pytest.param("ofr", {"until": 99}, "json-invalid", id="an offer that is over when it is made"),
        pytest.param("rvw", {"use": ...}, "json-invalid", id="a review of nothing"),
        pytest.param(
            "rvw",
            {"report": {"sha256": "ab" * 32, "log_size": 1, "trust_version": 1, "as_of": 1}},
            "json-invalid",
            id="a review of two things",
        ),
        pytest.param("rvw", {"finding": " "}, "json-invalid", id="a review that found nothing"),
        pytest.param("src", {"ref": "main"}, "json-invalid", id="a word for a ref that is not whole"),
        pytest.param("src", {"ref": "refs/heads/a b"}, "json-invalid", id="a word for a ref with a space"),
        pytest.param("src", {"repository": "a\n"}, "json-invalid", id="a word for a repository on two lines"),
        pytest.param("src", {"role": "reviewer"}, "json-invalid", id="a reviewer's word for what is enforced"),
        pytest.param("src", {"controls": 4}, "json-invalid", id="a word for level 4, which humans make"),
        pytest.param("src", {"kind": "model"}, "json-invalid", id="a word for another kind"),
        pytest.param("src", {"commit": "0" * 40}, "git-commit", id="a word for another commit than it shows"),
        pytest.param("src", {"commit": "main"}, "git-commit", id="a word for no commit"),
        pytest.param("src", {"commit_object": "!"}, "base64-invalid", id="a word with no commit object"),
        pytest.param("src", {"reason": "\u200b"}, "text-control-character", id="a word whose reason does not show"),
        pytest.param("chk", {"gate": ""}, "uri-invalid", id="a check-in of no gate"),
        pytest.param("rev", {"until": 99}, "json-invalid", id="a revocation that ends before it begins"),
        pytest.param("rev", {"reason": "\u200b"}, "text-control-character", id="a reason that does not show"),
        pytest.param("sus", {"until": 99}, "json-invalid", id="a suspension that ends before it begins"),
        pytest.param("sus", {"target_member": ...}, "json-invalid", id="a suspension of nobody"),
        pytest.param("sus", {"target_key": "ab" * 32}, "json-invalid", id="a suspension of two things"),
        pytest.param(
            "sus", {"target_member": ..., "target_gate": "gate"}, "uri-invalid", id="a suspension of what is no gate"
        ),
        pytest.param("lft", {"suspension": "sus-12"}, "json-invalid", id="a lift of no digest"),
    ],
)
def test_nonsense_in_a_record_is_refused_by_name(predicate, envelope, kind, changes, code):
    predicate_type = next(t for t, rule in records._OWN.items() if rule.type is type(predicate(kind)))
    raw = envelope(payload_of(predicate_type, altered(predicate(kind), **changes)))
    assert refused(lambda: records.parse(raw)) == code


def test_access_can_be_reviewed(predicate, envelope):
    report = records.review.AccessReport(sha256="ab" * 32, log_size=7, trust_version=3, as_of=100)
    value = msgspec.structs.replace(predicate("rvw"), use=None, report=report)
    raw = envelope(statement.make(value, records.review.REVIEW, SUBJECT))
    assert (records.leaf_of(raw).kind, records.leaf_of(raw).about) == ("rvw", ("version:3",))


@pytest.mark.parametrize("target", [{"target_key": "ab" * 32}, {"target_gate": GATE}])
def test_a_key_or_a_gate_can_be_suspended(predicate, envelope, target):
    value = msgspec.structs.replace(predicate("sus"), target_member=None, **target)
    ((tag, text),) = ((name.removeprefix("target_"), text) for name, text in target.items())
    raw = envelope(statement.make(value, records.negatives.SUSPENSION, SUBJECT))
    assert records.leaf_of(raw).about == (f"{tag}:{text}",)


def test_what_a_constructor_did_not_look_at_is_refused_before_it_is_signed(predicate):
    wrong = msgspec.structs.replace(predicate("chk"), nonce="short")
    assert refused(lambda: statement.make(wrong, access.GATE_CHECKIN, SUBJECT)) == "json-invalid"
    assert refused(lambda: statement.make(predicate("chk"), access.GATE_CHECKIN, ())) == "statement-subject-count"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"_type": "https://in-toto.io/Statement/v0.1"}, "statement-type", id="an older statement"),
        pytest.param({"predicateType": access.ACCESS_USE}, "statement-predicate-type", id="another predicate type"),
        pytest.param({"subject": []}, "statement-subject-count", id="no subject"),
        pytest.param({"subject": [{"digest": {}}]}, "json-invalid", id="a subject without a digest"),
        pytest.param(
            {"subject": [{"digest": {"dirHash": "ab" * 32, "sha256": "ab" * 32}}]}, "json-invalid", id="two digests"
        ),
        pytest.param({"subject": [{"digest": {"sha512": "ab" * 64}}]}, "json-invalid", id="another algorithm"),
        pytest.param({"subject": [{"digest": {"sha256": "AB" * 32}}]}, "json-invalid", id="a digest in upper case"),
        pytest.param({"more": 1}, "json-invalid", id="an unknown field"),
        pytest.param(
            {"subject": [{"digest": {"sha256": "ab" * 32}, "name": "\x1b[2J"}]},
            "text-control-character",
            id="a terminal escape in a subject's name",
        ),
        pytest.param(
            {"subject": [{"digest": {"sha256": "ab" * 32}, "name": "é" * 2049}]},
            "text-too-long",
            id="a subject's name of 4098 bytes",
        ),
    ],
)
def test_a_statement_of_ours_is_strict(predicate, changes, code):
    raw = payload_of(access.GATE_CHECKIN, msgspec.to_builtins(predicate("chk")), **changes)
    assert refused(lambda: statement.parse(raw, access.GateCheckin, access.GATE_CHECKIN)) == code


def test_more_subjects_than_the_bound_are_refused(predicate):
    many = [{"digest": {"sha256": f"{n:064x}"}} for n in range(4097)]
    raw = payload_of(access.GATE_CHECKIN, msgspec.to_builtins(predicate("chk")), subject=many)
    assert refused(lambda: statement.parse(raw, access.GateCheckin, access.GATE_CHECKIN)) == "statement-subject-count"
    assert refused(lambda: statement.subject_digests(raw)) == "statement-subject-count"


@pytest.mark.parametrize("algorithm", ["dirHash", "sha256"])
def test_a_digest_set_is_one_artifact(algorithm):
    digest = ArtifactDigest(algorithm, "ab" * 32)
    assert DigestSet.of(digest).artifact == digest


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="no predicate type"),
        pytest.param(b'{"predicateType":1,"subject":1}', id="fields of another type"),
        pytest.param(b'{"a":' + b"[" * 400_000, id="deep nesting"),
        pytest.param(b'{"predicateType":"\xff","subject":"\xff"}', id="no UTF-8"),
    ],
)
def test_what_is_no_statement_at_all_is_refused(raw):
    assert refused(lambda: statement.peek(raw)) == "statement-invalid"
    assert refused(lambda: statement.subject_digests(raw)) == "statement-invalid"


def test_a_statement_is_bounded_before_it_is_read():
    raw = b" " * ((1 << 20) + 1)
    assert refused(lambda: statement.peek(raw)) == "json-too-large"
    assert refused(lambda: statement.subject_digests(raw)) == "json-too-large"


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "apr",
            "brk",
            "chk",
            "den",
            "dep",
            "evd",
            "evp",
            "lft",
            "ofr",
            "rcd",
            "rcv",
            "req",
            "rev",
            "rvw",
            "src",
            "sus",
        ),
        *("tmb", "use"),
    ],
)
def test_no_changed_byte_of_a_record_is_the_same_record(raw_record, kind):
    raw = raw_record(kind)
    digest = records.leaf_of(raw)
    for position in range(len(raw)):
        for flip in (0x01, 0x20):
            changed = bytearray(raw)
            changed[position] ^= flip
            try:
                assert records.leaf_of(bytes(changed)).envelope != digest.envelope
            except Malformed:
                continue


@pytest.mark.parametrize(
    ("kind", "about", "until"),
    [
        ("req", ("dirHash:" + "ab" * 32, f"gate:{GATE}", "member:ada", "member:ada+coder"), 300),
        ("apr", ("request:" + "ab" * 32,), 200),
        ("den", ("request:" + "ab" * 32,), 200),
        ("use", (f"gate:{GATE}", "request:" + "ab" * 32), None),
        (
            "brk",
            (f"gate:{GATE}", "member:ada", "member:ada+coder", "request:" + "ab" * 32, f"resource:{MODEL}"),
            None,
        ),
        (
            "dep",
            (
                "dirHash:" + "ab" * 32,
                "ends:" + "cd" * 32,
                "host:keyturn://acme.example/host/gpu1",
                "member:dan",
                "request:" + "ab" * 32,
                f"resource:{MODEL}",
            ),
            None,
        ),
        ("rcd", (f"gate:{GATE}", "request:" + "ab" * 32), None),
        ("evd", ("dirHash:" + "ab" * 32, "outside:vendor"), None),
        ("evp", ("dirHash:" + "ab" * 32, "member:ada"), None),
        ("rcv", (f"gate:{GATE}", "member:ada", "resource:keyturn://acme.example/host/gpu1"), None),
        ("ofr", ("request:" + "ab" * 32,), 300),
        ("rvw", ("use:" + "ab" * 32,), None),
        ("src", ("commit:f3a7e3321b4ebe57dac611291af115d32e5e4838", "dirHash:" + "ab" * 32, "member:ada"), None),
        ("chk", (f"gate:{GATE}",), None),
        ("rev", ("request:" + "ab" * 32,), 400),
        ("sus", ("member:bob",), 400),
        ("lft", ("suspension:" + "ab" * 32,), None),
        ("tmb", ("erases:" + "ab" * 32,), None),
    ],
)
def test_a_leaf_says_what_its_record_is_about(raw_record, kind, about, until):
    raw = raw_record(kind)
    made = records.leaf_of(raw)
    assert (made.kind, made.about, made.until) == (kind, about, until)
    assert made.envelope == sha256(raw)
    assert made.record == dsse.parse_own(raw).record_digest
    assert leaf.parse(leaf.render(made)) == made


def test_a_record_whose_leaf_no_gate_could_read_is_refused(raw_record):
    few = [Subject(digest=DigestSet(dirHash=f"{n:064x}")) for n in range(123)]
    leaf.parse(leaf.render(records.leaf_of(raw_record("req", *few))))
    many = [Subject(digest=DigestSet(dirHash=f"{n:064x}")) for n in range(130)]
    assert refused(lambda: records.leaf_of(raw_record("req", *many))) == "leaf-too-large"


def test_a_leaf_is_bounded_in_tags_and_bytes():
    long = tuple(f"gate:{n:03}{'x' * 1000}" for n in range(17))
    made = Leaf(kind="req", record="ab" * 32, envelope="cd" * 32, about=long)
    assert refused(lambda: leaf.render(made)) == "leaf-too-large"
    assert refused(lambda: leaf.parse(b" " * (LEAF_BYTES_MAX + 1))) == "json-too-large"


@given(leaves)
def test_a_leaf_survives_its_text(value):
    assert leaf.parse(leaf.render(value)) == value


@given(leaves, st.data())
def test_a_leaf_with_one_byte_changed_is_refused_or_another_leaf(value, data):
    raw = bytearray(leaf.render(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        again = leaf.parse(bytes(raw))
    except Malformed:
        return
    assert again != value
    assert leaf.render(again) == bytes(raw)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"about": ["member:b", "member:a"]}, id="tags out of order"),
        pytest.param({"about": ["member:a", "member:a"]}, id="a tag twice"),
        pytest.param({"about": ["member"]}, id="a tag without a value"),
        pytest.param({"about": ["member:a b"]}, id="a space in a tag"),
        pytest.param({"about": ["member:a\n"]}, id="a newline in a tag"),
        pytest.param({"about": ["member:é"]}, id="a tag that is not ASCII"),
        pytest.param({"about": [f"member:{n:03}" for n in range(129)]}, id="129 tags"),
        pytest.param({"kind": "xyz"}, id="an unknown kind"),
        pytest.param({"record": "AB" * 32}, id="a digest in upper case"),
        pytest.param({"until": -1}, id="a negative time"),
        pytest.param({"until": 2**63}, id="2^63"),
        pytest.param({"size": 1}, id="an unknown field"),
    ],
)
def test_what_is_no_leaf_is_refused(changes):
    fields = {"about": ["member:a"], "envelope": "cd" * 32, "kind": "req", "record": "ab" * 32} | changes
    assert refused(lambda: leaf.parse(canonical_json.encode(fields))) == "json-invalid"


def test_a_record_of_another_s_predicate_type_is_none_of_ours(envelope):
    raw = envelope(payload_of("https://example.com/other/v1", {}))
    assert refused(lambda: records.parse(raw)) == "record-unknown"
    assert refused(lambda: records.leaf_of(raw)) == "record-unknown"


@pytest.mark.parametrize("kind", ["prv", "vsa", "tst", "rel"])
def test_a_foreign_statement_is_kept_as_it_came_and_found_by_its_subjects(kind):
    predicate_type = next(t for t, k in records._FOREIGN.items() if k == kind)
    digests = [{"sha256": "ab" * 32, "sha1": "x"}, {"dirHash": "cd" * 32}, {"gitCommit": "12" * 20}]
    payload = {
        "subject": [{"digest": digest} for digest in digests],
        "predicateType": predicate_type,
        "predicate": {"a": 1.5},
    }
    body = base64.b64encode(json.dumps(payload, indent=1).encode()).decode()
    raw = json.dumps({"payloadType": dsse.IN_TOTO, "payload": body, "signatures": [{"sig": "Yg=="}]}, indent=1).encode()
    made = records.leaf_of(raw)
    assert (made.kind, made.until) == (kind, None)
    assert made.about == ("dirHash:" + "cd" * 32, "sha256:" + "ab" * 32)
    assert made.envelope == sha256(raw)


@given(trust_versions)
def test_a_trust_version_survives_its_text(value):
    raw = trust_version.render(value)
    assert trust_version.parse(raw) == value
    made = records.leaf_of(raw)
    assert (made.kind, made.record, made.about) == ("tgt", sha256(value.metadata), (f"version:{value.version}",))


def test_a_root_version_has_its_own_kind_and_no_files():
    root = TrustVersion(role="root", version=1, metadata=b"{}")
    assert records.leaf_of(trust_version.render(root)).kind == "rot"
    with_files = trust_version.render(msgspec.structs.replace(root, files=(("a", b""),)))
    assert refused(lambda: trust_version.parse(with_files)) == "trust-version-files"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"version": 0}, "json-invalid", id="version 0"),
        pytest.param({"version": 2**63}, "json-invalid", id="version 2^63"),
        pytest.param({"role": "snapshot"}, "json-invalid", id="a role that is not logged"),
        pytest.param({"metadata": "YQ"}, "base64-invalid", id="base64 without padding"),
        pytest.param({"metadata": "YR=="}, "base64-not-canonical", id="base64 with trailing bits"),
        pytest.param({"metadata": "é"}, "base64-invalid", id="base64 that is not ASCII"),
        pytest.param({"files": {"../a": "YQ=="}}, "path-invalid", id="a path that leaves the directory"),
        pytest.param({"files": {"/a": "YQ=="}}, "path-invalid", id="an absolute path"),
        pytest.param({"files": {"a\x1b": "YQ=="}}, "path-invalid", id="a terminal escape in a path"),
        pytest.param({"files": {"é": "YQ=="}}, "json-key", id="a path that is not ASCII"),
        pytest.param({"files": {}}, "json-not-canonical", id="no files, written out"),
        pytest.param({"files": {f"{n:03}": "" for n in range(257)}}, "json-invalid", id="257 files"),
        pytest.param({"more": 1}, "json-invalid", id="an unknown field"),
    ],
)
def test_what_is_no_trust_version_is_refused(changes, code):
    fields = {"files": {"a": "YQ=="}, "metadata": "YQ==", "role": "targets", "version": 1} | changes
    assert refused(lambda: trust_version.parse(canonical_json.encode(fields))) == code


@given(st.binary(max_size=200))
def test_any_bytes_have_a_leaf_or_are_malformed(raw):
    for prefix in (b"", b'{"payload":"', b'{"files":{', b'{"metadata":"'):
        with pytest.raises(Malformed):
            records.leaf_of(prefix + raw)


def test_a_session_may_be_for_one_command_alone():
    terms = SessionTerms(command="systemctl restart aurora")
    assert (terms.sftp, terms.account, terms.sources, terms.forwards) == (False, None, (), ())


def outcome(call, raw):
    try:
        return call(raw)
    except Malformed as err:
        return err.code, err.message


def test_an_opened_record_has_the_leaf_and_the_statement_that_it_has_otherwise():
    chain = MadeChain(make_lab())
    chain.build()
    builder = chain.lab.builder_keys["builder"]
    last = dsse.parse_foreign(chain.records[-1]).payload
    foreign = last.replace(b"keyturn.dev/build/package/v1", b"evil.dev/build/package/v1")
    loose = last.replace(b'"_type":', b'"_type" :')
    for raw in (*chain.records, signed(foreign, builder), signed(loose, builder)):
        found = records.open_record(raw)
        assert (found.raw, found.leaf, found.leaf_text) == (raw, records.leaf_of(raw), leaf.render(found.leaf))
        if found.envelope is None:
            assert found.leaf.kind in ("rot", "tgt")
            continue
        assert found.envelope == dsse.parse_foreign(raw)
        if found.leaf.kind == "prv":
            ours = raw in chain.records
            assert found.said == (provenance.read(found.envelope.payload) if ours else None)
        elif found.leaf.kind == "tst":
            assert found.said is None
        else:
            assert found.said == records.parse(raw).statement
    sealed = records.Sealed(chain.records[-1])
    assert sealed.opened is sealed.opened


@given(st.data())
def test_an_altered_record_is_opened_or_refused_as_its_leaf_is(data):
    raw = data.draw(st.sampled_from(_made()))
    payload = bytearray(dsse.parse_foreign(raw).payload)
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(32, 126))
    altered_raw = signed(bytes(payload), make_key("x"))
    opened = outcome(records.open_record, altered_raw)
    expected = outcome(records.leaf_of, altered_raw)
    assert (opened.leaf if isinstance(opened, records.Opened) else opened) == expected


@cache
def _made():
    chain = MadeChain(make_lab())
    chain.step("train", {"data": artifact("data")}, {"out": artifact("out")})
    return chain.records[-2:]


def test_a_likely_type_is_looked_for_where_our_texts_have_it_and_read_everywhere_else():
    assert statement.likely_type(b'{"predicateType":"a","subject":[]}') == "a"
    assert statement.likely_type(b'{"subject":[],"predicateType":"b"}') == "b"
    assert refused(lambda: statement.likely_type(b"{}")) == "statement-invalid"
