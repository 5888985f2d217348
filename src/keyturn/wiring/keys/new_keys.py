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

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keyturn.app.trust.accept_invitation import NewKey
from keyturn.config.person import OwnKey
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused, Usage
from keyturn.formats import base64_text, canonical_json
from keyturn.formats.enrolled_key import terminal_of
from keyturn.formats.enrolment import AcceptedKey, Invitation, Registration, parse_invitation
from keyturn.ports import KeyStore
from keyturn.wiring.keys.own_keys import ssh_signer
from keyturn.wiring.keys.token_keys import find_on_token

if TYPE_CHECKING:
    from keyturn.adapters.security_key.client import AskPin as AskSecurityKeyPin
    from keyturn.adapters.security_key.devices import Devices

__all__ = ["FoundKey", "founder_key", "new_key", "new_passkey", "new_security_key", "new_trust_key"]


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
            signer, own = find_on_token(named)
            return FoundKey(NewKey(AcceptedKey(key=own.enrolled), signer), own)
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
    return find_on_token(named)


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
    from keyturn.adapters.sign_page.passkey import make_in_browser, open_in_browser

    offered = parse_invitation(invitation)
    if offered.kind != "human":
        raise Usage("key-kind", f"expected a human to sign with a passkey, got the {offered.kind} `{offered.member}`")
    _require_listed(offered, page)
    made = new_passkey(invitation, origin=page, open_page=open_in_browser, open_to_make=make_in_browser)
    return FoundKey(made, OwnKey.of(made.accepted.key))


def _security_key(invitation: bytes) -> FoundKey:
    from keyturn.adapters.security_key.devices import plugged_in
    from keyturn.wiring.keys.pins import ask_security_key_pin

    offered = parse_invitation(invitation)
    if offered.kind != "human":
        raise Usage(
            "key-kind", f"expected a human to sign with a security key, got the {offered.kind} `{offered.member}`"
        )
    _require_listed(offered, terminal_of(offered.lab))
    made = new_security_key(invitation, devices=plugged_in, pin=ask_security_key_pin)
    return FoundKey(made, OwnKey.of(made.accepted.key))


def _require_listed(offered: Invitation, page: str) -> None:
    """Refuse to make a key for a page or terminal that the lab does not list: no signature by it would ever count."""
    if offered.signing is None or page in offered.signing:
        return  # an older invitation does not say, and who enrols the key finds out
    raise Refused(
        "signing-page-unlisted",
        f"`{offered.lab}` lists no signing page `{page}`, so a key that is made there signs nothing; it lists: "
        + (", ".join(offered.signing) or "none"),
        hint="--page with one of those; where there is none, who invited you writes a [[signing]] table into "
        "trust/draft/roster.toml (docs/guide/people.md) and invites you again; or another --member-key",
    )


def _ssh_key(public_file: Path) -> FoundKey:
    from keyturn.adapters.files.config_files import read_small
    from keyturn.adapters.keys.ssh_agent import agent_keys, agent_path
    from keyturn.crypto import sshsig as ssh
    from keyturn.formats import sshsig

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


def new_software_key(keys: KeyStore) -> NewKey:
    """Make the software key of the person whose `keys` they are."""
    made = keys.create("member")
    return NewKey(AcceptedKey(key=Credential(made.public, "software").enrolled), made)


def new_passkey(
    raw: bytes,
    *,
    origin: str,
    open_page: Callable[[str], None],
    open_to_make: Callable[[str], None] | None = None,
) -> NewKey:
    """Make a passkey for the invitation `raw` on the signing page at `origin`, whose host is its relying party.

    The page is opened twice: by `open_to_make` to make the key, and by `open_page` whenever it signs.
    """
    from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
    from keyturn.adapters.sign_page.passkey import PasskeySigner, answer_to
    from keyturn.adapters.sign_page.task import ANSWER_WITHIN_S, Task

    rp_id = urlsplit(origin).hostname or ""
    task = Task(purpose="enrolment", payload=base64_text.encode(raw), rp_id=rp_id)
    answer = answer_to(task, origin=origin, open_page=open_to_make or open_page, within_s=ANSWER_WITHIN_S)
    registration = canonical_json.decode(answer, Registration, what="registration", size_bytes_max=64 * 1024)
    origins = frozenset({origin})
    key = WebauthnEnrolment().prove(registration, invitation=raw, rp_id=rp_id, origins=origins)
    signer = PasskeySigner(Credential.of(key, origins=origins), request_of=lambda _: None, open_page=open_page)
    return NewKey(AcceptedKey(key=key, registration=registration), signer)


def new_security_key(raw: bytes, *, devices: Devices, pin: AskSecurityKeyPin) -> NewKey:
    """Make a key for the invitation `raw` in a security key, without a browser."""
    from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
    from keyturn.adapters.security_key.signing import SecurityKeySigner, register

    registration = register(raw, devices=devices, pin=pin)
    terminal = terminal_of(parse_invitation(raw).lab)
    origins = frozenset({terminal})
    key = WebauthnEnrolment().prove(registration, invitation=raw, rp_id=terminal, origins=origins)
    signer = SecurityKeySigner(Credential.of(key, origins=origins), devices=devices, pin=pin)
    return NewKey(AcceptedKey(key=key, registration=registration), signer)
