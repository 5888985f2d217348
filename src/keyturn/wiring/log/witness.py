"""Set up and open a witness in its directory: `key`, `witness.toml`, and what it remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.files.config_files import read_kept, replace_file, write_new
from keyturn.adapters.files.key_files import read_key, write_key
from keyturn.adapters.files.witness_files import WitnessFiles
from keyturn.app.log.cosign_checkpoint import Witnessing
from keyturn.config import witness as witness_config
from keyturn.config.witness import WitnessConfig
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Usage

__all__ = ["change_log_key", "init_witness", "open_witness"]


def init_witness(directory: Path, *, name: str, logs: dict[str, PublicKey]) -> PublicKey:
    """Make the witness `name` in `directory`, watching `logs` (key by origin); return its public key.

    A key that is there is kept: `keyturn init` makes those of a demo lab. `Conflict` when it is set up already.
    """
    config = witness_config.render(WitnessConfig(name, logs))
    witness_config.parse(config)
    place = directory / "key"
    if not place.exists():
        write_key(place, SoftwareKey.generate(), passphrase=None)
    key = read_key(place, passphrase=None)
    write_new(directory / "witness.toml", config)
    return key.public


def change_log_key(directory: Path, *, logs: dict[str, PublicKey]) -> None:
    """Believe other keys of `logs`, each of which the witness watches already. A witness that serves must start again."""
    place = directory / "witness.toml"
    config = _config(directory)
    for origin in logs:
        if origin not in config.logs:
            raise Refused("witness-log-unknown", f"`{config.name}` does not watch the log `{origin}`")
    replace_file(place, witness_config.render(WitnessConfig(config.name, {**config.logs, **logs})))


@contextmanager
def open_witness(directory: Path) -> Iterator[tuple[Witnessing, WitnessFiles]]:
    """Open the witness in `directory` for serving; `Conflict` when another process has it open."""
    config = _config(directory)
    key = read_key(directory / "key", passphrase=None)
    if any(key.public == log for log in config.logs.values()):
        raise Refused("witness-key-shared", "the witness's key is the log's key")
    store = WitnessFiles(directory)
    try:
        yield Witnessing(config.name, key, config.logs), store
    finally:
        store.close()


def _config(directory: Path) -> WitnessConfig:
    place = directory / "witness.toml"
    if not place.exists():
        raise Usage("witness-not-set-up", f"expected `{place}`, found none", hint="keyturn witness init NAME")
    return witness_config.parse(read_kept(place), where=str(place))
