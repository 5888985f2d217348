"""Join the trust ceremony to this machine's disk: where a lab's trust, keys and log lie, and where a person's keys do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from keyturn.adapters.files.config_files import read_small, replace_file
from keyturn.adapters.files.key_files import KeyFiles
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.config import person as person_config
from keyturn.config.person import Home
from keyturn.errors import Refused, Usage
from keyturn.wiring.lab.places import LabPlace, find_person

__all__ = [
    "UNLOCK_VARIABLE",
    "keep_pin",
    "lab_keys",
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
