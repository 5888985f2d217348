"""Find every mistake in a table that a struct refuses, where msgspec stops at the first.

Only for what was refused already: a table without mistakes has none here either, and is not what anybody works with.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, get_args, get_origin

import msgspec

from keyturn.errors import KeyturnError

__all__ = ["MISTAKES_MAX", "mistakes"]

MISTAKES_MAX = 20
_TEXT_MAX = 400


def mistakes(table: object, kind: Any) -> tuple[str, ...]:
    """A sentence for each mistake in `table`, with its place, as msgspec words it; the first of them, if there are very many."""
    return tuple(dict.fromkeys(text[:_TEXT_MAX] for text in islice(_in(table, kind, "$"), MISTAKES_MAX)))


def _in(value: Any, kind: Any, place: str) -> Iterator[str]:
    """Those of the parts come first; only where there is none of these is the whole looked at."""
    found = False
    for text in _in_parts(value, kind, place):
        found = True
        yield text
    if found:
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as err:
        said, _, where = str(err).partition(" - at `$")
        yield f"{said[:1].lower()}{said[1:]} - at `{place}{where.removesuffix('`')}`"
    except KeyturnError as err:
        yield f"{err.message} - at `{place}`"


def _in_parts(value: Any, kind: Any, place: str) -> Iterator[str]:
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct) and isinstance(value, dict):
        fields = {field.encode_name: field for field in msgspec.structs.fields(plain)}
        for name in sorted(value.keys() - fields.keys()):
            yield f"object contains unknown field `{name}` - at `{place}`"
        for name, field in fields.items():
            if name in value:
                yield from _in(value[name], field.type, f"{place}.{name}")
            elif field.required:
                yield f"object missing required field `{name}` - at `{place}`"
    elif get_origin(plain) is tuple and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _in(item, get_args(plain)[0], f"{place}[{number}]")
