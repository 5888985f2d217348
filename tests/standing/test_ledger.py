"""The ledger: what is new, what is closed, who accepted what until when; one person's word accepts nothing."""

from __future__ import annotations

import pytest

from keyturn.app.oversight.standing_access import doors, news, news_of, verdict
from keyturn.errors import Malformed, Refused, Usage
from keyturn.standing import ledger as ledgers
from keyturn.standing.finding import FINDINGS_MAX, Finding, Scan, found, gathered, unseen
from keyturn.standing.ledger import ACCEPTED_MAX_S, EMPTY, Ledger

NOW, DAY_S = 1_790_000_000, 86_400
HOST = "host:gpu1"


def door(
    code: str = "ssh-key", *, area: str = "ssh", where: str = "/root/.ssh/authorized_keys", mark: str = "k"
) -> Finding:
    return found(code, area, where, opens="`root`", to="eve", severity="high", close="true", mark=(mark,))


def recorded(*scans: Scan, ledger: Ledger = EMPTY, begin: int = NOW) -> Ledger:
    for number, scan in enumerate(scans):
        ledger, _ = ledgers.record(ledger, HOST, scan, owner="ada", now=begin + number)
    return ledger


def accepted(ledger: Ledger, *people: str, until: int = NOW + DAY_S, now: int = NOW) -> Ledger:
    (one,) = doors(ledger.places, now=now)
    for person in people:
        ledger, _, _ = ledgers.accept(ledger, one.id[:12], by=person, until=until, reason="until the move", now=now)
    return ledger


def state(ledger: Ledger, *, now: int = NOW) -> list[str]:
    return [one.state for one in doors(ledger.places, now=now)]


def test_a_door_keeps_the_time_when_it_was_first_seen_and_its_owner() -> None:
    (one,) = doors(recorded(gathered([door()]), gathered([door()])).places, now=NOW)
    assert (one.first_seen, one.last_seen, one.owner) == ("2026-09-21T14:13:20Z", "2026-09-21T14:13:21Z", "ada")
    other, id_, _ = ledgers.own(recorded(gathered([door()])), one.id, owner="bob")
    assert [(each.id, each.owner) for each in doors(other.places, now=NOW)] == [(id_, "bob")]


def test_a_door_that_was_closed_and_opens_again_is_new_and_nobody_has_accepted_it() -> None:
    ledger = accepted(recorded(gathered([door()])), "ada", "bob")
    assert state(ledger) == ["accepted"]
    ledger, change = ledgers.record(ledger, HOST, gathered([]), owner="", now=NOW + 1)
    assert (len(change.closed), state(ledger)) == (1, [])
    ledger, change = ledgers.record(ledger, HOST, gathered([door()]), owner="", now=NOW + 2)
    assert (len(change.new), state(ledger)) == (1, ["open"])


def test_what_could_not_be_looked_at_closes_nothing() -> None:
    before = recorded(gathered([door(), door("sudo-rule", area="sudo")]))
    blind = gathered([unseen("ssh", "/root/.ssh/authorized_keys", "Permission denied")])
    after, change = ledgers.record(before, HOST, blind, owner="", now=NOW + 1)
    assert [one.finding.code for one in change.closed] == ["sudo-rule"]
    assert {one.code for one in doors(after.places, now=NOW)} == {"ssh-key", "could-not-look"}
    after, change = ledgers.record(after, HOST, gathered([]), owner="", now=NOW + 2)
    assert (len(change.closed), after.places[0].standing) == (2, ())


def test_another_place_is_left_alone() -> None:
    ledger = recorded(gathered([door()]))
    ledger, _ = ledgers.record(ledger, "host:gpu2", gathered([]), owner="", now=NOW)
    assert [place.name for place in ledger.places] == [HOST, "host:gpu2"]
    assert state(ledger) == ["open"]


def test_one_person_accepts_nothing_however_often() -> None:
    ledger = accepted(recorded(gathered([door()])), "ada", "ada")
    assert (state(ledger), verdict(doors(ledger.places, now=NOW))) == (["half-accepted"], "open")
    (one,) = doors(ledger.places, now=NOW)
    with pytest.raises(Refused, match="acceptance-needs-two"):
        ledgers.accept(ledger, one.id, by="ada", until=None, reason="", now=NOW)


def test_the_second_agrees_to_what_the_first_said_and_not_to_something_else() -> None:
    half = accepted(recorded(gathered([door()])), "ada")
    (one,) = doors(half.places, now=NOW)
    whole, _, _ = ledgers.accept(half, one.id, by="bob", until=None, reason="", now=NOW)
    assert (state(whole), doors(whole.places, now=NOW)[0].accepted_by) == (["accepted"], ("ada", "bob"))
    longer, _, _ = ledgers.accept(half, one.id, by="bob", until=NOW + 2 * DAY_S, reason="until the move", now=NOW)
    assert (state(longer), doors(longer.places, now=NOW)[0].accepted_by) == (["half-accepted"], ("bob",))


def test_an_acceptance_ends_and_then_it_is_news_again() -> None:
    ledger = ledgers.told(accepted(recorded(gathered([door()])), "ada", "bob"), HOST, now=NOW)
    assert (state(ledger), verdict(doors(ledger.places, now=NOW))) == (["accepted"], "closed")
    assert state(ledger, now=NOW + DAY_S) == ["open"]
    later = recorded(gathered([door()]), ledger=ledger, begin=NOW + DAY_S)
    assert len(news_of(later, HOST, now=NOW + DAY_S)) == 1
    assert doors(later.places, now=NOW + DAY_S)[0].accepted_by == ()


@pytest.mark.parametrize("until", [NOW - 1, NOW, NOW + ACCEPTED_MAX_S + 1], ids=["the past", "now", "too long"])
def test_an_acceptance_has_an_end_that_is_near(until: int) -> None:
    with pytest.raises(Usage, match="acceptance-until"):
        accepted(recorded(gathered([door()])), "ada", until=until)


def test_an_acceptance_says_until_when_and_why() -> None:
    ledger = recorded(gathered([door()]))
    (one,) = doors(ledger.places, now=NOW)
    for until, reason in ((None, "x"), (NOW + 1, ""), (None, "")):
        with pytest.raises(Usage, match="acceptance-incomplete"):
            ledgers.accept(ledger, one.id, by="ada", until=until, reason=reason, now=NOW)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("fnd-0000000", "finding-id"),
        ("fnd-0000000g", "finding-id"),
        ("", "finding-id"),
        ("fnd-00000000", "finding-unknown"),
    ],
)
def test_a_finding_is_named_by_how_its_id_begins(typed: str, code: str) -> None:
    with pytest.raises(Usage, match=code):
        ledgers.own(recorded(gathered([door()])), typed, owner="bob")


@pytest.mark.parametrize("owner", ["x" * 128, "a\x1b[2J"], ids=["too long", "an escape"])
def test_nothing_is_kept_that_could_not_be_read_again(owner: str) -> None:
    ledger = recorded(gathered([door()]))
    (one,) = doors(ledger.places, now=NOW)
    with pytest.raises(Usage, match="owner-invalid"):
        ledgers.own(ledger, one.id, owner=owner)
    with pytest.raises(Usage, match="owner-invalid"):
        ledgers.record(EMPTY, HOST, gathered([door()]), owner=owner, now=NOW)


def test_what_was_told_is_not_told_again_and_what_was_not_is() -> None:
    ledger = recorded(gathered([door()]))
    assert len(news_of(ledger, HOST, now=NOW)) == 1
    ledger = recorded(gathered([door(), door(mark="other")]), ledger=ledgers.told(ledger, HOST, now=NOW))
    (one,) = news_of(ledger, HOST, now=NOW)
    title, text = news(HOST, (one,) * 30)
    assert title == "standing access: 30 new at host:gpu1"
    assert "and 10 more" in text
    assert news_of(ledger, "host:nowhere", now=NOW) == ()


def test_news_hold_no_markup_no_link_and_no_escape() -> None:
    one = found(
        "ssh-key",
        "ssh",
        "/x",
        opens="<b>@here</b>",
        to="[x](https://evil.example)\x1b[2J",
        severity="high",
        close="",
        mark=(),
    )
    ledger = recorded(gathered([one]))
    _, text = news(HOST, news_of(ledger, HOST, now=NOW))
    assert not set("<>@[]\x1b`*#|\\") & set(text)
    assert "https://" not in text


def test_only_what_could_not_be_looked_at_is_not_known() -> None:
    ledger = recorded(gathered([unseen("ssh", "/x", "why")]))
    assert verdict(doors(ledger.places, now=NOW)) == "unknown"
    assert verdict(doors(recorded(gathered([door(), unseen("ssh", "/x", "why")])).places, now=NOW)) == "open"
    assert verdict(()) == "closed"


def test_more_findings_than_anybody_reads_are_said_to_be_more() -> None:
    scan = gathered(door(mark=str(number)) for number in range(FINDINGS_MAX + 5))
    assert len(scan.findings) == FINDINGS_MAX + 1
    assert [one.opens for one in scan.findings if one.severity == "unknown"] == [
        f"not known: 5 findings more than the {FINDINGS_MAX} that are shown"
    ]
    ledger = recorded(scan)
    assert ledgers.parse(ledgers.render(ledger)) == ledger


def test_a_ledger_that_is_none_is_refused() -> None:
    for raw in (b"", b"{}", b'{"version":2}', b'{"version":1,"more":1}', b"\xff"):
        with pytest.raises(Malformed):
            ledgers.parse(raw)
