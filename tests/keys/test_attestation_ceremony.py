"""A lab lists whose attestations it believes, by the command line; then keys join that hold, and no counterfeit ones."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.formats.digest import sha256
from support.attesters import FidoMetadata, Maker
from support.ctaphid import attached
from support.members import People
from support.security_key import AAGUID, PIN, SecurityKey

TERMINAL = '\n[[signing]]\norigin = "keyturn:acme.example"\nrp_id = "keyturn:acme.example"\n'
MAKER = Maker("Acme Keys")


def founded(tmp_path: Path) -> People:
    people = People(tmp_path)
    people.found()
    people.pin(PIN)
    roster = people.lab / "trust" / "draft" / "roster.toml"
    roster.write_text(roster.read_text() + TERMINAL)
    people.invite_again()
    (tmp_path / "maker.pem").write_bytes(MAKER.root_pem)
    return people


def bobs_keys(people: People) -> list[dict[str, str]]:
    roster = tomllib.loads((people.lab / "trust" / "draft" / "roster.toml").read_text())
    return [key for member in roster["members"] if member["id"] == "bob" for key in member["keys"]]


@pytest.mark.timeout(300)
def test_a_lab_enrols_keys_of_makers_that_it_lists_and_no_counterfeit_ones(tmp_path: Path) -> None:
    people = founded(tmp_path)
    words = ("trust", "authenticator", AAGUID.hex(), "--root", "maker.pem", "--name", "Acme Key 1")
    said = people.by("ada", *words, "--required")
    assert (said["roots"], said["required"]) == ([sha256(MAKER.root)], True)
    keys = {
        "counterfeit": (Maker("Acme Keys").attester(AAGUID), "attestation-untrusted"),
        "self-attested": (None, "attestation-missing"),
        "held": (MAKER.attester(AAGUID), ""),
    }
    for name, (attester, code) in keys.items():
        with attached(SecurityKey(attester=attester), tmp_path / name) as command:
            bob = replace(people, command=command)
            home, out = f"bob-{name}", f"{name}.acceptance.json"
            bob.by(home, "trust", "accept", "bob.invitation.json", "--member-key", "fido2", "--out", out)
        propose = ("trust", "propose", "--acceptance", out)
        if code:
            assert people.refused("ada", *propose) == code
            assert bobs_keys(people) == []
        else:
            people.by("ada", *propose)
    (listed,) = bobs_keys(people)
    assert (listed["attestation"], listed["attestation_root"]) == (f"packed:{AAGUID.hex()}", sha256(MAKER.root))
    (tmp_path / "other.der").write_bytes(Maker("another").root)
    words = ("trust", "authenticator", AAGUID.hex(), "--root", "other.der")
    assert people.refused("ada", *words) == "attestation-unjudged"  # bob's key would stand there unjudged


def test_a_maker_is_listed_from_fidos_metadata(tmp_path: Path) -> None:
    people = founded(tmp_path)
    metadata = FidoMetadata(roots=(MAKER.root,))
    (tmp_path / "blob.jwt").write_bytes(metadata.blob())
    (tmp_path / "fido.der").write_bytes(metadata.root)
    words = ("trust", "authenticator", metadata.aaguid, "--metadata", "blob.jwt")
    assert people.refused("ada", *words, status=2) == "option-missing"
    assert people.refused("ada", *words, "--metadata-root", "maker.pem") == "fido-metadata-unsigned"
    said = people.by("ada", *words, "--metadata-root", "fido.der")
    assert (said["name"], said["roots"], said["required"]) == ("Acme Key 1", [sha256(MAKER.root)], False)
    assert people.refused("ada", "trust", "authenticator", "x", "--root", "maker.pem", status=2) == "option-invalid"
