"""The ledger: what is new, what is closed, what was told, and what is kept of what people signed."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.app.oversight.standing_access import doors, news, news_of, verdict
from keyturn.errors import Malformed, Usage
from keyturn.standing import ledger as ledgers
from keyturn.standing.accepted import Judged
from keyturn.standing.finding import FINDINGS_MAX, Finding, Scan, found, gathered, unseen
from keyturn.standing.ledger import EMPTY, KEPT_MAX, Ledger, Standing
from support.acceptances import acceptance

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


def unsigned(place: str, standing: Standing) -> Judged:
    return Judged()


def only(ledger: Ledger) -> Standing:
    (one,) = (standing for place in ledger.places for standing in place.standing)
    return one


def ids(ledger: Ledger) -> list[str]:
    return [one.id for one in doors(ledger.places, unsigned)]


def test_a_door_keeps_the_time_when_it_was_first_seen_and_its_owner() -> None:
    (one,) = doors(recorded(gathered([door()]), gathered([door()])).places, unsigned)
    assert (one.first_seen, one.last_seen, one.owner) == ("2026-09-21T14:13:20Z", "2026-09-21T14:13:21Z", "ada")
    other, id_, _ = ledgers.own(recorded(gathered([door()])), one.id, owner="bob")
    assert [(each.id, each.owner) for each in doors(other.places, unsigned)] == [(id_, "bob")]


def test_a_door_that_was_closed_and_opens_again_is_new_and_nothing_that_was_signed_is_kept_of_it() -> None:
    ledger = recorded(gathered([door()]))
    ledger = ledgers.keep(ledger, *ids(ledger), acceptance(HOST, only(ledger)))
    ledger, change = ledgers.record(ledger, HOST, gathered([door()]), owner="", now=NOW + 1)
    assert (len(only(ledger).acceptances), change.new) == (1, ())
    ledger, change = ledgers.record(ledger, HOST, gathered([]), owner="", now=NOW + 2)
    assert (len(change.closed), ids(ledger)) == (1, [])
    ledger, change = ledgers.record(ledger, HOST, gathered([door()]), owner="", now=NOW + 3)
    assert (len(change.new), only(ledger).acceptances, only(ledger).first_seen) == (1, (), NOW + 3)


def test_one_acceptance_of_each_member_is_kept_and_never_more_than_some() -> None:
    ledger = recorded(gathered([door()]))
    (id_,) = ids(ledger)
    first, second = (acceptance(HOST, only(ledger), until=NOW + later) for later in (60, 70))
    for raw in (first, acceptance(HOST, only(ledger), member="bob"), second):
        ledger = ledgers.keep(ledger, id_, raw)
    assert [one.encode() for one in only(ledger).acceptances][1:] == [second]
    assert len(only(ledger).acceptances) == 2
    for number in range(KEPT_MAX):
        ledger = ledgers.keep(ledger, id_, acceptance(HOST, only(ledger), member=f"m{number}"))
    assert len(only(ledger).acceptances) == KEPT_MAX
    kept = msgspec.structs.replace(only(ledger), acceptances=("x", *only(ledger).acceptances[1:]))
    place = msgspec.structs.replace(ledger.places[0], standing=(kept,))
    ledger = ledgers.keep(msgspec.structs.replace(ledger, places=(place,)), id_, first)
    assert only(ledger).acceptances[-1].encode() == first
    assert ledgers.parse(ledgers.render(ledger)) == ledger
    with pytest.raises(Usage, match="finding-unknown"):
        ledgers.keep(EMPTY, id_, first)


def test_what_could_not_be_looked_at_closes_nothing() -> None:
    before = recorded(gathered([door(), door("sudo-rule", area="sudo")]))
    blind = gathered([unseen("ssh", "/root/.ssh/authorized_keys", "Permission denied")])
    after, change = ledgers.record(before, HOST, blind, owner="", now=NOW + 1)
    assert [one.finding.code for one in change.closed] == ["sudo-rule"]
    assert {one.code for one in doors(after.places, unsigned)} == {"ssh-key", "could-not-look"}
    after, change = ledgers.record(after, HOST, gathered([]), owner="", now=NOW + 2)
    assert (len(change.closed), after.places[0].standing) == (2, ())


def test_another_place_is_left_alone() -> None:
    ledger = recorded(gathered([door()]))
    ledger, _ = ledgers.record(ledger, "host:gpu2", gathered([]), owner="", now=NOW)
    assert [place.name for place in ledger.places] == [HOST, "host:gpu2"]
    assert len(ids(ledger)) == 1


def test_what_was_accepted_is_no_news_and_is_news_again_when_it_is_not_any_more() -> None:
    ledger = recorded(gathered([door()]))
    quiet = ledgers.quieted(ledger, HOST, lambda one: True)
    assert (news_of(ledger, HOST), news_of(quiet, HOST)) == ((only(ledger),), ())
    told = ledgers.quieted(ledgers.told(ledger, HOST, now=NOW), HOST, lambda one: True)
    assert ledgers.quieted(told, HOST, lambda one: True) == told
    again = ledgers.quieted(told, HOST, lambda one: False)
    assert len(news_of(again, HOST)) == 1
    again = ledgers.told(again, HOST, now=NOW)
    assert news_of(ledgers.quieted(again, HOST, lambda one: False), HOST) == (), "it is told once"


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
    (one,) = doors(ledger.places, unsigned)
    with pytest.raises(Usage, match="owner-invalid"):
        ledgers.own(ledger, one.id, owner=owner)
    with pytest.raises(Usage, match="owner-invalid"):
        ledgers.record(EMPTY, HOST, gathered([door()]), owner=owner, now=NOW)


def test_what_was_told_is_not_told_again_and_what_was_not_is() -> None:
    ledger = recorded(gathered([door()]))
    assert len(news_of(ledger, HOST)) == 1
    ledger = recorded(gathered([door(), door(mark="other")]), ledger=ledgers.told(ledger, HOST, now=NOW))
    (one,) = news_of(ledger, HOST)
    title, text = news(HOST, (one,) * 30)
    assert title == "standing access: 30 new at host:gpu1"
    assert "and 10 more" in text
    assert news_of(ledger, "host:nowhere") == ()


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
    _, text = news(HOST, news_of(ledger, HOST))
    assert not set("<>@[]\x1b`*#|\\") & set(text)
    assert "https://" not in text


def test_only_what_could_not_be_looked_at_is_not_known() -> None:
    ledger = recorded(gathered([unseen("ssh", "/x", "why")]))
    assert verdict(doors(ledger.places, unsigned)) == "unknown"
    assert verdict(doors(recorded(gathered([door(), unseen("ssh", "/x", "why")])).places, unsigned)) == "open"
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
    for raw in (b"", b"{}", b'{"version":1}', b'{"version":2,"more":1}', b"\xff"):
        with pytest.raises(Malformed):
            ledgers.parse(raw)
