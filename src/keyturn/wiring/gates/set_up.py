"""Set up a process that verifies from a root of its own, a gate or the builder: its directory, its key, the root that it pins.

    <directory>/key          0600, made here unless it is there: `keyturn init` makes those of a demo lab
    <directory>/root.json    the lab's first root, whose SHA-256 the configuration pins
    <directory>/*.toml       the configuration, written last: a process is set up when it is there

What each configuration says is for `wiring.gates.release`, `wiring.gates.postgres` and `wiring.custody.builder`.
"""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.files.config_files import read_kept, replace_file, require_new, write_new
from keyturn.adapters.files.key_files import read_key, write_key
from keyturn.app.trust.lab_trust import still_founding
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Usage
from keyturn.formats.digest import parse_sha256
from keyturn.trust.history import TrustHistory
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.trust.trust import own_pin, trust_store

__all__ = ["ROOT_BYTES_MAX", "gate_file", "root_to_pin", "set_up"]

ROOT_BYTES_MAX = 1 << 20


def root_to_pin(place: LabPlace, named: str | None) -> TrustHistory:
    """The lab's first root, which has the SHA-256 that was `named` or that whoever runs the command pinned before."""
    root = trust_store(place.directory).read_file("root.json")
    if root is None:
        raise still_founding("it has no root that a gate or builder could pin", trust_store(place.directory))
    pinned = named or own_pin(place)
    if pinned is None:
        raise Usage(
            "trust-root-unpinned",
            "expected the SHA-256 of the lab's first root, compared with a coworker",
            hint="keyturn trust pin SHA256, or --root-sha256 SHA256",
        )
    history: TrustHistory = TrustHistory.start(root, pinned_sha256=parse_sha256(pinned, what="--root-sha256"))
    return history


def set_up(directory: Path, config: str, text: bytes, *, pinned: TrustHistory) -> PublicKey:
    """Write `text` as the file `config`, the pinned root and a key; `Usage` `file-exists` when it is set up already.

    What failed half way is finished by the same command: the configuration comes last, and a key that is there is kept.
    """
    require_new(directory / config)
    if not (directory / "key").exists():
        write_key(directory / "key", SoftwareKey.generate(), passphrase=None)
    replace_file(directory / "root.json", pinned.root.raw)
    write_new(directory / config, text)
    return read_key(directory / "key", passphrase=None).public


def gate_file(directory: Path, *, hint: str) -> bytes:
    """The configuration of the gate in `directory`, of whatever kind; `Usage` `gate-none` with `hint` when there is none."""
    if not (directory / "gate.toml").exists():
        raise Usage("gate-none", f"expected a gate at `{directory}`", hint=hint)
    return read_kept(directory / "gate.toml")
