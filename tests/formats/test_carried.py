"""What is carried by hand between a gate and the log: one text for each, and nothing else is taken."""

from __future__ import annotations

import pytest

from keyturn.errors import KeyturnError
from keyturn.formats import carried
from keyturn.formats.carried import Answer, Question

GATE = "keyturn://acme.example/gate/gpu1"
QUESTION = Question(version=1, gate=GATE, size=17, checkin=b"{}", records=(b"a", b"b"), missing=("ab" * 32,))
ANSWER = Answer(version=1, gate=GATE, checkin="ab" * 32, start=17, note=b"n", leaves=(b"l",), envelopes=(b"e", b"f"))


def test_each_survives_its_text() -> None:
    assert carried.parse_question(carried.render_question(QUESTION)) == QUESTION
    assert carried.parse_answer(carried.render_answer(ANSWER)) == ANSWER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version":2'),
        (b"keyturn://", b"https://"),
        (b'"start":17', b'"start":-1'),
        (b'"size":17', b'"size":17.0'),
        (b'"' + b"ab" * 32, b'"' + b"ab" * 31),
        (b"}", b',"more":1}'),
        (b"}", b""),
    ],
)
def test_another_text_is_refused(old: bytes, new: bytes) -> None:
    texts = carried.render_question(QUESTION), carried.render_answer(ANSWER)
    for raw, parse in zip(texts, (carried.parse_question, carried.parse_answer), strict=True):
        if old in raw:
            with pytest.raises(KeyturnError):
                parse(raw.replace(old, new))
