"""Hold what goes into a step, and compare each with the digest that the member signed.

What another lab released is what its pack proves: whose it is goes with the input from here on. Held is what stays as it is while
the step runs; that it did is checked by the one who held it, `adapters.files.step_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from keyturn.errors import KeyturnError, Refused, together
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.provenance import Origin
from keyturn.formats.steps import DeclaredInput, StepRequest
from keyturn.ports import HeldInput, StepFiles

__all__ = ["PACK_BYTES_MAX", "Released", "hold_inputs", "require_declared"]

PACK_BYTES_MAX = 1 << 30

Released = Callable[[ArtifactDigest, bytes, bytes], Origin]
"""Say whose release an artifact is by (pack, first root) of another lab, or raise; see `app.custody.other_lab`."""


def hold_inputs(
    request: StepRequest,
    sources: Mapping[str, str],
    packs: Mapping[str, tuple[str, str]],
    *,
    files: StepFiles,
    released: Released,
) -> dict[str, HeldInput]:
    """Hold every input of `request`, by its name; raises one error that says what is wrong with all of them.

    `packs` are as `app.custody.run_step.Layout` has them.
    """
    held, wrong = dict[str, HeldInput](), list[KeyturnError]()
    for declared in request.inputs:  # all of them, though one is wrong: whoever mends the step sees the rest as well
        try:
            found = files.hold_input(sources[declared.name], declared.check)
            require_declared(declared, found.digest)
            if declared.name in packs:
                pack, root = (files.read_beside(path, size_bytes_max=PACK_BYTES_MAX) for path in packs[declared.name])
                found = replace(found, origin=released(found.digest, pack, root))
            held[declared.name] = found
        except KeyturnError as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)
    return held


def require_declared(declared: DeclaredInput, found: ArtifactDigest) -> None:
    """Refuse, as `input-digest`, an input that is `found` and not what the member signed."""
    if found != declared.artifact:
        raise Refused(
            "input-digest",
            f"input `{declared.name}`: expected `{declared.digest}`, found `{found}`",
            hint="find out who changed it; if the change is meant, declare the new digest",
        )
