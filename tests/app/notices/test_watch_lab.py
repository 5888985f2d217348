"""Where notices go, and the watch that keeps them: all or none, and nothing from a view that is too old."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import msgspec
import pytest

from keyturn.app.notices.notice import Notice
from keyturn.app.notices.route_notices import AddressBook, Away, Place
from keyturn.app.notices.tell_of_requests import Telling
from keyturn.app.notices.watch_lab import LabWatch
from keyturn.errors import KeyturnError, Refused
from keyturn.ports import OutgoingNotice
from support.world import Witnessed, World

BOOK = AddressBook(
    (
        Place(name="ada", member="ada", group=None, paging=False),
        Place(name="bob", member="bob", group=None, paging=False),
        Place(name="bob-pager", member="bob", group=None, paging=True),
        Place(name="eve", member="eve", group=None, paging=False),
        Place(name="security", member=None, group="security", paging=False),
        Place(name="security-pager", member=None, group="security", paging=True),
    )
)


NOTICE = Notice(event="e", title="t", body="b", members=frozenset({"bob", "cat"}), groups=frozenset({"security"}))


def places(book: AddressBook, notice: Notice, *, now: int = 0) -> set[str]:
    return {one.receiver for one in book.route(notice, now=now)}


def test_a_pager_gets_what_is_urgent_and_nothing_else() -> None:
    assert places(BOOK, NOTICE) == {"bob", "security"}
    urgent = dataclasses.replace(NOTICE, urgent=True)
    assert places(BOOK, urgent) == {"bob", "bob-pager", "security", "security-pager"}


def test_a_deputy_is_told_instead_until_then_and_told_for_whom() -> None:
    book = dataclasses.replace(BOOK, away={"bob": Away("eve", 100)})
    [for_eve] = [one for one in book.route(NOTICE, now=99) if one.receiver == "eve"]
    assert "for bob, who is away until 1970-01-01T00:01:40Z" in for_eve.body
    assert "votes for nobody else" in for_eve.body
    assert places(book, NOTICE, now=99) == {"eve", "security"}
    assert places(book, NOTICE, now=100) == {"bob", "security"}


@pytest.mark.parametrize(
    ("away", "told"),
    [
        pytest.param({"bob": Away("ada", 9), "ada": Away("eve", 9)}, "eve", id="a deputy who is away too"),
        pytest.param({"bob": Away("ada", 9), "ada": Away("bob", 9)}, "bob", id="two who name each other"),
        pytest.param({"bob": Away("nobody", 9)}, "bob", id="a deputy without a receiver"),
        pytest.param({"bob": Away("bob", 9)}, "bob", id="himself"),
    ],
)
def test_nobodys_notices_are_lost_with_a_deputy(away: dict[str, Away], told: str) -> None:
    book = dataclasses.replace(BOOK, away=away)
    assert places(book, dataclasses.replace(NOTICE, groups=frozenset()), now=0) == {told}


@dataclass
class Kept:
    """An outbox in memory, for one watch; `broken` fails as a full disk does."""

    state: bytes | None = None
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    broken: bool = False
    kept: int = 0

    def told(self) -> bytes | None:
        return self.state

    def keep(self, told: bytes, notices: list[tuple[str, str, str, str]], *, now: int) -> None:
        if self.broken:
            raise Refused("outbox-unwritable", "full")
        self.kept += 1
        self.state = told
        self.rows += notices

    def next_for(self, receiver: str, *, now: int) -> OutgoingNotice | None:
        raise AssertionError

    delivered = failed = forget = waiting = next_for


@dataclass
class Dated:
    """The world's log, whose newest checkpoint was cosigned at `at`."""

    world: World
    at: int

    def __getattr__(self, name: str) -> object:
        return getattr(Witnessed(self.world), name)

    def checkpoint(self) -> bytes:
        return self.world.note(at=self.at)


def test_the_watch_keeps_all_or_nothing_and_tells_nothing_from_a_view_that_is_too_old(world: World) -> None:
    clock = type("Clock", (), {"now": lambda _: world.now})()
    outbox, log = Kept(), Dated(world, world.now)
    watch = LabWatch(
        lambda: world.start(None),
        log,  # type: ignore[arg-type]  # a log by delegation
        outbox,
        book=BOOK,
        settings=Telling(link=None, expiring_s=600),
        record_of=lambda _: None,
        clock=clock,
    )
    assert watch.look() == (frozenset(), ())
    assert watch.look() == (frozenset(), ())
    assert outbox.kept == 1
    world.ask()
    outbox.broken = True
    with pytest.raises(KeyturnError):
        watch.look()
    outbox.broken = False
    woken, unheard = watch.look()
    assert woken == {"bob", "eve", "security"}
    assert unheard == ()
    assert {row[1] for row in outbox.rows} == woken
    asked = world.ask(world.request("dan"))
    watch.look()
    world.deny(asked, "bob")
    woken, unheard = watch.look()
    assert (woken, len(unheard)) == (frozenset(), 1), "dan has no receiver, and somebody should know"
    world.now += world.lab.state.limits.log_age_max_s + 1
    with pytest.raises(Refused, match="view-stale"):
        watch.look()
    assert msgspec.json.decode(outbox.state or b"")["requests"]
