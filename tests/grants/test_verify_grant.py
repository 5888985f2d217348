"""The security kernel: one way to be granted, and every way not to be, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.crypto import dsse_signing
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import access, dsse, statement
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.dsse import Envelope
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.uri import Uri
from keyturn.grants import bundle as bundles
from keyturn.grants import checks
from keyturn.grants.approvers import approval_facts
from keyturn.grants.bundle import Bundle
from keyturn.grants.freshness import require_recent, require_trust
from keyturn.grants.verify_grant import ReadyToUse, VerifiedGrant, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import Roster
from support.labs import NOW, make_key
from support.verifying import agreed, dsse_digest, one_shot, ready, verify
from support.world import make_world


def test_two_people_open_a_session_and_the_verdict_says_demo() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    grant = verify(world, bundle)
    assert (grant.granted.digest, grant.use, grant.gate) == (asked.record_digest, None, world.gate)
    assert set(grant.granted.approvers) == {"bob", "eve"}
    assert grant.granted.profile == "demo"
    assert (grant.granted.window.starts_at, grant.granted.window.ends_at) == (NOW, NOW + 3600)


# (1)


def test_every_single_byte_mutation_of_a_bundle_is_refused() -> None:
    world = make_world()
    _, bundle = agreed(world)
    view = world.view()
    raw = bundles.render(bundle)
    verify(world, bundles.parse(raw), view)
    for place in range(len(raw)):
        for flipped in (raw[place] ^ 1, raw[place] ^ 32):
            mutated = raw[:place] + bytes([flipped]) + raw[place + 1 :]
            with pytest.raises((Refused, Malformed)):
                verify(world, bundles.parse(mutated), view)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_truncation_insertion_and_change_of_a_bundle_is_refused(data: st.DataObject) -> None:
    world = make_world()
    _, bundle = agreed(world)
    raw = bundles.render(bundle)
    place = data.draw(st.integers(0, len(raw) - 1))
    new = data.draw(st.binary(max_size=3))
    cut = data.draw(st.integers(0, 3))
    mutated = raw[:place] + new + raw[place + cut :]
    if mutated == raw:
        return
    with pytest.raises((Refused, Malformed)):
        verify(world, bundles.parse(mutated))


def test_a_request_about_another_resource_than_its_subject_is_malformed() -> None:
    world = make_world()
    made = world.request()
    asked = world.submit(world.sign(made, f"sha256:{'a' * 64}", world.key("ada")))
    with pytest.raises(Malformed, match="request-subject"):
        verify(world, world.bundle(asked))


def test_an_authorization_about_another_subject_than_its_request_is_malformed() -> None:
    world = make_world()
    asked = world.ask()
    inner = statement.parse(world.authorization(asked, "bob").payload, HumanAuthorization, access.HUMAN_AUTHORIZATION)
    other = Subject(digest=DigestSet.of(ArtifactDigest.parse(f"sha256:{'b' * 64}")))
    payload = statement.make(inner.predicate, access.HUMAN_AUTHORIZATION, (other,))
    envelope = world.submit(dsse_signing.sign(payload, world.key("bob")))
    with pytest.raises(Malformed, match="authorization-subject"):
        verify(world, world.bundle(asked, envelope))


# (2)


def test_a_gate_that_has_not_seen_its_own_nonce_opens_nothing() -> None:
    world = make_world()
    _, bundle = agreed(world)
    snapshot = world.view()
    for view in (
        world.read_on(world.start(None)),
        world.read_on(snapshot.expecting(world.start(None).nonce_record or bundle.request.record_digest)),
    ):
        with pytest.raises(Refused, match="view-without-nonce"):
            verify(world, bundle, view)


def test_a_gate_without_any_checkpoint_opens_nothing() -> None:
    world = make_world()
    _, bundle = agreed(world)
    with pytest.raises(Refused, match="view-empty"):
        verify(world, bundle, world.start(world.check_in()))


def test_a_reader_that_is_no_gate_believes_a_recent_view_without_a_nonce_and_no_old_or_empty_one() -> None:
    world = make_world()
    view = world.read_on(world.start(None))
    assert require_recent(view, now=NOW + 3500).targets_version == 1
    for later_s, code in ((3601, "view-stale"), (91 * 86400, "trust-expired")):
        with pytest.raises(Refused, match=code):
            require_recent(view, now=NOW + later_s)
    with pytest.raises(Refused, match="view-empty"):
        require_recent(world.start(None), now=NOW)


@pytest.mark.parametrize(
    ("later_s", "code"),
    [
        pytest.param(0, None, id="now"),
        pytest.param(3500, None, id="within log_age_max_s"),
        pytest.param(3601, "view-stale", id="the gate cannot reach the log"),
        pytest.param(-60, None, id="a clock a minute behind"),
        pytest.param(-61, "clock-skew", id="a clock further behind"),
        pytest.param(91 * 86400, "trust-expired", id="targets expired"),
    ],
)
def test_a_view_is_fresh_or_the_gate_is_closed(later_s: int, code: str | None) -> None:
    world = make_world()
    asked = world.ask(world.request(not_before=NOW - 100))
    given = [world.approve(asked, who, signed_at=NOW - 100, expires_at=NOW + 9000) for who in ("bob", "eve")]
    bundle = world.bundle(asked, *given)
    view = world.view()
    if code is None:
        # The window is another matter: it opens at the first approvals and lasts an hour.
        assert verify(world, bundle, view, now=NOW + min(later_s, 3400))
        return
    with pytest.raises(Refused, match=code):
        verify(world, bundle, view, now=NOW + later_s)


def test_a_gate_that_left_the_roster_opens_nothing() -> None:
    world = make_world()
    _, bundle = agreed(world)
    view = world.read_on(
        GateView.start(world.start(None).trust, gate=Uri("acme.example", "gate", "gone"), nonce_record=world.check_in())
    )
    with pytest.raises(Refused, match="gate-unknown"):
        verify(world, bundle, view)


def test_a_closed_gate_opens_nothing() -> None:
    world = make_world()
    _, bundle = agreed(world)
    world.suspend("cat", target_gate=str(world.gate))
    with pytest.raises(Refused, match="gate-closed"):
        verify(world, bundle)


# (3)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"lab": "evil.example"}, "lab-other", id="a request of another lab"),
        pytest.param({"beneficiary": "mallory"}, "beneficiary-unknown", id="an unknown beneficiary"),
        pytest.param({"requester": "mallory"}, "requester-unknown", id="an unknown requester"),
        pytest.param({"key": "0" * 64}, "requester-key-unknown", id="a key that nobody enrolled"),
    ],
)
def test_a_requester_who_is_not_of_the_lab_is_refused(changed: dict[str, object], code: str) -> None:
    world = make_world()
    asked = world.ask(world.request(**changed))  # type: ignore[arg-type]  # fields of a request
    with pytest.raises(Refused) as caught:
        verify(world, world.bundle(asked))
    assert caught.value.code == code


def test_a_request_signed_with_another_key_than_it_names_is_refused() -> None:
    world = make_world()
    made = world.request()
    subject = f"sha256:{Uri.parse(made.resource).digest}"
    for key in (world.key("dan"), make_key("nobody")):
        with pytest.raises(Refused, match="signature-key"):
            verify(world, world.bundle(world.sign(made, subject, key)))
    forged = world.sign(made, subject, world.key("ada"))
    wrong = dsse.Signature(keyid=forged.signatures[0].keyid, sig=bytes(64))
    with pytest.raises(Refused, match="signature-invalid"):
        verify(
            world, world.bundle(Envelope(payload_type=forged.payload_type, payload=forged.payload, signatures=(wrong,)))
        )
    with pytest.raises(Refused, match="signature-count"):
        verify(world, world.bundle(world.sign(made, subject, world.key("ada"), world.key("dan"))))


@pytest.mark.parametrize(
    "target", [{"target_member": "ada"}, {"target_key": "of ada"}, {"target_member": "bob"}, {"target_key": "of eve"}]
)
def test_a_suspended_requester_or_approver_opens_nothing(target: dict[str, str]) -> None:
    world = make_world()
    _, bundle = agreed(world)
    if "target_key" in target:
        target = {"target_key": world.key(target["target_key"].removeprefix("of ")).public.keyid}
    world.suspend("cat", **target)
    with pytest.raises(Refused) as caught:
        verify(world, bundle)
    assert caught.value.code == "suspended"


def test_a_suspended_beneficiary_gets_nothing() -> None:
    world = make_world()
    _, bundle = agreed(world, beneficiary="dan")
    assert verify(world, bundle)
    world.suspend("cat", target_member="dan")
    with pytest.raises(Refused, match="suspended"):
        verify(world, bundle)


# (4)


@pytest.mark.parametrize(
    ("approver", "changed", "code"),
    [
        pytest.param("ada+coder", {}, "approver-not-human", id="an AI agent approves"),
        pytest.param("bob+ops", {}, "approver-not-human", id="an AI agent in the approving group approves"),
        pytest.param("mallory", {}, "approver-unknown", id="somebody outside the roster approves"),
        pytest.param(
            "bob", {"key": make_key("old").public.keyid}, "approver-key-unknown", id="with a key that he has not"
        ),
        pytest.param("bob", {"lab": "evil.example"}, "lab-other", id="in another lab"),
        pytest.param("bob", {"request": "c" * 64}, "approval-other-request", id="another request"),
        pytest.param("bob", {"trust_version": 2}, "approval-other-trust", id="under another trust version"),
        pytest.param("bob", {"signed_at": NOW - 9, "expires_at": NOW}, "approval-expired", id="until now"),
        pytest.param("bob", {"signed_at": NOW + 61}, "approval-from-the-future", id="in the future"),
    ],
)
def test_an_approval_that_does_not_count_is_refused_by_name(
    approver: str, changed: dict[str, object], code: str
) -> None:
    world = make_world()
    asked = world.ask()
    with pytest.raises(Refused) as caught:
        verify(world, world.bundle(asked, world.authorization(asked, approver, **changed), world.approve(asked, "eve")))
    assert caught.value.code == code


def test_an_approval_signed_by_somebody_else_is_refused() -> None:
    world = make_world()
    asked = world.ask()
    inner = statement.parse(world.authorization(asked, "bob").payload, HumanAuthorization, access.HUMAN_AUTHORIZATION)
    forged = world.sign(inner.predicate, f"sha256:{asked.record_digest}", make_key("mallory"))
    with pytest.raises(Refused, match="signature-key"):
        verify(world, world.bundle(asked, forged))
    relabelled = dsse.Signature(keyid=world.key("bob").public.keyid, sig=forged.signatures[0].sig)
    with pytest.raises(Refused, match="signature-invalid"):
        verify(
            world,
            world.bundle(
                asked, Envelope(payload_type=forged.payload_type, payload=forged.payload, signatures=(relabelled,))
            ),
        )


def test_production_refuses_software_keys_approvals_by_name() -> None:
    world = make_world(profile="production", witnesses=("north", "south", "west"))
    _, bundle = agreed(world)
    with pytest.raises(Refused) as caught:
        verify(world, bundle)
    assert caught.value.code == "approver-key-software"
    assert world.view().known.approvals == {}


# (5)


@pytest.mark.parametrize(
    ("requester", "beneficiary", "approvers", "why"),
    [
        pytest.param("ada", "ada", ("bob", "ada"), "the requester approves", id="the requester"),
        pytest.param("dan", "ada", ("bob", "ada"), "the beneficiary approves", id="the beneficiary"),
        pytest.param(
            "ada+coder", "ada+coder", ("bob", "ada"), "his own agent asks", id="the human of the agent that asks"
        ),
        pytest.param("ada", "ada", ("cat",), "one person fills two required groups", id="one person in two groups"),
        pytest.param("ada", "ada", ("bob",), "one of two", id="one person of two"),
        pytest.param("ada", "ada", (), "nobody approves", id="nobody"),
        pytest.param("ada", "ada", ("bob", "dan"), "somebody of no group approves", id="a stranger to the quorum"),
    ],
)
def test_people_are_counted_and_never_those_concerned(
    requester: str, beneficiary: str, approvers: tuple[str, ...], why: str
) -> None:
    # ada owns weights too: she would meet the quorum if she counted
    world = make_world(
        groups={
            "research": ("ada", "dan", "ada+coder"),
            "security": ("bob", "cat"),
            "weights-owners": ("ada", "cat", "eve"),
        }
    )
    asked = world.ask(world.request(requester, beneficiary=beneficiary))
    with pytest.raises(Refused) as caught:
        verify(world, world.bundle(asked, *(world.approve(asked, who) for who in approvers)))
    assert caught.value.code == "quorum-not-met", why


def test_whoever_is_concerned_is_out_before_any_policy_is_asked() -> None:
    world = make_world()
    asked = world.ask(world.request("ada+coder", beneficiary="dan"))
    everyone = [world.approve(asked, who) for who in ("ada", "bob", "dan", "eve")]
    parsed = checks.parse_bundle(world.bundle(asked, *everyone, world.approve(asked, "bob", signed_at=NOW - 5)))
    approvals = [one.made for one in parsed.given]
    state = world.lab.state
    assert checks.require_persons(parsed, state, state, approvals) == {"bob": NOW - 5, "eve": NOW}
    roster = Roster("acme.example", {m: v for m, v in state.roster.members.items() if m != "eve"}, {})
    for trusts in ((state, replace(state, roster=roster)), (replace(state, roster=roster), state)):
        assert checks.require_persons(parsed, *trusts, approvals) == {"bob": NOW - 5}


def test_one_person_with_two_approvals_counts_once() -> None:
    world = make_world()
    asked = world.ask(world.release())
    first, second = world.approve(asked, "bob"), world.approve(asked, "bob")
    for shown in ((first, second), (first,)):
        with pytest.raises(Refused, match="quorum-not-met"):
            verify(world, world.bundle(asked, *shown), session=None)


def test_one_person_can_never_approve_a_request_again_to_keep_it_open() -> None:
    # His first approval ends early, and a second one would let the window start anew, as often as he likes.
    world = make_world()
    asked = world.ask(world.request(start_by=NOW + 7200, not_after=NOW + 14400))
    world.approve(asked, "bob", expires_at=NOW + 3600)
    eve = world.approve(asked, "eve", expires_at=NOW + 14400)
    followed = world.view()
    world.now += 3600
    again = world.approve(asked, "bob", expires_at=NOW + 14400)
    for view in (world.view(), world.read_on(followed)):
        assert [one.digest for one in view.known.approvals[asked.record_digest]] == [eve.record_digest]
        with pytest.raises(Refused, match=r"leaf-missing|quorum-not-met"):
            verify_grant(
                world.bundle(asked, again, eve),
                world.read_on(view),
                now=world.now,
                gate=world.gate,
                session_key=world.session.public,
                facts=NO_FACTS,
            )


def test_a_gate_uses_up_only_what_is_addressed_to_it() -> None:
    # Root on another gate of the lab could otherwise spend every release that people agreed on.
    world = make_world()
    asked = world.ask(world.release())
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    world.use(asked, *given, gate="other")
    assert world.view().known.uses == {}
    own = world.use(asked, *given)
    granted = verify(world, world.bundle(asked, *given), session=None)
    assert granted.use == own.record_digest


def test_an_agents_request_is_granted_by_two_other_humans() -> None:
    world = make_world()
    asked = world.ask(world.request("ada+coder"))
    assert verify(world, world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve")))


# (6)


def test_one_humans_denial_ends_a_request_even_when_the_bundle_leaves_it_out() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    assert verify(world, bundle)
    denial = world.deny(asked, "dan")
    for found in (bundle, world.bundle(asked, *bundle.authorizations, denial)):
        with pytest.raises(Refused, match="request-denied"):
            verify(world, found)


def test_a_denial_in_the_bundle_counts_before_the_log_has_it() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    denial = world.authorization(asked, "dan", decision="deny", reason="no")
    with pytest.raises(Refused, match="request-denied"):
        verify(world, world.bundle(asked, *bundle.authorizations, denial))


def test_a_denial_that_is_over_no_longer_counts() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    world.deny(asked, "dan", expires_at=NOW + 10)
    view = world.view()
    with pytest.raises(Refused, match="request-denied"):
        verify(world, bundle, view)
    assert verify(world, bundle, view, now=NOW + 10)


@pytest.mark.parametrize("who", ["dan", "ada"])
def test_a_revocation_by_any_human_or_the_requester_closes(who: str) -> None:
    world = make_world()
    asked, bundle = agreed(world)
    world.revoke(asked, who)
    with pytest.raises(Refused, match="request-revoked"):
        verify(world, bundle)


def test_a_bundle_that_lacks_an_approval_that_the_log_has_is_refused() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    more = world.approve(asked, "cat", expires_at=NOW + 100)
    view = world.view()
    with pytest.raises(Refused, match="authorization-withheld"):
        verify(world, bundle, view)
    assert verify(world, world.bundle(asked, *bundle.authorizations, more), view)
    assert verify(world, bundle, view, now=NOW + 100), "what has expired need not be handed over"


def test_what_could_not_be_read_is_neither_a_yes_nor_a_no() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    for negative in (
        lambda: world.deny(asked, "dan"),
        lambda: world.revoke(asked, "dan"),
        lambda: world.suspend("cat", target_member="bob"),
        lambda: world.suspend("cat", target_key=world.key("eve").public.keyid),
        lambda: world.suspend("cat", target_gate=str(world.gate)),
    ):
        world = make_world()
        asked, bundle = agreed(world)
        missing = frozenset({dsse_digest(negative())})
        with pytest.raises(Unavailable, match="negative-unread"):
            verify(world, bundle, world.view(missing=missing))


def test_an_agent_that_withdraws_its_request_is_heard_though_the_log_hides_what_it_asked() -> None:
    """Whether somebody who is no human is a party stands in the request; a gate that cannot read that cannot find it out."""
    world = make_world()
    asked, bundle = agreed(world, requester="ada+coder")
    world.revoke(asked, "ada+coder")
    with pytest.raises(Refused, match="request-revoked"):
        verify(world, bundle)
    with pytest.raises(Unavailable, match="negative-unread"):
        verify(world, bundle, world.view(missing=frozenset({dsse_digest(asked)})))
    world = make_world()
    asked, bundle = agreed(world)
    world.revoke(asked, "dan")
    with pytest.raises(Refused, match="request-revoked"):  # any human may, whatever was asked
        verify(world, bundle, world.view(missing=frozenset({dsse_digest(asked)})))


# (7)


# (9)


def test_what_is_not_in_the_log_opens_nothing() -> None:
    world = make_world()
    asked = world.ask(submit=False)
    given = [world.authorization(asked, who) for who in ("bob", "eve")]
    with pytest.raises(Refused, match="leaf-missing"):
        verify(world, world.bundle(asked, *given))
    world.submit(asked)
    with pytest.raises(Refused, match="leaf-missing"):
        verify(world, world.bundle(asked, *given))
    for one in given:
        world.submit(one)
    assert verify(world, world.bundle(asked, *given))


def test_another_envelope_of_a_logged_record_is_not_the_one_in_the_log() -> None:
    """Whoever holds a key can sign the same payload twice; the log holds one of them."""
    world = make_world()
    asked, bundle = agreed(world)
    known = world.view().known

    def resigned(envelope: Envelope) -> Envelope:
        signature = dsse.Signature(keyid=envelope.signatures[0].keyid, sig=bytes(64))
        return Envelope(payload_type=envelope.payload_type, payload=envelope.payload, signatures=(signature,))

    checks.require_none(checks.not_logged(checks.parse_bundle(bundle), known))
    first, second = bundle.authorizations
    for other in (Bundle(resigned(asked), bundle.authorizations), Bundle(asked, (resigned(first), second))):
        with pytest.raises(Refused, match="leaf-missing"):
            checks.require_none(checks.not_logged(checks.parse_bundle(other), known))


# (10)


def test_an_approval_for_one_gate_opens_no_other() -> None:
    world = make_world()
    _, bundle = agreed(world)
    other = world.view(gate="other")
    with pytest.raises(Refused, match="gate-other"):
        verify(world, bundle, other, gate=world.lab.gate_uri("other"))
    with pytest.raises(Refused, match="gate-other"):
        verify(world, bundle, other)


def test_a_request_for_an_ancestor_of_the_gate_opens_it() -> None:
    world = make_world()
    _, bundle = agreed(world, gate="keyturn://acme.example/gate/all")
    assert verify(world, bundle)
    with pytest.raises(Refused, match="gate-other"):
        verify(world, bundle, world.view(gate="other"), gate=world.lab.gate_uri("other"))


@pytest.mark.parametrize(
    ("named", "proved", "code"),
    [
        pytest.param("session", "another", "session-key-other", id="another key"),
        pytest.param("session", None, "session-key-other", id="no key proved"),
        pytest.param(None, "session", "session-key-other", id="no key named"),
        pytest.param(None, None, "session-key-missing", id="a session without any key"),
    ],
)
def test_a_session_is_bound_to_its_key(named: str | None, proved: str | None, code: str) -> None:
    world = make_world()
    _, bundle = agreed(world, session_key=make_key(named).public.text if named else None)
    with pytest.raises(Refused, match=code):
        verify(world, bundle, session=make_key(proved).public if proved else None)


# (10), one-shots


# types


def test_only_the_verifier_makes_a_verified_grant() -> None:
    import pickle

    world = make_world()
    _, bundle = agreed(world)
    grant = verify(world, bundle)
    with pytest.raises(TypeError, match="verify_grant only"):
        VerifiedGrant(grant.granted, grant.gate, None, object())
    with pytest.raises(TypeError, match="ready_to_use only"):
        ReadyToUse(grant.granted, grant.gate, object())
    _, _, bundle = one_shot(world)
    for value in (grant, ready(world, bundle)):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(value)


@settings(max_examples=60, deadline=None)
@given(
    st.frozensets(st.sampled_from(("ada", "bob", "cat", "dan", "eve"))), st.sampled_from(("ada", "dan", "ada+coder"))
)
def test_no_set_of_people_opens_without_two_others_who_meet_the_quorum(people: frozenset[str], requester: str) -> None:
    world = make_world()
    asked = world.ask(world.request(requester))
    bundle = world.bundle(asked, *(world.approve(asked, who) for who in sorted(people)))
    others = people - {requester, requester.partition("+")[0]}
    met = bool(others & {"bob", "cat"}) and bool(others & {"cat", "eve"}) and len(others & {"bob", "cat", "eve"}) >= 2
    try:
        verify(world, bundle)
        opened = True
    except Refused:
        opened = False
    assert opened is met


def test_nothing_is_said_of_the_keys_behind_no_approvals() -> None:
    world = make_world()
    assert approval_facts(world.lab.state, ()) == {}


def test_trust_that_expires_now_opens_nothing_any_more() -> None:
    view = make_world().view()
    expires_at = view.trust.newest.targets_expires_at
    assert require_trust(view, now=expires_at - 1)
    with pytest.raises(Refused, match="trust-expired"):
        require_trust(view, now=expires_at)
