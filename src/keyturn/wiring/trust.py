"""Join the trust ceremony to this machine's disk: where a lab's trust, keys and log lie, and where a person's keys do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keyturn.adapters.files.config_files import read_small, replace_file
from keyturn.adapters.files.key_files import KeyFiles
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.app.trust.accept_invitation import NewKey
from keyturn.config import person as person_config
from keyturn.config.person import Home
from keyturn.crypto.credentials import Credential
from keyturn.errors import Refused, Usage
from keyturn.formats import base64_text, canonical_json
from keyturn.formats.enrolled_key import terminal_of
from keyturn.formats.enrolment import AcceptedKey, Registration, parse_invitation
from keyturn.ports import KeyStore
from keyturn.wiring.places import LabPlace, find_person

if TYPE_CHECKING:
    from keyturn.adapters.security_key.client import AskPin as AskSecurityKeyPin
    from keyturn.adapters.security_key.devices import Devices

__all__ = [
    "UNLOCK_VARIABLE",
    "keep_pin",
    "lab_keys",
    "new_passkey",
    "new_security_key",
    "new_software_key",
    "own_pin",
    "passphrase",
    "person_keys",
    "trust_store",
]

UNLOCK_VARIABLE = "KEYTURN_PASSPHRASE_FILE"
"""Environment variable naming a file with the passphrase of a person's keys; without it they are 0600 and not encrypted."""


def trust_store(directory: Path) -> TrustOnDisk:
    """The trust of the lab in `directory`."""
    return TrustOnDisk(directory / "trust")


def lab_keys(directory: Path) -> KeyFiles:
    """The keys of the lab's own processes: `log`, `online`, `builder`, `witness/<name>`, `gate/<name>`."""

    def path_of(name: str) -> Path:
        kind, _, rest = name.partition("/")
        match kind:
            case "witness":
                return directory / "witness" / rest / "key"
            case "gate":
                return directory / "gates" / rest / "key"
            case "builder":
                return directory / "builder" / "key"
            case _:
                return directory / "keys" / name

    return KeyFiles(path_of, passphrase=None)


def person_keys(home: Home) -> KeyFiles:
    """The keys `member` and `trust` of the person whose home it is."""
    paths = {"member": home.member_key, "trust": home.trust_key}
    return KeyFiles(lambda name: paths[name], passphrase=passphrase())


def new_software_key(keys: KeyStore) -> NewKey:
    """Make the software key of the person whose `keys` they are."""
    made = keys.create("member")
    return NewKey(AcceptedKey(key=Credential(made.public, "software").enrolled), made)


def new_passkey(raw: bytes, *, origin: str, open_page: Callable[[str], None]) -> NewKey:
    """Make a passkey for the invitation `raw` on the signing page at `origin`, whose host is its relying party."""
    from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
    from keyturn.adapters.sign_page.passkey import PasskeySigner, answer_to
    from keyturn.adapters.sign_page.task import ANSWER_WITHIN_S, Task

    rp_id = urlsplit(origin).hostname or ""
    task = Task(purpose="enrolment", payload=base64_text.encode(raw), rp_id=rp_id)
    answer = answer_to(task, origin=origin, open_page=open_page, within_s=ANSWER_WITHIN_S)
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


def passphrase() -> bytes | None:
    """The passphrase of the person's keys, or `None` when they are not encrypted; an empty one is refused."""
    named = os.environ.get(UNLOCK_VARIABLE)
    if not named:
        return None
    text = read_small(Path(named)).rstrip(b"\r\n")
    if not text:
        raise Usage("passphrase-empty", f"`{named}` is empty: expected a passphrase")
    return text


def own_pin(place: LabPlace) -> str | None:
    """The root of this lab that whoever runs the command has pinned; `None` when there is no such person or pin."""
    home = person_config.home_of(os.environ)
    if place.config is None or not home.config.exists():
        return None
    return find_person().config.pins.get(place.config.lab)


def keep_pin(lab: str, sha256: str) -> str:
    """Write the pin of `lab` into the person's config, and return the lab's name; `Refused` when another root is pinned."""
    person = find_person()
    known = person.config.pins.get(lab)
    if known not in (None, sha256):
        raise Refused(
            "trust-pin-differs",
            f"you have pinned another root of `{lab}`: `{known}`",
            hint=f"if the lab was founded anew, remove the pin from {person.home.config} first",
        )
    pins = {**person.config.pins, lab: sha256}
    replace_file(person.home.config, person_config.render(replace(person.config, pins=pins)), mode=0o600)
    return lab
