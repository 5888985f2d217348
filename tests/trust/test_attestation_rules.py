"""What a roster asks of attestations: whatever lists a key that it does not let through is refused, by gates as well."""

from __future__ import annotations

import pytest

from keyturn.crypto.credentials import Credential
from keyturn.crypto.webauthn import RelyingParty
from keyturn.errors import Malformed
from keyturn.formats.digest import sha256
from keyturn.trust.attestation import AttestationRules, Authenticator
from keyturn.trust.render import render_contents
from keyturn.trust.roster import Member, Roster, SigningPage
from keyturn.trust.targets import parse_contents
from support.labs import make_key, make_lab

AAGUID, TERMINAL = "01" * 16, "keyturn:acme.example"
KNOWN = Authenticator(AAGUID, "Acme Key 1", (b"an older root", b"a root"))
JUDGED = {"attestation": f"packed:{AAGUID}", "attestation_root": sha256(b"a root")}


def terminal_key(**more: str) -> Credential:
    party = RelyingParty(TERMINAL, frozenset({TERMINAL}))
    return Credential(make_key("bob").public, "fido2", id="Y3JlZA==", party=party, **more)  # type: ignore[arg-type]


def listed(key: Credential, *, required: bool = True, known: Authenticator = KNOWN) -> Roster:
    return Roster(
        lab="acme.example",
        members={"bob": Member(id="bob", kind="human", name="Bob", keys=(key,))},
        groups={},
        signing=(SigningPage(TERMINAL, TERMINAL, None),),
        attestation=AttestationRules(required=required, authenticators={known.aaguid: known}),
    )


@pytest.mark.parametrize(
    ("key", "required"),
    [
        pytest.param(terminal_key(**JUDGED), True, id="judged"),
        pytest.param(terminal_key(), False, id="without one, where none is asked for"),
        pytest.param(Credential(make_key("bob").public, "software"), True, id="a key that approves nothing"),
    ],
)
def test_a_key_that_is_let_through(key: Credential, required: bool) -> None:
    assert listed(key, required=required).members["bob"].keys == (key,)


@pytest.mark.parametrize(
    ("key", "known", "code"),
    [
        pytest.param(terminal_key(), KNOWN, "attestation-missing", id="no attestation"),
        pytest.param(Credential(make_key("b").public, "pkcs11"), KNOWN, "attestation-missing", id="a token"),
        pytest.param(
            Credential(make_key("b").public, "ssh-sk", application="ssh:"), KNOWN, "attestation-missing", id="sk"
        ),
        pytest.param(
            terminal_key(attestation=f"packed:{AAGUID}"), KNOWN, "attestation-unjudged", id="from before the rules"
        ),
        pytest.param(
            terminal_key(**JUDGED),
            Authenticator(AAGUID, "Acme Key 1", (b"another root",)),
            "attestation-unjudged",
            id="by a root that is listed no more",
        ),
        pytest.param(
            terminal_key(**JUDGED), Authenticator("02" * 16, "2", (b"a root",)), "attestation-unlisted", id="a model"
        ),
    ],
)
def test_a_key_that_is_not_let_through_is_refused_by_name(key: Credential, known: Authenticator, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        listed(key, known=known)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


def test_attested_keys_are_judged_also_where_none_is_asked_for() -> None:
    with pytest.raises(Malformed, match="attestation-unjudged"):
        listed(terminal_key(attestation=f"packed:{AAGUID}"), required=False)


@pytest.mark.parametrize(("aaguid", "roots"), [("0" * 32, (b"a",)), (AAGUID, ())], ids=["no model", "no root"])
def test_an_authenticator_of_no_model_or_without_a_root_is_refused(aaguid: str, roots: tuple[bytes, ...]) -> None:
    with pytest.raises(Malformed, match="attestation-authenticator"):
        Authenticator(aaguid, "x", roots)


def test_a_root_is_named_with_an_attestation_alone() -> None:
    with pytest.raises(Malformed, match="key-passkey"):
        terminal_key(attestation_root=sha256(b"a root"))


def test_rules_survive_the_draft() -> None:
    files = render_contents(make_lab().contents)
    text = files["roster.toml"].decode()
    for more in (
        "[attestation]\nrequired = false\n",
        f'[attestation]\nrequired = true\n[[attestation.authenticators]]\naaguid = "{AAGUID}"\nname = "x"\nroots = ["AAEC"]\n',
    ):
        read = parse_contents({**files, "roster.toml": (text + "\n" + more).encode()}, lab="acme.example")
        assert read.roster.attestation is not None
        assert parse_contents(render_contents(read), lab="acme.example") == read
