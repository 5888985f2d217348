"""Join a builder to this machine: its directory `lab/builder`, its key, its view of the log, and its sandbox.

lab/builder/builder.toml   what its operator says (`config.builder`)
lab/builder/root.json      the first root, whose SHA-256 builder.toml pins
lab/builder/key            0600, read once, never mounted
lab/builder/runtime/       what runtimes were read as, authenticated by the key
lab/builder/ran/           a mark for each request that was ordered
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, pause
from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.files.config_files import read_kept
from keyturn.adapters.files.job_files import JobFiles
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.outbox_files import OutboxFiles
from keyturn.adapters.files.runtime_memory import RuntimeMemory
from keyturn.adapters.inputs.oci_place import ANONYMOUS, OciPlace
from keyturn.adapters.inputs.s3_place import S3Place
from keyturn.adapters.over_http.builder_over_http import About
from keyturn.adapters.sandbox_bwrap import BubblewrapSandbox
from keyturn.app.custody.follow_as_builder import BuilderView, TrustNow
from keyturn.app.custody.run_step import Signer
from keyturn.app.custody.witnessed_writer import WitnessedWriter
from keyturn.config import builder as builder_config
from keyturn.config.builder import BuilderConfig
from keyturn.crypto import dsse_signing
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused, Usage
from keyturn.formats.provenance import BuilderId
from keyturn.ports import Clock, LogWriter, Sandbox
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX, root_to_pin, set_up
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.found_log import FoundLog

__all__ = ["BuilderParts", "builder_parts", "default_runtimes", "make_builder", "read_config"]

_IN_FORCE_WITHIN_S = 60.0
"""How long a builder waits for the witnesses: people wait for its step anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderParts:
    """What a builder is made of. `trust_now` and `probe` raise when the view or the sandbox cannot be had."""

    about: About
    signer: Signer
    trust_now: Callable[[], TrustNow]
    allowed: Allowed
    sources: tuple[str, ...]
    memory: RuntimeMemory
    sandbox: Sandbox
    probe: Callable[[], None]
    log: LogWriter
    clock: Clock
    jobs: JobFiles
    outbox: OutboxFiles
    s3: S3Place | None = None
    oci: OciPlace = ANONYMOUS


def default_runtimes() -> tuple[str, ...]:
    """What a runtime may be unless the operator says otherwise: the system's programs, and this Python with its packages."""
    return tuple(dict.fromkeys(("/usr", sys.base_prefix, sys.prefix)))


def make_builder(
    place: LabPlace,
    *,
    name: str,
    work: Sequence[str],
    runtime: Sequence[str],
    private: Sequence[str],
    sources: Sequence[str] = (),
    pin: str | None,
) -> tuple[BuilderConfig, PublicKey]:
    """Write a builder's configuration and pinned root, and its key unless there is one; nothing is overwritten."""
    history = root_to_pin(place, pin)
    config = BuilderConfig(
        name=name,
        lab=history.lab,
        root_sha256=history.root_sha256,
        work=tuple(work),
        runtime=tuple(runtime),
        private=tuple(private),
        sources=tuple(sources),
        queue_max=16,
        level=1,
    )
    text = builder_config.render(config)
    builder_config.parse(text, where="options")
    return config, set_up(place.directory / "builder", "builder.toml", text, pinned=history)


def read_config(place: LabPlace) -> BuilderConfig:
    """Read the builder's configuration, or raise `Usage` saying how to make one."""
    path = place.directory / "builder" / "builder.toml"
    if not path.exists():
        raise Usage("builder-none", f"expected a builder at `{path.parent}`", hint="keyturn builder init --work DIR")
    return builder_config.parse(read_kept(path), where=str(path))


def builder_parts(place: LabPlace) -> BuilderParts:
    """Make the builder of the lab at `place`: reads its key once, and pins its root."""
    config = read_config(place)
    directory = place.directory / "builder"
    key = read_key(directory / "key", passphrase=None)
    clock, found_log, sandbox = SystemClock(), FoundLog(lambda: place.service_url), BubblewrapSandbox()
    root = read_kept(directory / "root.json", size_bytes_max=ROOT_BYTES_MAX)
    view = BuilderView(root, pinned_sha256=config.root_sha256, log=found_log, clock=clock)
    log = WitnessedWriter(
        found_log, trust=lambda: view.trust_now().trust, clock=clock, pause=pause, deadline_s=_IN_FORCE_WITHIN_S
    )

    def trust_now() -> TrustNow:
        found = view.trust_now()
        listed = found.trust.builders.get(config.name)
        if listed is None or listed.key != key.public:
            raise Refused(
                "builder-unlisted",
                f"the lab's targets list no builder `{config.name}` with this builder's key: nobody would believe it",
                hint="add it to builders.toml in the draft, then keyturn trust propose",
            )
        if config.level > listed.level_max:
            raise Refused("builder-level", f"targets allow level {listed.level_max}, builder.toml says {config.level}")
        return found

    s3 = (
        None
        if config.s3 is None
        else S3Place(config.s3.endpoint, config.s3.region, _path_or_none(config.s3.credentials))
    )
    oci = ANONYMOUS if config.oci is None else OciPlace(_path_or_none(config.oci.credentials), config.oci.follow)
    credentials = [one.credentials for one in (s3, oci) if one is not None and one.credentials is not None]
    return BuilderParts(
        about=About(
            name=config.name,
            lab=config.lab,
            key=key.public.text,
            level=config.level,
            work=config.work,
            runtime=config.runtime,
            queue_max=config.queue_max,
            trust_version=0,
        ),
        signer=Signer(
            BuilderId(config.lab, "builder", config.name),
            config.level,
            lambda payload: dsse_signing.sign(payload, key),
        ),
        trust_now=trust_now,
        allowed=Allowed(
            work=tuple(map(Path, config.work)),
            runtime=tuple(map(Path, config.runtime)),
            private=(place.directory, *map(Path, config.private), *credentials),
        ),
        sources=config.sources,
        memory=RuntimeMemory(directory / "runtime", key.sign),
        sandbox=sandbox,
        probe=sandbox.probe,
        log=log,
        clock=clock,
        jobs=JobFiles(directory),
        outbox=OutboxFiles(directory / "outbox", log),
        s3=s3,
        oci=oci,
    )


def _path_or_none(path: str | None) -> Path | None:
    return None if path is None else Path(path)
