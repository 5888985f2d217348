"""An acceptance of a door is read as it was signed, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.crypto import dsse_signing
from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.standing_acceptance import STANDING_ACCEPTANCE, StandingAcceptance, parse
from keyturn.formats.statement import DigestSet, Subject
from support.labs import NOW, make_key

MADE = StandingAcceptance(
    lab="acme.example",
    nonce="ab" * 16,
    member="ada",
    key="ab" * 32,
    place="host:gpu1",
    finding="cd" * 32,
    first_seen=NOW,
    code="ssh-key",
    where="/root/.ssh/authorized_keys",
    opens="`root`, by ssh",
    to="eve@old-laptop",
    severity="high",
    reason="until the bastion is there",
    signed_at=NOW,
    until=NOW + 1,
)


def envelope(made: object, *subjects: str) -> bytes:
    about = tuple(Subject(digest=DigestSet(sha256=one), name="host:gpu1") for one in subjects)
    return dsse.render(dsse_signing.sign(statement.make(made, STANDING_ACCEPTANCE, about), make_key("ada")))  # type: ignore[type-var]


def test_an_acceptance_says_what_was_signed() -> None:
    read, made = parse(envelope(MADE, MADE.finding))
    assert made == MADE
    assert read.signatures[0].keyid == make_key("ada").public.keyid


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reason", " "),
        ("reason", "a\x1b[2J"),
        ("opens", "root\u202e"),
        ("place", ""),
        ("where", "x" * 601),
        ("to", "\u0301" * 601),
        ("until", NOW),
        ("severity", "none"),
        ("finding", "fnd-cdcdcdcd"),
        ("code", "SSH"),
        ("more", "1"),
    ],
)
def test_an_acceptance_that_nobody_could_read_or_that_never_held_is_none(field: str, value: object) -> None:
    fields = msgspec.to_builtins(MADE) | {field: value}
    raw = envelope(msgspec.defstruct("Any", list(fields))(**fields), MADE.finding)
    with pytest.raises(Malformed):
        parse(raw)


@pytest.mark.parametrize("subjects", [("ab" * 32,), (MADE.finding, "ab" * 32)], ids=["another finding", "two"])
def test_an_acceptance_is_about_its_finding_alone(subjects: tuple[str, ...]) -> None:
    with pytest.raises(Malformed, match="acceptance-subject"):
        parse(envelope(MADE, *subjects))
