"""Hostile bytes into every parser: it reads them or refuses them by name; nothing else ever comes out.

Short in `make test`, for FUZZ_SECONDS each with `make fuzz`. Where one text stands for one value, whatever is read must also
render to the very bytes that were read: so no second text of the same value is ever accepted.
"""

from __future__ import annotations

import base64
import inspect
import os
import time
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutate import every_single_byte, mutations
from fuzz.targets import NOT_ALONE, TARGETS, Target, resolve
from keyturn.errors import KeyturnError
from keyturn.formats import records
from keyturn.formats.leaf import KINDS

SHORT = 600
SECONDS_MAX = 5.0
TEXT_MAX = 5000
PARAMETERS = [pytest.param(target, id=target.name) for target in TARGETS]


def feed(target: Target, raw: bytes) -> None:
    """Give `raw` to the parser, and fail unless it is read or refused by name, at once, and with one text per value."""
    shown = f"{target.name}: base64 {base64.b64encode(raw)[:400].decode()}"
    begin = time.monotonic()
    try:
        value = target.call(raw)
    except target.refusals as err:
        _check_refusal(err, shown)
    except Exception as err:
        raise AssertionError(f"{type(err).__name__}: {shown}") from err
    else:
        assert target.render is None or target.render(value) == raw, f"two texts of one value: {shown}"
    assert time.monotonic() - begin < SECONDS_MAX, f"slow: {shown}"


def _check_refusal(err: KeyturnError, shown: str) -> None:
    assert err.code, shown
    size = len(str(err))
    assert size < TEXT_MAX, f"an error quotes a bounded part of what it refuses: {shown}"


@pytest.mark.parametrize("target", PARAMETERS)
def test_good_examples_are_read(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    if target.name not in {"trust.targets.parse_contents", "trust.draft.Draft.parse"}:  # several files, one of them bad
        for raw in seeds:
            target.call(raw)


@pytest.mark.parametrize("target", PARAMETERS)
def test_hostile_bytes_are_read_or_refused_by_name(target: Target) -> None:
    for _, raw in zip(range(SHORT), mutations(target.seeds(), seed=1), strict=False):
        feed(target, raw)


@pytest.mark.parametrize("target", PARAMETERS)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(raw=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused_by_name(target: Target, raw: bytes) -> None:
    feed(target, raw)


@pytest.mark.parametrize("target", [p for p in PARAMETERS if getattr(p.values[0], "render", None) is not None])
def test_no_byte_of_an_example_can_change_and_still_give_the_same_value(target: Target) -> None:
    good = min(target.seeds(), key=len)[:4000]
    value = target.call(min(target.seeds(), key=len))
    if len(min(target.seeds(), key=len)) > len(good):
        return
    for place, changed in every_single_byte(good, values=(0x01, 0x20, 0x80)):
        try:
            assert target.call(changed) != value, f"{target.name}: byte {place} does not matter"
        except target.refusals:
            continue


@pytest.mark.long
@pytest.mark.parametrize("target", PARAMETERS)
def test_hostile_bytes_for_long(target: Target) -> None:
    seconds = float(os.environ.get("KEYTURN_FUZZ_SECONDS", "60"))
    seed = int.from_bytes(os.urandom(4), "big")
    end = time.monotonic() + seconds
    for raw in mutations(target.seeds(), seed=seed):
        feed(target, raw)
        if time.monotonic() > end:
            break


# --- the table is whole ---------------------------------------------------------------------------------------------

ROOMS = ("formats", "config", "trust", "grants", "custody", "tlog", "policy", "bulk", "adapters", "app", "gates")


def _parsers() -> set[str]:
    """Every `parse`, `parse_...` and `read` of the rooms that takes bytes or a text first."""
    source = Path(inspect.getfile(resolve("errors.Malformed"))).parent
    found = set()
    for path in sorted(path for room in ROOMS for path in (source / room).rglob("*.py") if path.stem != "__init__"):
        place = ".".join(path.relative_to(source).with_suffix("").parts)
        module = import_module(f"keyturn.{place}")
        owners: list[tuple[str, object]] = [(place, module)]
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                owners.append((f"{place}.{name}", kind))
        for owner, inside in owners:
            for name, member in vars(inside).items():
                call = getattr(member, "__func__", member)
                if not inspect.isfunction(call) or call.__module__ != module.__name__:
                    continue
                if not (name in {"parse", "read"} or name.startswith(("parse_", "read_"))):
                    continue
                if place.startswith("adapters.") and not name.startswith("parse"):
                    continue  # an adapter's `read` takes a name, and reads a file
                parameters = [p for p in inspect.signature(call).parameters.values() if p.name not in {"cls", "self"}]
                if parameters and str(parameters[0].annotation) in {"bytes", "str", "Mapping[str, bytes]"}:
                    found.add(f"{owner}.{name}")
    return found


def test_every_parser_of_the_source_is_in_the_table() -> None:
    missing = _parsers() - {target.name for target in TARGETS} - set(NOT_ALONE)
    assert missing == set(), "add it to tests/fuzz/targets.py"


def test_every_kind_of_record_is_among_the_examples_that_mutations_start_from() -> None:
    (target,) = (one for one in TARGETS if one.name == "formats.records.read")
    assert {records.read(raw)[0].kind for raw in target.seeds()} == KINDS


def test_every_name_in_the_table_is_a_parser_of_the_source() -> None:
    for name in [target.name for target in TARGETS] + list(NOT_ALONE):
        resolve(name)
