"""Write a new lab and its founder's home in an order in which what fails half way is finished by the same command.

    (1) `.founding` in the lab's directory, which says that the rest is not there yet
    (2) the draft of its trust, (3) the lab's keys, (4) the founder's keys and config.toml, (5) `.gitignore` and keyturn.toml
    (6) `.founding` goes

Keys that an attempt before wrote are taken; they are nobody's yet, as nobody was told of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from keyturn.adapters.files.config_files import read_small, replace_file, require_new, write_new
from keyturn.adapters.files.key_files import KeysInTheEnd
from keyturn.app.trust.found_lab import Founding, found_lab
from keyturn.config import lab as lab_config
from keyturn.config import person as person_config
from keyturn.config.lab import LabConfig
from keyturn.config.person import Home, OwnKey, PersonConfig
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused, Usage
from keyturn.wiring.keys.new_keys import founder_key, new_trust_key
from keyturn.wiring.log.store import new_store, typed_store
from keyturn.wiring.trust.trust import lab_keys, person_keys, trust_store

__all__ = ["NOT_COMMITTED", "make_lab"]

NOT_COMMITTED = """\
# Secrets, and what each machine has of its own. The rest may be committed: trust/ and keyturn.toml are public.
keys/
key
*.pem
run/
*.sqlite
*.sqlite-*
gates/*/state/
notify/*.url
notify/.lock
builder/runtime/
builder/ran/
builder/outbox/
log/
.founding
"""
"""The lab's `.gitignore`."""

_OTHER_HOME = "one home is one member of one lab: KEYTURN_HOME=DIR keyturn init DIRECTORY"
_UNFINISHED = b"`keyturn init` did not finish here: run it again.\n"


def make_lab(
    directory: Path,
    home: Home,
    founding: Founding,
    *,
    store: str | None = None,
    key: str | None = None,
    trust_key: str | None = None,
) -> None:
    """Found a lab in `directory`, with its founder's keys in `home`; `Usage` `file-exists` when either is taken.

    `key` and `trust_key` name the founder's own keys; without them they are made in software. `store` is the URL of the database
    that keeps its log, which must be there and empty; without it the log is in files.
    """
    place, unfinished = directory / "keyturn.toml", directory / ".founding"
    again, fresh = unfinished.exists(), not directory.exists()
    require_new(place, hint=_OTHER_HOME)
    config = PersonConfig(member=founding.founder, lab=str(directory), pins={})
    if not again or (home.config.exists() and not _is_of_before(home, config)):  # somebody's own is never replaced
        require_new(home.config, hint=_OTHER_HOME)
    if store is not None:
        new_store(typed_store(store))
    replace_file(unfinished, _UNFINISHED)  # (1)
    shared, own = (KeysInTheEnd(files, again=again) for files in (lab_keys(directory), person_keys(home)))
    listed: dict[str, OwnKey | None] = {}

    def member() -> Credential:
        found = founder_key(key, keys=own)
        listed["member"] = found.own if key else None
        return Credential.of(found.new.accepted.key, origins=frozenset())

    def trust() -> PublicKey:
        signer, listed["trust"] = new_trust_key(trust_key, keys=own)
        return signer.public

    try:
        found_lab(  # (2)
            founding, store=trust_store(directory), member=member, trust=trust, lab_keys=shared, again=again
        )
    except (Usage, Refused):  # nothing was written
        if not again:
            unfinished.unlink()
            if fresh:
                directory.rmdir()
        raise
    shared.keep()  # (3)
    own.keep()  # (4)
    keys = (listed["member"],) if listed["member"] is not None else ()
    replace_file(home.config, person_config.render(replace(config, keys=keys, trust=listed["trust"])), mode=0o600)
    replace_file(directory / ".gitignore", NOT_COMMITTED.encode())  # (5)
    write_new(place, lab_config.render(LabConfig(lab=founding.lab, service=None, witnesses={}, store=store)))
    unfinished.unlink()  # (6)


def _is_of_before(home: Home, config: PersonConfig) -> bool:
    """Whether the founder's config.toml is that of the attempt which failed half way."""
    return replace(person_config.parse(read_small(home.config)), keys=(), trust=None) == config
