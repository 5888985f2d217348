"""Recovery grants: the threshold of root lets one member in without the log, for hours, at one gate; and nobody else does."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from keyturn.app.access.recovery_file import add_signature, holder_of, payload_of, recovery_in, shown, signers_of
from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, statement
from keyturn.formats.dsse import Envelope
from keyturn.formats.recovery import RECOVERY_GRANT, RecoveryGrant
from keyturn.formats.uri import Uri
from keyturn.grants.recovery import VerifiedRecovery, verify_recovery
from keyturn.trust.metadata import RootMetadata, parse_root
from support.labs import NOW, Lab, make_key, make_lab

GATE = Uri("acme.example", "gate", "gpu1")
SESSION = make_key("session").public


@pytest.fixture(scope="module")
def lab() -> Lab:
    return make_lab(humans=("ada", "bob", "cat"))


def made(lab: Lab, /, **changed: object) -> RecoveryGrant:
    values: dict[str, object] = {
        "lab": lab.name,
        "nonce": "0" * 32,
        "beneficiary": "ada",
        "action": "host:root",
        "resource": "keyturn://acme.example/host/gpu1",
        "gate": str(GATE),
        "justification": "nobody can sign in any more",
        "root_version": lab.history.root.version,
        "signed_at": NOW,
        "not_before": NOW,
        "not_after": NOW + 3600,
        "session_key": SESSION.text,
        **changed,
    }
    return RecoveryGrant(**values)  # type: ignore[arg-type]  # the table above, field by field


def signed(lab: Lab, /, *keys: RecordSigner, **changed: object) -> Envelope:
    payload = statement.make(
        made(lab, **changed),
        RECOVERY_GRANT,
        statement.parse(payload_of(made(lab)), RecoveryGrant, RECOVERY_GRANT).subject,
    )
    return dsse_signing.sign(payload, *keys)


def trust_keys(lab: Lab, *humans: str) -> tuple[RecordSigner, ...]:
    return tuple(lab.trust_keys[human] for human in humans)


def verify(lab: Lab, envelope: Envelope, *, now: int = NOW, root: RootMetadata | None = None) -> VerifiedRecovery:
    return verify_recovery(envelope, root or lab.history.root, now=now, gate=GATE, session_key=SESSION)


def test_the_threshold_of_root_lets_one_member_in_without_any_log(lab: Lab) -> None:
    assert lab.history.root.threshold == 2
    found = verify(lab, signed(lab, *trust_keys(lab, "bob", "cat")))
    assert (found.signers, found.made.beneficiary, found.gate) == ({"bob", "cat"}, "ada", GATE)


@pytest.mark.parametrize(
    ("signers", "code"),
    [
        pytest.param(("bob",), "recovery-threshold", id="one holder"),
        pytest.param(("bob", "bob"), "signature-count", id="one holder twice"),
    ],
)
def test_fewer_people_than_root_needs_let_nobody_in(lab: Lab, signers: tuple[str, ...], code: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(lab, signed(lab, *trust_keys(lab, *signers)))
    assert caught.value.code == code


def test_no_other_key_counts(lab: Lab) -> None:
    for other in (lab.member_keys["cat"], make_key("mallory"), lab.online_key):
        with pytest.raises(Refused, match="recovery-signer"):
            verify(lab, signed(lab, lab.trust_keys["bob"], other))
    root = lab.history.root
    holders = tuple(replace(holder, root=holder.human != "cat") for holder in root.holders)
    with pytest.raises(Refused, match="recovery-signer"):  # cat's key signs targets alone
        verify(lab, signed(lab, *trust_keys(lab, "bob", "cat")), root=replace(root, holders=holders))
    good = signed(lab, *trust_keys(lab, "bob", "cat"))
    first, second = good.signatures
    forged = dsse.Signature(keyid=second.keyid, sig=first.sig)
    with pytest.raises(Refused, match="signature-invalid"):
        verify(lab, Envelope(payload_type=good.payload_type, payload=good.payload, signatures=(first, forged)))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"lab": "evil.example"}, "lab-other", id="another lab"),
        pytest.param({"root_version": 2}, "recovery-root", id="another root"),
        pytest.param({"gate": "keyturn://acme.example/gate/all"}, "gate-other", id="another gate"),
        pytest.param({"session_key": make_key("x").public.text}, "session-key-other", id="another session"),
        pytest.param({"action": "model:release"}, "recovery-action", id="a release"),
        pytest.param({"action": "weights:export"}, "recovery-action", id="an export"),
        pytest.param({"action": "host:paint"}, "recovery-action", id="no action"),
        pytest.param({"resource": "keyturn://acme.example/hosts/all"}, "recovery-resource", id="several hosts"),
        pytest.param({"resource": "keyturn://acme.example/model/aurora"}, "recovery-resource", id="no host"),
        pytest.param({"resource": "keyturn://evil.example/host/gpu1"}, "lab-other", id="a host of another lab"),
        pytest.param({"signed_at": NOW + 61, "not_before": NOW + 61}, "recovery-time", id="signed in the future"),
        pytest.param({"not_before": NOW + 1}, "recovery-closed", id="not open yet"),
    ],
)
def test_a_recovery_grant_is_for_one_thing_at_one_gate(lab: Lab, changed: dict[str, object], code: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(lab, signed(lab, *trust_keys(lab, "bob", "cat"), **changed))
    assert caught.value.code == code


def test_it_ends_and_so_does_root(lab: Lab) -> None:
    envelope = signed(lab, *trust_keys(lab, "bob", "cat"))
    assert verify(lab, envelope, now=NOW + 3599)
    with pytest.raises(Refused, match="recovery-closed"):
        verify(lab, envelope, now=NOW + 3600)
    at = lab.history.root.expires_at
    late = signed(lab, *trust_keys(lab, "bob", "cat"), signed_at=at, not_before=at, not_after=at + 60)
    with pytest.raises(Refused, match="trust-expired"):
        verify(lab, late, now=at)


def test_a_new_root_ends_every_recovery_grant_of_before(lab: Lab) -> None:
    envelope = signed(lab, *trust_keys(lab, "bob", "cat"))
    root_json = lab.make_root(version=2, humans=("ada", "bob"))
    with pytest.raises(Refused, match="recovery-root"):
        verify(lab, envelope, root=parse_root(root_json))
    with pytest.raises(Refused, match="recovery-signer"):
        verify(lab, signed(lab, *trust_keys(lab, "bob", "cat"), root_version=2), root=parse_root(root_json))


def test_nothing_else_is_a_recovery_grant(lab: Lab) -> None:
    good = signed(lab, *trust_keys(lab, "bob", "cat"))
    payload = good.payload.replace(b"recovery-grant", b"access-request")
    with pytest.raises(Malformed, match="statement-predicate-type"):
        verify(lab, dsse_signing.sign(payload, *trust_keys(lab, "bob", "cat")))


def test_only_the_verifier_makes_a_verified_recovery(lab: Lab) -> None:
    found = verify(lab, signed(lab, *trust_keys(lab, "bob", "cat")))
    with pytest.raises(TypeError, match="verify_recovery only"):
        VerifiedRecovery(found.made, found.digest, found.signers, found.gate, object())
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(found)


def test_a_file_goes_from_one_holder_to_the_next(lab: Lab) -> None:
    root = lab.history.root
    first = add_signature(payload_of(made(lab)), None, lab.trust_keys["cat"], root=root)
    envelope, read = recovery_in(dsse.render(first))
    assert (signers_of(envelope, root), read) == (("cat",), made(lab))
    said = " ".join(value for _, value in shown(read))
    for name in read.__struct_fields__:
        assert name in ("signed_at", "not_before", "not_after") or str(getattr(read, name)) in said, name
    with pytest.raises(Refused, match="recovery-signed"):
        add_signature(envelope.payload, envelope, lab.trust_keys["cat"], root=root)
    with pytest.raises(Refused, match="recovery-signer"):
        holder_of(lab.member_keys["ada"], root)
    done = add_signature(envelope.payload, envelope, lab.trust_keys["bob"], root=root)
    assert verify(lab, done).signers == {"bob", "cat"}
    with pytest.raises(Refused, match="recovery-action"):
        payload_of(made(lab, action="model:release"))
