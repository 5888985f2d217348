"""Read what `keyturn trust accept --member-key` names, and make or find that key: what signs with it, and where it is here.

| key | what it is |
|---|---|
| `software` | a new key in a file of the home; in production it asks, and never approves |
| `passkey` | a new passkey or security key, made in the browser on the signing page |
| `fido2` | a new key in the security key that is plugged in, made and used without a browser |
| `ssh:~/.ssh/id_sk.pub` | an SSH key by its public file: `ssh-keygen` signs if the private one is beside it, else the agent |
| `pkcs11:token=T;object=L?module-path=/path.so` | a key that is on a token already, by its URI (RFC 7512) |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from keyturn.app.trust.accept_invitation import NewKey
from keyturn.config.person import OwnKey
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Usage
from keyturn.formats.enrolment import AcceptedKey, parse_invitation
from keyturn.ports import KeyStore
from keyturn.wiring.trust import new_passkey, new_software_key

__all__ = ["FoundKey", "founder_key", "new_key", "new_trust_key", "read_pkcs11_uri"]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key to enrol, and the entry of config.toml that finds it again."""

    new: NewKey
    own: OwnKey


def new_key(named: str, *, keys: KeyStore, invitation: bytes, page: str) -> FoundKey:
    """Make or find the key that `--member-key` names, to answer `invitation`; `Usage` for what names none.

    A passkey is made at the signing page `page`: this machine's, or another operator's.
    """
    match named.partition(":")[0]:
        case "software" if named == "software":
            made = new_software_key(keys)
            return FoundKey(made, OwnKey(kind="software", public=made.accepted.key.public))
        case "passkey" if named == "passkey":
            return _passkey(invitation, page)
        case "fido2" if named == "fido2":
            return _security_key(invitation)
        case "pkcs11":
            return _token_key(named)
        case "ssh":
            return _ssh_key(Path(named.removeprefix("ssh:")).expanduser())
        case _:
            raise Usage(
                "key-spec",
                f"expected a key to enrol, got `{named[:80]}`",
                hint="software, passkey, fido2, ssh:PUBLIC_KEY_FILE, or pkcs11:token=T;object=L?module-path=/path/to/module.so",
            )


def new_trust_key(named: str | None, *, keys: KeyStore) -> tuple[RecordSigner, OwnKey | None]:
    """Make the software trust key, or find the one on a token that `--trust-key` names, with its entry of config.toml."""
    if named is None or named == "software":
        return keys.create("trust"), None
    if not named.startswith("pkcs11:"):
        raise Usage(
            "key-spec",
            f"expected a trust key, got `{named[:80]}`",
            hint="software, or pkcs11:token=T;object=L?module-path=/path/to/module.so",
        )
    found = _token_key(named)
    return found.new.signer, found.own


def founder_key(named: str | None, *, keys: KeyStore) -> FoundKey:
    """Make or find the founder's member key, which no invitation asks for."""
    if named in ("passkey", "fido2"):
        raise Usage(
            "key-kind",
            f"a {named} key is made for an invitation, and signs where the roster says: a lab has neither yet",
            hint="found it with another key, then `keyturn trust invite YOU --new-keys beside`",
        )
    return new_key(named or "software", keys=keys, invitation=b"", page="")


def _passkey(invitation: bytes, page: str) -> FoundKey:
    from keyturn.adapters.sign_page.passkey import open_in_browser

    offered = parse_invitation(invitation)
    if offered.kind != "human":
        raise Usage("key-kind", f"expected a human to sign with a passkey, got the {offered.kind} `{offered.member}`")
    made = new_passkey(invitation, origin=page, open_page=open_in_browser)
    return FoundKey(made, OwnKey.of(made.accepted.key))


def _security_key(invitation: bytes) -> FoundKey:
    from keyturn.adapters.security_key.devices import plugged_in
    from keyturn.wiring.pins import ask_security_key_pin
    from keyturn.wiring.trust import new_security_key

    offered = parse_invitation(invitation)
    if offered.kind != "human":
        raise Usage(
            "key-kind", f"expected a human to sign with a security key, got the {offered.kind} `{offered.member}`"
        )
    made = new_security_key(invitation, devices=plugged_in, pin=ask_security_key_pin)
    return FoundKey(made, OwnKey.of(made.accepted.key))


def _ssh_key(public_file: Path) -> FoundKey:
    from keyturn.adapters.files.config_files import read_small
    from keyturn.adapters.keys.ssh_agent import agent_keys, agent_path
    from keyturn.crypto import sshsig as ssh
    from keyturn.formats import sshsig
    from keyturn.wiring.own_keys import ssh_signer

    if public_file.suffix != ".pub":
        raise Usage("key-spec", f"expected a public key file, as `{public_file}.pub`, got `{public_file}`")
    key = sshsig.parse_public_line(read_small(public_file).decode("utf-8", "replace"))
    application = key.application if key.is_security_key else None
    credential = Credential(ssh.public_key(key), "ssh-sk" if key.is_security_key else "ssh", application=application)
    private = public_file.with_suffix("").absolute()
    if private.exists():
        held = False
    else:
        held = key in agent_keys(agent_path())
        if not held:
            raise Usage(
                "ssh-key-absent", f"neither the SSH agent nor `{private}` has this key", hint=f"ssh-add {private}"
            )
    listed = credential.enrolled
    own = OwnKey(
        kind=listed.kind,
        public=listed.public,
        application=listed.application,
        file=None if held else str(private),
    )
    return FoundKey(NewKey(AcceptedKey(key=listed), ssh_signer(own)), own)


def _token_key(uri: str) -> FoundKey:
    from keyturn.adapters.keys.pkcs11_key import Pkcs11Signer, TokenPlace, enrollable_key
    from keyturn.wiring.pins import ask_pin

    module, token, label = read_pkcs11_uri(uri)
    place = TokenPlace(module, token, label)
    public = enrollable_key(place, pin=ask_pin)
    signer = Pkcs11Signer(place, public=public, pin=ask_pin)
    new = NewKey(AcceptedKey(key=Credential(public, "pkcs11").enrolled), signer)
    return FoundKey(new, OwnKey(kind="pkcs11", public=public.text, module=module, token=token, label=label))


def read_pkcs11_uri(uri: str) -> tuple[str, str, str]:
    """Read module, token and object of a `pkcs11:` URI (RFC 7512, section 2.3), each once; refuses every other attribute.

    >>> read_pkcs11_uri("pkcs11:token=ada%20k;object=sign?module-path=/usr/lib/softhsm/libsofthsm2.so")
    ('/usr/lib/softhsm/libsofthsm2.so', 'ada k', 'sign')
    """
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    found: dict[str, str] = {}
    for part in (*path.split(";"), *(f"?{one}" for one in query.split("&") if one)):
        name, _, value = part.partition("=")
        if name in ("?pin-value", "?pin-source"):
            raise _bad("a PIN is asked for, and never in an argument")  # without the text: it may hold the PIN
        if name not in ("token", "object", "?module-path") or name in found:
            raise _bad(f"expected token, object and module-path, each once, got `{name[:40].removeprefix('?')}`")
        try:
            found[name] = unquote(value, errors="strict")
        except UnicodeDecodeError as err:
            raise _bad(f"`{name}` is no UTF-8") from err
    module, token, label = (found.get(name, "") for name in ("?module-path", "token", "object"))
    if not (module.startswith("/") and 0 < len(token.encode()) <= 32 and 0 < len(label) <= 200):
        raise _bad("expected an absolute module-path, a token of at most 32 bytes, an object")
    return module, token, label


def _bad(what: str) -> Usage:
    return Usage("key-uri", f"`pkcs11:` URI: {what}", hint="pkcs11:token=T;object=L?module-path=/path/to/module.so")
