"""Join scanners to this machine: what is scanned, the ledger that the findings go into, and who is told of new ones.

Whose acceptances count is known from the lab that `scan_judge` looks at: how people sign them is in `wiring.gates.accept_door`.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.scans.ledger_file import LedgerFile
from keyturn.app.log.follow_log import follow_log
from keyturn.app.oversight.standing_access import Door, doors, news, news_of
from keyturn.config.person import home_of
from keyturn.errors import Usage
from keyturn.formats.plain_text import plain
from keyturn.grants.view import GateView
from keyturn.ports import NoticeReceiver
from keyturn.standing import ledger as ledgers
from keyturn.standing.accepted import Judge, Judged
from keyturn.standing.finding import Scan
from keyturn.standing.ledger import Ledger
from keyturn.trust.history import TrustHistory
from keyturn.wiring.lab.notify import read_secret_url
from keyturn.wiring.lab.places import find_lab, find_person
from keyturn.wiring.log.log import log_reader
from keyturn.wiring.log.pinned_log import first_root, followed
from keyturn.wiring.typed import root_digest

__all__ = [
    "Scanned",
    "assign_finding",
    "ledger_file",
    "read_ledger",
    "receiver_in",
    "record_scan",
    "scan_a_forge",
    "scan_a_host",
    "scan_a_repository",
    "scan_a_server",
    "scan_judge",
]

_FILE = "standing.json"
_PLACE_MAX = 600


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found at `place`: every door there, the ids of those that are new, and those closed since the last one."""

    place: str
    doors: tuple[Door, ...]
    new: tuple[str, ...]
    closed: tuple[Door, ...]
    told: bool


def ledger_file(named: Path | None) -> LedgerFile:
    """The ledger that was named, else the one in the home of whoever runs this."""
    return LedgerFile(named or home_of(os.environ).path / _FILE)


def read_ledger(named: Path | None) -> Ledger:
    """What the ledger says."""
    return ledger_file(named).read()


def scan_a_host(root: Path, name: str | None) -> tuple[str, Scan]:
    """Scan the host whose files lie below `root`; gives its place and what was found."""
    from keyturn.adapters.scans.host_tools import InstalledTools
    from keyturn.adapters.scans.host_tree import HostFiles
    from keyturn.standing.host import scan_host

    with closing(HostFiles(root)) as tree, closing(InstalledTools(tree)) as tools:
        place = name or (socket.gethostname() if tree.live else root.resolve().name)
        return f"host:{place}", scan_host(tree, tools)


def scan_a_repository(path: Path, name: str | None) -> tuple[str, Scan]:
    """Scan the git repository at `path`; gives its place and what was found."""
    from keyturn.adapters.scans.scan_git import read_repository
    from keyturn.standing.git_repository import scan_repository

    read = read_repository(path)
    return f"git:{name or read.path}", scan_repository(read)


def scan_a_forge(
    forge: str, repository: str, *, api: str | None, token_file: Path | None, name: str | None
) -> tuple[str, Scan]:
    """Scan `repository` of the forge of the kind `forge` at `api`; gives its place and what was found."""
    from keyturn.adapters.scans.forge_http import ForgeOverHttp
    from keyturn.standing.github import scan_github
    from keyturn.standing.gitlab import scan_gitlab

    kinds = {"github": (scan_github, "https://api.github.com"), "gitlab": (scan_gitlab, "https://gitlab.com/api/v4")}
    if forge not in kinds:
        raise Usage(
            "scan-forge-kind", f"expected `github` or `gitlab`, got `{forge[:40]}`", hint="--forge says whose API it is"
        )
    scan, usual = kinds[forge]
    token = None if token_file is None else read_secret_url(token_file)
    return f"{forge}:{name or repository}", scan(ForgeOverHttp(api or usual, token=token), repository)


def scan_a_server(url: str, name: str | None, *, gate_user: str) -> tuple[str, Scan]:
    """Scan the PostgreSQL server at `url`, as the role that it names; gives its place and what was found. `gate_user` runs a
    postgres gate there, if any does."""
    from keyturn.adapters.postgres.place import StorePlace
    from keyturn.adapters.scans.scan_postgres import read_server
    from keyturn.standing.postgres import scan_postgres

    place = StorePlace.parse(url)
    port = place.parameters.get("port", "5432")
    return f"postgres:{name or f'{place.host}:{port}'}", scan_postgres(read_server(place), gate_user=gate_user)


def receiver_in(notify: Path | None) -> NoticeReceiver | None:
    """The receiver whose address is in the file `notify`."""
    if notify is None:
        return None
    from keyturn.adapters.apprise_receiver import AppriseReceiver

    return AppriseReceiver("scan", read_secret_url(notify))


def scan_judge(lab: str | None, root: str | None) -> Judge:
    """Who judges acceptances here: by the log of `lab`, from the first root with the SHA-256 `root`, or the one that was pinned.

    What was named is looked at now; whether there is a lab, and what it says, when there is an acceptance to verify.
    """
    now = SystemClock().now()
    pinned = None if root is None else root_digest("`--root-sha256`", root)
    if lab is not None:
        find_lab(lab)
    return Judge(lambda: _lab_seen(lab, pinned, now), now=now)


def _lab_seen(lab: str | None, pinned: str | None, now: int) -> GateView:
    try:
        place = find_lab(lab)
        with log_reader(place) as reader:
            if pinned is None:
                return followed(reader, now=now)
            history: TrustHistory = TrustHistory.start(first_root(reader), pinned_sha256=pinned)
            return follow_log(GateView.start(history, gate=None, nonce_record=None), reader, now=now)
    except Usage as err:
        raise Usage(
            "acceptance-no-lab",
            f"this machine knows no lab whose members could accept it: {err.message}",
            hint="--lab ADDRESS --root-sha256 SHA256, which a coworker reads to you from `keyturn trust log`",
        ) from err


def record_scan(
    place: str, scan: Scan, judge: Judge, *, ledger: Path | None, owner: str | None, receiver: NoticeReceiver | None
) -> Scanned:
    """Take the scan into the ledger, and tell `receiver` of what is new.

    What it did not take is told with the next scan: it is noted only when it did.
    """
    now, file = SystemClock().now(), ledger_file(ledger)
    place = plain(place).replace("\n", "\\n")[:_PLACE_MAX]
    with file.alone():
        after, change = ledgers.record(
            file.read(), place, scan, owner=owner if owner is not None else _myself(), now=now
        )
        after = ledgers.quieted(after, place, lambda one: judge(place, one).state == "accepted")
        file.keep(after)
        fresh = news_of(after, place)
        if receiver is not None and fresh:
            receiver.give(*news(place, fresh))
            after = ledgers.told(after, place, now=now)
            file.keep(after)
    at = after.place(place)
    assert at is not None
    gone = ledgers.Place(name=place, scanned_at=now, standing=change.closed)
    return Scanned(
        place=place,
        doors=doors([at], judge),
        new=tuple(one.finding.id(place) for one in change.new),
        closed=doors([gone], lambda *_: Judged()),  # of a door that is closed nobody asks who accepted it
        told=receiver is not None and bool(fresh),
    )


def assign_finding(typed: str, *, owner: str, ledger: Path | None) -> str:
    """Have `owner` close a finding; gives its whole id."""
    file = ledger_file(ledger)
    with file.alone():
        after, id_, _ = ledgers.own(file.read(), typed, owner=owner)
        file.keep(after)
    return id_


def _myself() -> str:
    try:
        return find_person().config.member
    except Usage:
        return ""  # a machine's own scan: nobody, until somebody is assigned
