"""Admission to the log: who may append what, and how much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.records.quotas import Quotas
from keyturn.app.records.submit import Admission
from keyturn.crypto.credentials import Credential
from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable
from keyturn.formats import dsse, leaf, trust_version
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.records import leaf_of
from support.admitting import LAB, At, door, foreign, replace_metadata
from support.hidden import hidden_leaf
from support.labs import NOW, Lab, make_key, make_lab
from support.signed_records import authorization, checkin, evaluation_criteria, request, revocation
from support.world import POLICY, make_world


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(lambda lab: request(lab, 1, at=NOW), "req", id="a member asks"),
        pytest.param(lambda lab: request(lab, 1, at=NOW, member="ada+coder"), "req", id="an agent asks"),
        pytest.param(lambda lab: authorization(lab, 1, at=NOW, member="bob"), "apr", id="a human approves"),
        pytest.param(lambda lab: authorization(lab, 1, at=NOW, member="bob", deny=True), "den", id="a human denies"),
        pytest.param(lambda lab: revocation(lab, 1, at=NOW), "rev", id="a member revokes"),
        pytest.param(lambda lab: checkin(lab, 1, at=NOW), "chk", id="a gate checks in"),
        pytest.param(lambda lab: foreign(lab, lab.builder_keys["builder"]), "prv", id="a builder's provenance"),
    ],
)
def test_a_record_by_the_right_key_is_admitted(make: Callable[[Lab], bytes], kind: str) -> None:
    admission, log = door()
    submitted = admission.submit(make(LAB))
    assert (submitted.index, submitted.leaf.kind) == (2, kind)
    assert log.settle().size == 3


STRANGER = make_key("a stranger")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(
            lambda lab: request(lab, 1, at=NOW, key=STRANGER), "signer-unknown", id="a key that is not enrolled"
        ),
        pytest.param(
            lambda lab: request(lab, 1, at=NOW, key=lab.member_keys["bob"]), "signer-unknown", id="another member's key"
        ),
        pytest.param(
            lambda lab: request(lab, 1, at=NOW, key=lab.trust_keys["ada"]),
            "signer-unknown",
            id="the member's trust key",
        ),
        pytest.param(
            lambda lab: authorization(lab, 1, at=NOW, member="ada+coder"), "signer-not-human", id="an agent approves"
        ),
        pytest.param(
            lambda lab: evaluation_criteria(lab, 1, at=NOW, member="ada+coder"),
            "signer-not-human",
            id="an agent says what a model must do",
        ),
        pytest.param(
            lambda lab: authorization(lab, 1, at=NOW, member="ada+coder", deny=True),
            "signer-not-human",
            id="an agent denies",
        ),
        pytest.param(
            lambda lab: request(make_lab(name="other.example"), 1, at=NOW), "lab-other", id="another lab's record"
        ),
        pytest.param(lambda lab: foreign(lab, STRANGER), "signer-unknown", id="a stranger's provenance"),
        pytest.param(
            lambda lab: foreign(lab, lab.builder_keys["builder"], STRANGER),
            "signer-unknown",
            id="a stranger's signature beside the builder's",
        ),
        pytest.param(
            lambda lab: foreign(lab, lab.builder_keys["builder"], lab.builder_keys["builder"]),
            "signature-count",
            id="one signature twice",
        ),
    ],
)
def test_a_record_by_anybody_else_is_refused_and_not_appended(make: Callable[[Lab], bytes], code: str) -> None:
    admission, log = door()
    with pytest.raises(Refused) as refused:
        admission.submit(make(LAB))
    assert refused.value.code == code
    assert log.settle().size == 2


RELEASES = """
@id("release") @quorum("1 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora");
"""


def lab_of(quorum: str) -> Lab:
    return make_lab(
        groups={"research": ("ada",), "security": ("bob",)},
        resources={"model/aurora": ()},
        policy={"main": RELEASES.replace("1 security", quorum)},
    )


def test_a_request_that_nobody_could_ever_approve_is_not_taken_into_the_log() -> None:
    admission, _ = door(lab_of("1 security"))
    assert admission.submit(request(lab_of("1 security"), 1, at=NOW)).leaf.kind == "req"
    for lab, made in (
        (lab_of("2 security"), {}),  # whoever signs, one of the two is missing
        (lab_of("1 security"), {"member": "bob"}),  # by a permit that is not for him
    ):
        admission, log = door(lab)
        with pytest.raises(Refused) as refused:
            admission.submit(request(lab, 1, at=NOW, **made))
        assert (refused.value.code, bool(refused.value.reasons)) == ("request-hopeless", True)
        assert log.settle().size == 2


def test_a_key_that_was_replaced_is_said_to_have_been_with_what_to_type() -> None:
    world = make_world()
    old = world.ask(submit=False)
    ada = world.lab.state.roster.members["ada"]
    new = Credential(key=make_key("ada again").public, kind="software")
    members = {**world.lab.state.roster.members, "ada": replace(ada, keys=(new,))}
    admission, _ = door(world.lab, clock=At(world.now))
    changed = world.lab.publish(roster=replace(world.lab.state.roster, members=members))
    admission.submit(changed.containers[-1])
    with pytest.raises(Refused, match="version 1 was the last that did") as refused:
        admission.submit(dsse.render(old))
    assert (refused.value.code, "--new-keys instead" in refused.value.hint) == ("signer-unknown", True)


def test_who_was_invited_and_is_not_in_force_yet_is_told_so() -> None:
    admission, _ = door()
    with pytest.raises(Refused) as refused:
        admission.submit(request(LAB, 1, at=NOW, key=STRANGER))
    assert "`keyturn trust members`" in refused.value.hint
    assert "from `keyturn trust publish` on" in refused.value.hint


def test_a_request_for_a_gate_that_the_lab_lacks_is_not_taken_into_the_log() -> None:
    world = make_world()
    admission, log = door(world.lab, clock=At(world.now))
    for gate in ("nowhere", "all"):  # `gate/all` is a resource, and no gate
        asked = world.ask(world.request(gate=f"keyturn://acme.example/gate/{gate}"), submit=False)
        with pytest.raises(Refused) as refused:
            admission.submit(dsse.render(asked))
        assert refused.value.code == "gate-unknown"
        assert "keyturn://acme.example/gate/release" in refused.value.hint
    assert log.settle().size == 2
    admission.submit(dsse.render(world.ask(world.request(), submit=False)))


def test_what_is_over_or_let_somebody_in_by_break_glass_is_evidence_and_is_taken_without_hope() -> None:
    lab = lab_of("2 security")
    admission, log = door(lab, clock=At(NOW + 3601))
    admission.submit(request(lab, 1, at=NOW))  # nobody can start by it any more
    world = make_world(policy={"main": POLICY})
    admission, log = door(world.lab)
    emergency = world.ask(world.emergency(), submit=False)  # its permit, if there was one, is gone
    assert admission.submit(dsse.render(emergency)).leaf.kind == "req"
    assert log.settle().size == 3


def test_a_policy_that_does_not_load_is_left_to_the_gates() -> None:
    lab = make_lab(policy={"main": "// none"})
    admission, _ = door(lab)
    assert admission.submit(request(lab, 1, at=NOW)).leaf.kind == "req"


def test_an_altered_signature_payload_or_second_signature_is_refused() -> None:
    admission, log = door()
    envelope = dsse.parse_own(request(LAB, 1, at=NOW))
    other = dsse.parse_own(request(LAB, 2, at=NOW))
    (signature,) = envelope.signatures
    broken = bytes([signature.sig[0] ^ 1]) + signature.sig[1:]
    for bad in (
        Envelope(payload_type=envelope.payload_type, payload=other.payload, signatures=envelope.signatures),
        Envelope(
            payload_type=envelope.payload_type,
            payload=envelope.payload,
            signatures=(dsse.Signature(keyid=signature.keyid, sig=broken),),
        ),
        Envelope(payload_type=envelope.payload_type, payload=envelope.payload, signatures=(signature, signature)),
    ):
        with pytest.raises(Refused):
            admission.submit(dsse.render(bad))
    assert log.settle().size == 2


def test_the_same_record_again_keeps_its_index_and_costs_no_quota() -> None:
    admission, _ = door(quotas=Quotas(records=1))
    raw = request(LAB, 1, at=NOW)
    assert [admission.submit(raw).index for _ in range(5)] == [2] * 5


def test_a_member_has_a_quota_and_negatives_have_their_own() -> None:
    clock = At(NOW)
    admission, log = door(clock=clock, quotas=Quotas(records=2, negatives=1, window_s=100))
    admission.submit(request(LAB, 1, at=NOW))
    admission.submit(request(LAB, 2, at=NOW))
    with pytest.raises(Refused, match="quota"):
        admission.submit(request(LAB, 3, at=NOW))
    admission.submit(request(LAB, 3, at=NOW, member="bob"))
    admission.submit(revocation(LAB, 1, at=NOW))
    with pytest.raises(Refused, match="quota"):
        admission.submit(revocation(LAB, 2, at=NOW))
    clock.time += 100
    admission.submit(request(LAB, 3, at=NOW))
    admission.submit(revocation(LAB, 2, at=NOW))
    assert log.settle().size == 8


def test_a_forged_record_does_not_use_up_the_quota_of_whom_it_names() -> None:
    admission, _ = door(quotas=Quotas(records=1))
    envelope = dsse.parse_own(request(LAB, 1, at=NOW))
    forged = dsse.Signature(keyid=envelope.signatures[0].keyid, sig=bytes(64))
    for _ in range(3):
        with pytest.raises(Refused, match="signature-invalid"):
            admission.submit(
                dsse.render(
                    Envelope(payload_type=envelope.payload_type, payload=envelope.payload, signatures=(forged,))
                )
            )
    admission.submit(request(LAB, 1, at=NOW))


def test_a_founding_lab_admits_nothing_but_its_root() -> None:
    lab = replace(LAB, containers=())
    admission, log = door(lab)
    with pytest.raises(Refused, match="trust-founding"):
        admission.submit(request(LAB, 1, at=NOW))
    with pytest.raises(KeyturnError):
        admission.submit(LAB.containers[1])
    admission.submit(LAB.containers[0])
    with pytest.raises(Refused, match="trust-founding"):
        admission.submit(request(LAB, 1, at=NOW))
    assert log.settle().size == 1


def test_another_root_than_the_pinned_one_is_refused() -> None:
    admission, log = door(replace(LAB, containers=()))
    with pytest.raises(Refused, match="trust-root-not-pinned"):
        admission.submit(make_lab(name="other.example").containers[0])
    assert log.settle().size == 0


def test_trust_versions_come_one_after_the_other_and_verified() -> None:
    lab = make_lab()
    second = lab.publish(policy={"a": "// nothing"})
    third = second.publish(policy={"b": "// nothing"})
    admission, log = door(lab)
    with pytest.raises(Refused, match="trust-version-skipped"):
        admission.submit(third.containers[-1])
    forged = trust_version.parse(second.containers[-1])
    with pytest.raises(KeyturnError):
        admission.submit(
            trust_version.render(replace_metadata(forged, forged.metadata.replace(b'"version":2', b'"version":3')))
        )
    admission.submit(second.containers[-1])
    admission.submit(third.containers[-1])
    assert admission.submit(second.containers[-1]).index == 2
    assert log.settle().size == 4
    assert admission.trust.targets_version == 3


def test_a_member_who_left_is_refused_under_the_newest_trust() -> None:
    lab = make_lab(humans=("ada", "bob", "cleo"))
    members = {name: member for name, member in lab.state.roster.members.items() if name != "cleo"}
    later = lab.publish(roster=replace(lab.state.roster, members=members))
    admission, _ = door(later)
    with pytest.raises(Refused, match="signer-unknown"):
        admission.submit(request(later, 1, at=NOW, member="cleo"))


def test_a_trust_version_that_another_process_appended_is_followed() -> None:
    lab = make_lab()
    later = lab.publish(policy={"a": "// nothing"})
    clock = At(NOW)
    admission, log = door(lab, clock=clock)
    log.append(later.containers[-1])
    clock.time += 1
    assert admission.trust.targets_version == 2


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"payload":', b"\xff" * 50, b"[" * 5000])
def test_rubbish_is_malformed(raw: bytes) -> None:
    admission, log = door()
    with pytest.raises(Malformed):
        admission.submit(raw)
    assert log.settle().size == 2


def test_trust_versions_appended_here_are_followed_though_the_index_is_late() -> None:
    class Late(LogInMemory):
        """A log whose index shows entries only when told to."""

        shown = 0

        def of_kinds(self, kinds, *, start=0):  # type: ignore[no-untyped-def]
            return tuple(found for found in super().of_kinds(kinds, start=start) if found.index < self.shown)

    lab = make_lab()
    third = lab.publish(policy={"a": "// nothing"}).publish(policy={"b": "// nothing"})
    clock, log = At(NOW), Late()
    admission, _ = door(third, log=log, clock=clock)
    log.shown = 4
    clock.time += 1
    assert admission.trust.targets_version == 3
    admission.submit(request(third, 1, at=NOW))


def test_a_record_admitted_once_keeps_its_index_when_its_signer_has_left() -> None:
    lab = make_lab(humans=("ada", "bob", "cleo"))
    admission, _ = door(lab)
    raw = request(lab, 1, at=NOW, member="cleo")
    index = admission.submit(raw).index
    members = {name: member for name, member in lab.state.roster.members.items() if name != "cleo"}
    later = lab.publish(roster=replace(lab.state.roster, members=members))
    admission.submit(later.containers[-1])
    assert admission.submit(raw).index == index
    with pytest.raises(Refused, match="signer-unknown"):
        admission.submit(request(lab, 2, at=NOW, member="cleo"))


def test_trust_that_somebody_wrote_past_admission_stops_nobody() -> None:
    _, log = door()
    log.append(
        LAB.with_contents(LAB.contents).containers[-1].replace(b'"version":2', b'"version":3')
    )  # the disk is his
    admission, _ = door(log=log)
    assert admission.trust.targets_version == 1
    admission.submit(request(LAB, 1, at=NOW))
    later = LAB.publish(policy={})
    admission.submit(later.containers[-1])
    assert admission.trust.targets_version == 2


def test_trust_whose_text_is_hidden_is_looked_for_again_until_it_is_void() -> None:
    _, log = door()
    second = LAB.publish(policy={"main": "// it says more now"})
    third = second.publish(void=(range(2, 4),))
    log.append_leaf(b"gone", hidden_leaf("tgt", "version:2", number=1))
    log.append_leaf(b"no trust version", leaf.Leaf(kind="tgt", record="0" * 64, envelope=sha256(b"no trust version")))
    hidden = {leaf_of(second.containers[-1]).envelope}
    looked_for: list[str] = []

    class Hiding:
        checkpoint, leaves, hashes = log.checkpoint, log.leaves, log.hashes

        def envelope(self, digest: Sha256) -> bytes:
            looked_for.append(digest)
            if digest in hidden:
                raise Unavailable("envelope-unknown", "gone")
            return log.envelope(digest)

    clock = At(NOW)
    admission = Admission(
        log=log, reader=Hiding(), index=log, root_sha256=lambda: LAB.root_sha256, clock=clock, quotas=Quotas()
    )
    assert admission.trust.targets_version == 1
    admission.submit(request(LAB, 1, at=NOW))
    log.append(second.containers[-1])  # as another process does
    clock.time += 1
    assert admission.trust.targets_version == 1
    hidden.clear()
    clock.time += 1
    assert admission.trust.targets_version == 2
    admission.submit(third.containers[-1])
    clock.time += 1
    assert admission.trust.targets_version == 3
    looked_for.clear()
    clock.time += 1
    assert (admission.trust.targets_version, looked_for) == (3, [])
