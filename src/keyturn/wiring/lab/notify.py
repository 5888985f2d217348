"""Join the notifier to this machine: its configuration in the lab's directory, its outbox, the receivers' secrets.

<lab>/notify/notify.toml       whom to tell (`config.notify`)
<lab>/notify/*.url             secrets, each in a file of mode 0600; or in the environment
<lab>/notify/outbox.sqlite     what must be told; .lock: one process at a time has it
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files.config_files import read_kept, require_new, unreadable, write_new
from keyturn.adapters.files.notice_outbox import NoticeOutboxSqlite
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.app.log.follow_log import follow_log
from keyturn.app.notices.route_notices import AddressBook, Away, Place, unknown
from keyturn.app.notices.tell_of_requests import Escalation, Telling
from keyturn.app.notices.watch_lab import LabWatch
from keyturn.app.oversight.erase_records import erasable_record
from keyturn.app.trust.lab_trust import read_history
from keyturn.config import notify as notify_config
from keyturn.config.notify import NotifyConfig, ReceiverConfig
from keyturn.errors import Conflict, Refused, Usage
from keyturn.formats.records import Record
from keyturn.grants.view import GateView
from keyturn.ports import NoticeReceiver
from keyturn.trust.history import TrustHistory
from keyturn.wiring.gates.set_up import root_to_pin
from keyturn.wiring.lab.credentials import credentials_for
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.found_log import FoundLog
from keyturn.wiring.log.pinned_log import first_root
from keyturn.wiring.trust.trust import trust_store

__all__ = [
    "CONFIG",
    "NotifierParts",
    "checked_as_served",
    "init_notify",
    "notifier_parts",
    "read_notify_config",
    "read_secret_url",
    "waiting_by_receiver",
]

CONFIG = Path("notify") / "notify.toml"
"""Where the configuration lies in the lab's directory; a lab whose directory has it is told of by `keyturn up`."""

_EXAMPLE = b"""
# Whom to tell, and where: an apprise URL (https://github.com/caronc/apprise), in a file of mode 0600 beside this one.
# [[receivers]]
# name = "ada-mail"
# member = "ada"
# url_file = "ada-mail.url"
"""
_URL_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class NotifierParts:
    """What a notifier is made of."""

    config: NotifyConfig
    watch: LabWatch
    outbox: NoticeOutboxSqlite
    receivers: dict[str, NoticeReceiver]


def init_notify(place: LabPlace, *, pin: str | None) -> Path:
    """Write a `notify.toml` that pins the lab's root and names no receiver yet; nothing is overwritten."""
    path = place.directory / CONFIG
    history = root_to_pin(place, pin)
    require_new(path)
    text = notify_config.render(NotifyConfig(version=1, root=history.root_sha256)) + _EXAMPLE
    notify_config.parse(text, where="options")
    write_new(path, text)
    return path


def read_notify_config(place: LabPlace) -> NotifyConfig:
    """Read the notifier's configuration, or raise `Usage` saying how to make one."""
    path = place.directory / CONFIG
    if not path.exists():
        raise Usage("notify-none", f"expected a notifier at `{path.parent}`", hint="keyturn notify init")
    return notify_config.parse(read_kept(path), where=str(path))


@contextmanager
def notifier_parts(place: LabPlace) -> Iterator[NotifierParts]:
    """Make the notifier of the lab at `place`; `Conflict` when another process is it."""
    from keyturn.adapters.apprise_receiver import AppriseReceiver

    config = read_notify_config(place)
    directory = (place.directory / CONFIG).parent
    receivers: dict[str, NoticeReceiver] = {
        name: AppriseReceiver(name, url) for name, url in _urls(config, directory).items()
    }
    log = FoundLog(lambda: config.service or place.service_url)

    def start() -> GateView:
        root = first_root(log)
        history: TrustHistory = TrustHistory.start(root, pinned_sha256=config.root)
        return GateView.start(history, gate=None, nonce_record=None)

    def record_of(digest: str) -> Record | None:
        url = config.service or place.service_url
        return (
            None if url is None else erasable_record(log, IndexOverHttp(url, credentials=credentials_for(url)), digest)
        )

    with _alone(directory / ".lock"):
        outbox = NoticeOutboxSqlite(directory / "outbox.sqlite")
        try:
            watch = LabWatch(
                start,
                log,
                outbox,
                book=_book(config),
                settings=_settings(config),
                record_of=record_of,
                clock=SystemClock(),
            )
            yield NotifierParts(config, watch, outbox, receivers)
        finally:
            outbox.close()


def checked_as_served(place: LabPlace) -> tuple[str, ...]:
    """Hold the configuration against what `notify serve` asks of it: each secret, and the lab's newest trust.

    Gives, in words, which members and groups that trust does not list; raises what `notifier_parts` raises for a secret.
    """
    from keyturn.adapters.apprise_receiver import AppriseReceiver

    config = read_notify_config(place)
    for name, url in _urls(config, (place.directory / CONFIG).parent).items():
        AppriseReceiver(name, url)
    history = read_history(trust_store(place.directory), pinned_sha256=config.root)
    if history is None:  # the notifier is not where the lab lies
        log = FoundLog(lambda: config.service or place.service_url)
        start: TrustHistory = TrustHistory.start(first_root(log), pinned_sha256=config.root)
        view = GateView.start(start, gate=None, nonce_record=None)
        history = follow_log(view, log, now=SystemClock().now()).trust
    return unknown(_book(config), history.newest, groups=[step.group for step in config.escalation])


def waiting_by_receiver(place: LabPlace) -> dict[str, int]:
    """How many notices wait for each receiver of notify.toml, and for those that are no longer in it."""
    config, path = read_notify_config(place), (place.directory / CONFIG).parent / "outbox.sqlite"
    counts = dict.fromkeys((one.name for one in config.receivers), 0)
    if path.exists():
        outbox = NoticeOutboxSqlite(path)
        try:
            counts |= outbox.waiting()
        finally:
            outbox.close()
    return counts


def _book(config: NotifyConfig) -> AddressBook:
    places = (Place(name=one.name, member=one.member, group=one.group, paging=one.paging) for one in config.receivers)
    return AddressBook(tuple(places), {one.member: Away(one.deputy, one.until_s) for one in config.away})


def _settings(config: NotifyConfig) -> Telling:
    steps = sorted((step.after_s, step.group) for step in config.escalation)
    return Telling(
        link=config.link, expiring_s=config.expiring_s, escalation=tuple(Escalation(*step) for step in steps)
    )


def _urls(config: NotifyConfig, directory: Path) -> dict[str, str]:
    return {one.name: _url(one, directory) for one in config.receivers}


def _url(receiver: ReceiverConfig, directory: Path) -> str:
    if receiver.url_env is not None:
        url = os.environ.get(receiver.url_env, "")
        if not url:
            raise Usage(
                "receiver-secret",
                f"receiver `{receiver.name}`: the environment has no `{receiver.url_env}`",
                hint="set it where the notifier is started",
            )
        return url.strip()
    return read_secret_url(directory / (receiver.url_file or ""))


def read_secret_url(path: Path) -> str:
    """Read the address of a receiver from a file that nobody else can read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0):
                raise Refused(
                    "receiver-secret-exposed",
                    f"`{path}` can be read by others: expected mode 0600",
                    hint=f"chmod 600 {path}",
                )
            raw = file.read(_URL_BYTES_MAX)
    except OSError as err:
        raise unreadable(path, err) from err
    try:
        return raw.decode("ascii").strip()
    except UnicodeDecodeError:
        pass  # not `from err`: the error quotes the file
    raise Usage("receiver-secret", f"`{path}`: expected a URL in ASCII", hint="write what is special in it as %XX")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise Conflict(
                "already-running", "another process tells the people of this lab", hint="stop the other `keyturn up`"
            ) from err
        yield
    finally:
        os.close(fd)
