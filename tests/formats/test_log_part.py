"""A part of the log has one text, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from keyturn.errors import Malformed
from keyturn.formats import log_part
from keyturn.formats.log_part import LogPart

PART = LogPart(start=17, note=b"n", leaves=(b"l", b"m"), envelopes=(b"e",))


def test_it_survives_its_text() -> None:
    assert log_part.parse(log_part.render(PART)) == PART


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"log-part/v1", b"log-part/v2"),
        (b'"start":17', b'"start":-1'),
        (b"}", b',"more":1}'),
        (b"}", b""),
        (b'"bg=="', b'"bh=="'),
    ],
)
def test_another_text_is_refused(old: bytes, new: bytes) -> None:
    raw = log_part.render(PART)
    assert old in raw
    with pytest.raises(Malformed):
        log_part.parse(raw.replace(old, new))
