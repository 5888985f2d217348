"""Find the lab that a command is about, and the person who runs it.

A lab is found by `--lab` (or KEYTURN_LAB), else the person's config.toml, else the nearest keyturn.toml above the working
directory. A person is a home directory: `KEYTURN_HOME`, else `~/.config/keyturn`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.files import run_files
from keyturn.config import person as person_config
from keyturn.config.lab import LabConfig
from keyturn.config.person import Home, PersonConfig
from keyturn.errors import Unavailable, Usage
from keyturn.wiring.lab.lab_file import read_lab_file

__all__ = ["LabPlace", "Person", "find_lab", "find_person"]


@dataclass(frozen=True, slots=True)
class LabPlace:
    """A lab: its directory on this machine, or only the URL of its service."""

    path: Path | None
    url: str | None
    config: LabConfig | None

    @property
    def directory(self) -> Path:
        """The lab's directory; `Usage` when it is elsewhere."""
        if self.path is None:
            raise Usage("lab-remote", f"`{self.url}` is a lab's address; this command needs the lab's directory")
        return self.path

    @property
    def service_url(self) -> str | None:
        """The URL of the service: the one given, the one that runs here, or the one keyturn.toml names.

        One that runs here may ask for a login that this home has at the address of keyturn.toml alone: then it is that address.
        """
        if self.url is not None:
            return self.url
        running, configured = run_files.find(self.directory / "run", "service"), self.configured_url
        if running is None or configured is None:
            return running or configured
        from keyturn.wiring.lab.credentials import is_logged_in

        return configured if is_logged_in(configured) and not is_logged_in(running) else running

    @property
    def configured_url(self) -> str | None:
        """The service's own address as keyturn.toml has it, which is how people elsewhere reach it."""
        return self.config.service if self.config else None

    def process_url(self, name: str) -> str:
        """The URL of the lab's process `name`: that of one that runs here, or what keyturn.toml or the service says."""
        url = self.processes().get(name)
        if url is None:
            where = "here" if self.url is None else f"where `{self.url}` knows"
            raise Unavailable(
                "process-not-running",
                f"`{name}` of this lab does not run {where}",
                hint="keyturn up, or its address in the `[processes]` of the lab's keyturn.toml",
            )
        return url

    def processes(self) -> Mapping[str, str]:
        """The URLs of the lab's builder and gates by name. Whoever follows one verifies every answer."""
        if self.url is not None:
            from keyturn.adapters.over_http.addresses_over_http import process_addresses
            from keyturn.wiring.lab.credentials import credentials_for

            return process_addresses(self.url, credentials=credentials_for(self.url))
        run = self.directory / "run"
        names = [path.stem for pattern in ("builder.json", "gate-*.json") for path in sorted(run.glob(pattern))]
        here = {name: url for name in names if (url := run_files.find(run, name)) is not None}
        return {**(self.config.processes if self.config is not None else {}), **here}


@dataclass(frozen=True, slots=True)
class Person:
    """The member who runs a command."""

    home: Home
    config: PersonConfig


def find_person() -> Person:
    """Read who runs this command, or raise `Usage` saying how to become a member."""
    home = person_config.home_of(os.environ)
    try:
        raw = home.config.read_bytes()
    except FileNotFoundError as err:
        raise Usage(
            "person-unknown",
            f"expected `{home.config}`, which says who you are; found none",
            hint="keyturn init, or keyturn trust accept with an invitation",
        ) from err
    except OSError as err:
        raise Unavailable("person-unreadable", f"cannot read `{home.config}`: {err.strerror}") from err
    return Person(home, person_config.parse(raw, where=str(home.config)))


def find_lab(named: str | None) -> LabPlace:
    """Find the lab that `named` (a path or URL), the person's config or the working directory says."""
    if named is None:
        named = _from_person() or _from_working_directory()
    if named.startswith(("http://", "https://")):
        return LabPlace(path=None, url=named, config=None)
    if "://" in named:
        raise Usage(
            "lab-unknown",
            f"expected the lab's directory, or its address as `https://keyturn.acme.example`, got `{named[:80]}`",
            hint="--lab http://..., --lab https://... or --lab DIRECTORY",
        )
    path = Path(named).absolute()
    return LabPlace(path=path, url=None, config=read_lab_file(path))


def _from_person() -> str | None:
    home = person_config.home_of(os.environ)
    return find_person().config.lab if home.config.exists() else None


def _from_working_directory() -> str:
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "keyturn.toml").is_file():
            return str(directory)
    below = next((path.parent for path in here.glob("*/keyturn.toml") if path.is_file()), None)
    raise Usage(
        "lab-unknown",
        "expected a keyturn.toml here or in a directory above, found none"
        + (f"; the lab in `{below.name}` may be meant" if below else ""),
        # Whoever stands beside a lab and is told to found one soon has two.
        hint=f"--lab {shlex.quote(below.name)}, or for good: export KEYTURN_LAB={shlex.quote(str(below))}"
        if below
        else "keyturn init, or name the lab with --lab PATH or URL, or in KEYTURN_LAB",
    )
