"""Write the receipt of a step that a builder ran from an order in a file, where it leaves none itself: beside Slurm.

Whoever ordered the step writes it, as the user whose directory that is: the builder's hooks may run as root, and write nothing
where members write (docs/decisions/0150-slurm-jobs-that-end.md). A receipt is unsigned and decides nothing.
"""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.clock import pause, running
from keyturn.adapters.files.config_files import write_new
from keyturn.adapters.files.plain_files import read_plain
from keyturn.adapters.over_http.builder_over_http import Order, decode
from keyturn.app.custody.run_step import RECEIPT_NAME, Receipt, render_receipt
from keyturn.errors import Unavailable, Usage
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.provenance import BuilderId
from keyturn.formats.steps import StepRequest
from keyturn.wiring.custody.what_came_out import came_out_of
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.log import lab_index, log_reader

__all__ = ["ORDER_BYTES_MAX", "write_receipt"]

ORDER_BYTES_MAX = 1 << 20
_LOOK_EVERY_S = 1.0
_RECEIPT_BYTES_MAX = 1 << 20


def write_receipt(place: LabPlace, order: bytes, *, within_s: int) -> tuple[Path, Receipt]:
    """Wait until the log has what came out of `order`, and write that beside the outputs; where, and what it says.

    Raises `Unavailable` when the log has nothing of it `within_s`, `Usage` where the outputs are not.
    """
    given = decode(order, Order, what="order")
    record = records.parse(given.request)
    request = record.statement.predicate
    if not isinstance(request, StepRequest):
        raise Usage("receipt-order", "expected the order of a step", hint="keyturn step order writes one")
    until = running() + within_s
    while (found := _made(place, record.digest, request)) is None:
        if running() > until:
            raise Unavailable(
                "receipt-none",
                f"the log has nothing of what came out of stp-{record.digest[:32]} yet",
                hint="scontrol show job JOB says how it ended, and in AdminComment why it was cancelled; --wait waits longer",
            )
        pause(_LOOK_EVERY_S)
    directory = Path(given.destination)
    if not directory.is_dir():
        raise Usage(
            "receipt-nowhere",
            f"expected the outputs in `{directory}`, which is not here",
            hint="run it on a machine that sees the directory, as its owner",
        )
    path, raw = directory / RECEIPT_NAME, render_receipt(found)
    if not _is_there(path, raw):
        write_new(path, raw)
    return path, found


def _made(place: LabPlace, digest: Sha256, request: StepRequest) -> Receipt | None:
    with lab_index(place) as index, log_reader(place) as reader:
        asked = index.by_record(digest, "stp")
        found = came_out_of(index, reader, asked[0]) if asked else None
    if found is None or found[1].builder != BuilderId(request.lab, "builder", request.builder or ""):
        return None
    provenance, made = found
    outputs = {output.name: str(output.digest) for output in made.outputs}
    return Receipt(step=request.step, request=digest, provenance=provenance, outputs=outputs)


def _is_there(path: Path, raw: bytes) -> bool:
    try:
        return read_plain(path, size_bytes_max=_RECEIPT_BYTES_MAX) == raw
    except OSError:
        return False
