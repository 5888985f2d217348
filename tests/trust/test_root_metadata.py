"""Root metadata: every way in which a root could count one person twice, or say two things, is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.trust import metadata, signing
from keyturn.trust.metadata import Holder, parse_root, parse_targets_metadata
from support.labs import NOW, Lab, make_key

Document = dict[str, Any]


def _edit(raw: bytes, change: Callable[[Document], None]) -> bytes:
    document = json.loads(raw)
    change(document["signed"])
    return json.dumps(document).encode()


def _keyid(root: Document, human: str) -> str:
    return next(keyid for keyid, name in root["x-keyturn"]["holders"].items() if name == human)


def _online(root: Document) -> str:
    found: str = root["roles"]["timestamp"]["keyids"][0]
    return found


def _second_id(root: Document, *, holder: str) -> None:
    twin = "f" * 64
    root["keys"][twin] = root["keys"][_keyid(root, "ada")]
    root["roles"]["root"]["keyids"].append(twin)
    root["x-keyturn"]["holders"][twin] = holder


def _two_keys_of_one_human(root: Document) -> None:
    root["x-keyturn"]["holders"][_keyid(root, "bob")] = "ada"


def _upper_case_twin(root: Document) -> None:
    value = root["keys"][_keyid(root, "ada")]["keyval"]
    value["public"] = value["public"].upper()


def _other_id(root: Document) -> None:
    old, new = _keyid(root, "ada"), "e" * 64
    root["keys"][new] = root["keys"].pop(old)
    for role in ("root", "targets"):
        root["roles"][role]["keyids"] = [new if k == old else k for k in root["roles"][role]["keyids"]]
    root["x-keyturn"]["holders"] = {new if k == old else k: h for k, h in root["x-keyturn"]["holders"].items()}


def _online_key_signs_root(root: Document) -> None:
    root["roles"]["root"]["keyids"].append(_online(root))


def _unused_key(root: Document) -> None:
    key = make_key("unused").public
    root["keys"][key.keyid] = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": key.raw_ed25519.hex()}}


def _set(path: str, value: object) -> Callable[[Document], None]:
    def change(root: Document) -> None:
        *parents, last = path.split("/")
        for parent in parents:
            root = root[parent]
        root[last] = value

    return change


def _key_type(root: Document) -> None:
    root["keys"][_keyid(root, "ada")]["keytype"] = "webauthn"


def _key_scheme(root: Document) -> None:
    root["keys"][_keyid(root, "ada")] |= {"keytype": "rsa", "scheme": "rsassa-pss-sha256"}


def _broken_key(root: Document) -> None:
    root["keys"][_keyid(root, "ada")]["keyval"]["public"] = "zz"


def _role_twice(root: Document) -> None:
    root["roles"]["root"]["keyids"].append(_keyid(root, "ada"))


def _unheld(root: Document) -> None:
    del root["x-keyturn"]["holders"][_keyid(root, "bob")]


def _recovery_signs_targets(root: Document) -> None:
    root["x-keyturn"]["recovery"] = [_keyid(root, "ada")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda r: _second_id(r, holder="ada"), "trust-key-two-ids", id="one key under two key ids"),
        pytest.param(lambda r: _second_id(r, holder="cyd"), "trust-key-two-humans", id="one key under two humans"),
        pytest.param(_two_keys_of_one_human, "trust-human-two-keys", id="two keys of one human"),
        pytest.param(_upper_case_twin, "trust-key-not-canonical", id="a key in upper-case hex"),
        pytest.param(_other_id, "trust-keyid", id="a key under an id that is not its digest"),
        pytest.param(_key_type, "trust-key-type", id="an unknown key type"),
        pytest.param(_key_scheme, "trust-key-type", id="an RSA key"),
        pytest.param(_broken_key, "key-invalid", id="a key that does not parse"),
        pytest.param(_online_key_signs_root, "trust-online-key-shared", id="the online key signs root"),
        pytest.param(_unused_key, "trust-key-unused", id="a key without a role"),
        pytest.param(_unheld, "trust-holders", id="a key that nobody holds"),
        pytest.param(_role_twice, "trust-role-keys", id="a role lists a key twice"),
        pytest.param(_set("roles/root/keyids", ["a" * 64]), "trust-role-keys", id="a role lists an unknown key"),
        pytest.param(_recovery_signs_targets, "trust-recovery-key", id="a recovery key that signs targets"),
        pytest.param(_set("x-keyturn/recovery", ["a" * 64]), "trust-recovery-key", id="a recovery key that is unknown"),
        pytest.param(_set("roles/root/threshold", 1), "trust-threshold-one", id="a root threshold of one"),
        pytest.param(_set("roles/targets/threshold", 1), "trust-threshold-one", id="a targets threshold of one"),
        pytest.param(
            _set("roles/root/threshold", 3), "trust-threshold-unreachable", id="a threshold that nobody can meet"
        ),
        pytest.param(_set("consistent_snapshot", False), "trust-consistent-snapshot", id="no consistent snapshot"),
        pytest.param(_set("x-other", 1), "trust-metadata-invalid", id="an unknown field"),
        pytest.param(_set("x-keyturn/admin", "eve"), "trust-metadata-invalid", id="an unknown field of ours"),
        pytest.param(_set("x-keyturn/profile", "test"), "trust-metadata-invalid", id="an unknown profile"),
        pytest.param(_set("version", 0), "trust-metadata-invalid", id="version 0"),
        pytest.param(_set("version", True), "trust-metadata-invalid", id="a version that is no number"),
        pytest.param(_set("version", 2**63), "trust-metadata-invalid", id="a version of 2^63"),
        pytest.param(_set("expires", "2027-01-01"), "trust-metadata-invalid", id="another form of date"),
        pytest.param(_set("expires", "2027-13-01T00:00:00Z"), "trust-metadata-invalid", id="a date that is none"),
        pytest.param(_set("_type", "targets"), "trust-metadata-invalid", id="another type"),
        pytest.param(_set("spec_version", "2.0.0"), "trust-metadata-invalid", id="another major version of TUF"),
        pytest.param(_set("delegations", {}), "trust-delegations", id="delegations"),
        pytest.param(lambda r: r.pop("x-keyturn"), "trust-metadata-invalid", id="a plain TUF root"),
        pytest.param(lambda r: r.pop("roles"), "trust-metadata-invalid", id="no roles"),
    ],
)
def test_a_root_that_could_mislead_is_refused_by_name(lab: Lab, change: Callable[[Document], None], code: str) -> None:
    with pytest.raises(KeyturnError) as caught:
        parse_root(_edit(lab.root_json, change))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"", "trust-metadata-invalid", id="nothing"),
        pytest.param(b"\xff", "trust-metadata-invalid", id="no UTF-8"),
        pytest.param(b"[]", "trust-metadata-invalid", id="a list"),
        pytest.param(b'{"signed":{},"signatures":[],"x":1}', "trust-metadata-invalid", id="an unsigned field"),
        pytest.param(b'{"signed":{"a":NaN},"signatures":[]}', "trust-metadata-invalid", id="NaN"),
        pytest.param(b"[" * 100_000, "trust-metadata-invalid", id="deep nesting"),
        pytest.param(
            b'{"signed":{"a":' + b"9" * 6000 + b'},"signatures":[]}', "trust-metadata-invalid", id="a huge number"
        ),
        pytest.param(b" " * 600_000, "trust-metadata-too-large", id="oversize"),
    ],
)
def test_what_is_no_metadata_is_malformed(raw: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_root(raw)
    assert caught.value.code == code


def test_a_duplicate_json_field_is_refused_though_tuf_takes_it(lab: Lab) -> None:
    twice = lab.root_json.replace(b'"threshold":2', b'"threshold":1,"threshold":2', 1)
    with pytest.raises(Malformed, match="trust-json-duplicate"):
        parse_root(twice)


def test_a_signature_listed_twice_for_one_key_is_refused(lab: Lab) -> None:
    document = json.loads(lab.root_json)
    document["signatures"].append(document["signatures"][0])
    with pytest.raises(Malformed, match="trust-metadata-invalid"):
        parse_root(json.dumps(document).encode())


def _ecdsa_holders() -> tuple[Holder, ...]:
    keys = [SoftwareKey(ec.derive_private_key(n, ec.SECP256R1())) for n in (1001, 1002)]
    return tuple(
        Holder(human, key.public, root=True, targets=True, recovery=False)
        for human, key in zip(("ada", "bob"), keys, strict=True)
    )


def _ecdsa_root() -> bytes:
    return signing.make_root(
        lab="acme.example",
        profile="demo",
        version=1,
        expires_at=NOW + 1000,
        threshold=2,
        targets_threshold=2,
        holders=_ecdsa_holders(),
        online=make_key("online").public,
    )


def test_ecdsa_keys_hold_a_root_too() -> None:
    root = parse_root(_ecdsa_root())
    assert {holder.key.scheme for holder in root.holders} == {"ecdsa-sha2-nistp256"}


@pytest.mark.parametrize(
    "twin",
    [
        pytest.param(lambda pem: pem + "\n", id="with a line end more"),
        pytest.param(lambda pem: pem.rstrip("\n"), id="with a line end less"),
        pytest.param(lambda pem: "key of ada\n" + pem, id="with text before it"),
    ],
)
def test_a_pem_twin_of_a_key_is_refused(twin: Callable[[str], str]) -> None:
    def change(root: Document) -> None:
        value = root["keys"][_keyid(root, "ada")]["keyval"]
        value["public"] = twin(value["public"])

    with pytest.raises(Refused, match="trust-key-not-canonical"):
        parse_root(_edit(_ecdsa_root(), change))


def test_an_rsa_key_dressed_as_ecdsa_is_refused() -> None:
    pem = (
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )

    def change(root: Document) -> None:
        root["keys"][_keyid(root, "ada")]["keyval"]["public"] = pem.decode()

    with pytest.raises(Malformed, match="key-"):
        parse_root(_edit(_ecdsa_root(), change))


def test_a_key_dressed_as_the_other_type_is_refused(lab: Lab) -> None:
    def change(root: Document) -> None:
        root["keys"][_keyid(root, "ada")] |= {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256"}

    with pytest.raises(Malformed, match="key-invalid"):
        parse_root(_edit(lab.root_json, change))


def test_production_needs_three_humans_and_an_offline_recovery_key(production: Lab) -> None:
    two = _edit(_ecdsa_root(), _set("x-keyturn/profile", "production"))
    with pytest.raises(Refused, match="production-root-keys"):
        parse_root(two)
    with pytest.raises(Refused, match="production-recovery-key"):
        parse_root(_edit(production.root_json, _set("x-keyturn/recovery", [])))
    assert [holder.human for holder in parse_root(production.root_json).holders if holder.recovery] == ["cyd"]


def test_a_weird_or_shared_key_is_never_made_into_a_root() -> None:
    ada, bob = _ecdsa_holders()
    for holders, code in (
        ((ada, ada), "key-shared"),
        ((ada, Holder("bob", ada.key, root=True, targets=True, recovery=False)), "key-shared"),
        ((ada, Holder("ada", bob.key, root=True, targets=True, recovery=False)), "trust-human-two-keys"),
        ((ada,), "trust-threshold-unreachable"),
    ):
        with pytest.raises(KeyturnError) as caught:
            signing.make_root(
                lab="acme.example",
                profile="demo",
                version=1,
                expires_at=NOW,
                threshold=2,
                targets_threshold=2,
                holders=holders,
                online=make_key("online").public,
            )
        assert caught.value.code == code


def test_a_threshold_counts_humans_who_validly_signed(lab: Lab) -> None:
    root = lab.history.root
    unsigned = lab.make_root(version=1)
    assert metadata.signers(unsigned, by=root, role="root") == frozenset()
    once = signing.add_signature(unsigned, lab.trust_keys["ada"])
    stranger = signing.add_signature(once, make_key("stranger"))
    assert metadata.signers(stranger, by=root, role="root") == {"ada"}
    assert metadata.signers(signing.add_signature(once, lab.trust_keys["ada"]), by=root, role="root") == {"ada"}
    with pytest.raises(Refused, match=r"got 1 \(ada\)"):
        metadata.require_threshold(stranger, by=root, role="root")
    with pytest.raises(Refused, match=r"got 0 \(nobody\)"):
        metadata.require_threshold(unsigned, by=root, role="root")


def test_a_signature_moved_to_another_key_id_counts_for_nobody(lab: Lab) -> None:
    once = json.loads(signing.add_signature(lab.make_root(version=1), lab.trust_keys["ada"]))
    once["signatures"][0]["keyid"] = lab.trust_keys["bob"].public.keyid
    assert metadata.signers(json.dumps(once).encode(), by=lab.history.root, role="root") == frozenset()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(_set("delegations", {"keys": {}, "roles": []}), "trust-delegations", id="delegations"),
        pytest.param(_set("targets/roster.toml/custom", {}), "trust-metadata-invalid", id="a custom field"),
        pytest.param(_set("targets/roster.toml/hashes/sha512", "a"), "trust-metadata-invalid", id="another hash"),
        pytest.param(_set("targets/roster.toml/length", -1), "trust-metadata-invalid", id="a negative length"),
        pytest.param(
            lambda t: t["targets"].update({"../roster.toml": t["targets"]["roster.toml"]}),
            "path-invalid",
            id="a path outside",
        ),
    ],
)
def test_targets_metadata_that_says_more_than_files_is_refused(
    lab: Lab, change: Callable[[Document], None], code: str
) -> None:
    assert lab.history.targets is not None
    with pytest.raises(KeyturnError) as caught:
        parse_targets_metadata(_edit(lab.history.targets.raw, change))
    assert caught.value.code == code


def test_keys_are_equal_when_their_der_is() -> None:
    key = make_key("x").public
    assert PublicKey.from_spki(key.spki) == key
