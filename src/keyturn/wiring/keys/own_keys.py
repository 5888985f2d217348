"""Find the key that a person signs with, and what signs with it: a file, an agent, a token, a security key, a browser.

Keys are listed in the person's config.toml. Asking uses the first; approving the first that verifies its user, if there is one.
`KEYTURN_KEY`, or `--key`, names another by kind or by the beginning of its key id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.files.key_files import KeyFiles
from keyturn.config import person as person_config
from keyturn.config.person import Home, OwnKey
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Usage
from keyturn.trust.roster import Roster
from keyturn.wiring.keys.token_keys import find_on_token, token_signer
from keyturn.wiring.lab.places import Person
from keyturn.wiring.trust.trust import passphrase, person_keys

__all__ = ["PageView", "own_signer", "own_software_key", "own_trust_signer", "ssh_signer"]

_VERIFYING = ("webauthn", "fido2", "ssh-sk", "pkcs11")


@dataclass(frozen=True, slots=True)
class PageView:
    """What a passkey needs to sign: the roster, which pins its pages, and the payloads of requests by digest."""

    roster: Roster
    request_of: Callable[[str], bytes | None] = lambda digest: None


def own_signer(person: Person, *, approving: bool, named: str | None, view: PageView) -> RecordSigner:
    """What signs for `person`; `Usage` when `named` is none of their keys, or several."""
    keys = person.config.keys
    if not keys:
        if named not in (None, "software"):
            raise _no_such(named, keys)
        return person_keys(person.home).read("member")
    return _signer_of(_chosen(keys, approving=approving, named=named), person_keys(person.home), view)


def _chosen(keys: tuple[OwnKey, ...], *, approving: bool, named: str | None) -> OwnKey:
    if named is not None:
        found = [k for k in keys if k.kind == named or PublicKey.from_text(k.public).keyid.startswith(named)]
        if len(found) != 1:
            raise _no_such(named, keys)
        return found[0]
    verifying = [key for key in keys if key.kind in _VERIFYING]
    return verifying[0] if approving and verifying else keys[0]


def _signer_of(own: OwnKey, files: KeyFiles, view: PageView) -> RecordSigner:
    match own.kind:
        case "software":
            return files.read("member")
        case "ssh" | "ssh-sk":
            return ssh_signer(own)
        case "pkcs11":
            return token_signer(own)
        case "webauthn":
            return _passkey_signer(own, view)
        case "fido2":
            return _security_key_signer(own, view)


def own_trust_signer(home: Home, *, named: str | None) -> RecordSigner:
    """What signs trust metadata: the key that `named` says (a PEM file, or a `pkcs11:` URI), else the one of `home`."""
    if named is not None and named.startswith("pkcs11:"):
        return find_on_token(named)[0]
    if named is not None:
        return KeyFiles(lambda _: Path(named), passphrase=passphrase()).read("trust")
    config = person_config.parse(read_small(home.config)) if home.config.exists() else None
    if config is not None and config.trust is not None:
        return token_signer(config.trust)
    return person_keys(home).read("trust")


def own_software_key(home: Home) -> OwnKey:
    """The software key of `home`, as a config.toml lists it that lists others beside it."""
    return OwnKey.of(Credential(person_keys(home).read("member").public, "software").enrolled)


def ssh_signer(own: OwnKey) -> RecordSigner:
    """What signs with an SSH key: `ssh-keygen` when the private key is in a file, else the agent."""
    from keyturn.adapters.keys.ssh_agent import SshAgentSigner, SshKeygenSigner, agent_path

    credential = Credential.of(own.enrolled, origins=frozenset())
    if own.file is not None:
        return SshKeygenSigner(credential, file=Path(own.file).expanduser())
    return SshAgentSigner(credential, path=agent_path())


def _passkey_signer(own: OwnKey, view: PageView) -> RecordSigner:
    from keyturn.adapters.sign_page.passkey import PasskeySigner, open_in_browser

    return PasskeySigner(view.roster.credential(own.enrolled), request_of=view.request_of, open_page=open_in_browser)


def _security_key_signer(own: OwnKey, view: PageView) -> RecordSigner:
    from keyturn.adapters.security_key.devices import plugged_in
    from keyturn.adapters.security_key.signing import SecurityKeySigner
    from keyturn.wiring.keys.pins import ask_security_key_pin

    return SecurityKeySigner(view.roster.credential(own.enrolled), devices=plugged_in, pin=ask_security_key_pin)


def _no_such(named: str | None, keys: tuple[OwnKey, ...]) -> Usage:
    listed = ", ".join(f"{key.kind} {PublicKey.from_text(key.public).keyid[:16]}" for key in keys) or "software"
    return Usage(
        "key-unknown",
        f"expected one of your keys (by kind or key id), got `{(named or '')[:80]}`",
        hint=f"yours: {listed}",
    )
