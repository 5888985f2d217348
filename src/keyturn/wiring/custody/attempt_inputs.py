"""Hold what goes into a job that no builder starts: paths where they lie, and copies of what is kept elsewhere.

A copy is taken by the member who opens the attempt, on his own machine and word, as for a step without a builder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.attempt_files import Held, hold_input, make_read_only
from keyturn.adapters.files.config_files import read_small
from keyturn.adapters.files.step_files import unreadable_input
from keyturn.app.custody.hold_inputs import PACK_BYTES_MAX, require_declared
from keyturn.app.custody.other_lab import require_released
from keyturn.config.step import StepFile
from keyturn.errors import KeyturnError, Usage, together
from keyturn.formats import input_source
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.input_source import PathSource
from keyturn.formats.provenance import Origin
from keyturn.formats.steps import DeclaredInput
from keyturn.trust.outside import OutsideSigner
from keyturn.wiring.custody.steps import hold_here

__all__ = ["OnBytes", "fetch_inputs", "hold_inputs", "released_inputs", "require_attachable"]

OnBytes = Callable[[str, int, int], None]
"""Called with (what is read, bytes done, bytes in all), often."""


def require_attachable(step: StepFile) -> None:
    if step.build_type in ("evaluate", "ingest", "package"):
        raise Usage(
            "attempt-build-type",
            f"a step of type `{step.build_type}` is run by a builder, and not attached to a job",
            hint="keyturn run STEP.toml",
        )
    for one in step.inputs:
        if one.checked != ("full" if one.is_path else "snapshot"):
            raise Usage(
                "step-check",
                f"input `{one.name}`: an attempt reads a path whole, and copies what is elsewhere; got `{one.checked}`",
                hint="leave `check` out of its table: it is looked at again when the attempt is closed",
            )


def fetch_inputs(step: StepFile, base: Path, place: Path, on_bytes: OnBytes) -> dict[str, Origin]:
    """Copy what is no path to `place`, a directory that is made for it, by its input's name; gives where each came from."""
    here, origins, wrong = hold_here(base), dict[str, Origin](), list[KeyturnError]()
    for one in step.inputs:
        source = input_source.parse(one.source)
        if isinstance(source, PathSource):
            continue
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            origins[one.name] = here.hold(source, place / one.name, progress=partial(on_bytes, one.name))
            make_read_only(place / one.name)
        except OSError as err:
            wrong.append(unreadable_input(one.source, err))
        except KeyturnError as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)
    return origins


def released_inputs(
    step: StepFile, base: Path, held: Mapping[str, Held], outside: Mapping[str, OutsideSigner]
) -> dict[str, Origin]:
    """Whose release each input is that came with a pack, by its name; raises with every one that its pack does not prove."""
    origins, wrong = dict[str, Origin](), list[KeyturnError]()
    for one in step.inputs:
        if one.pack is None or one.root is None:
            continue
        try:
            pack, root = (read_small(base / path, size_bytes_max=PACK_BYTES_MAX) for path in (one.pack, one.root))
            artifact = ArtifactDigest.parse(held[one.name].digest)
            origins[one.name] = require_released(
                artifact, pack=pack, root=root, outside=outside, verify=Verifiers().verify
            )
        except KeyturnError as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)
    return origins


def hold_inputs(inputs: tuple[DeclaredInput, ...], where: Mapping[str, Path], on_bytes: OnBytes) -> dict[str, Held]:
    held, wrong = {}, list[KeyturnError]()
    for one in inputs:
        if one.name not in where:
            continue  # the STEP.toml: its bytes are in the attempt's directory
        try:
            held[one.name] = found = hold_input(where[one.name].resolve(), progress=partial(on_bytes, one.name))
            require_declared(one, ArtifactDigest.parse(found.digest))
        except KeyturnError as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)
    return held
