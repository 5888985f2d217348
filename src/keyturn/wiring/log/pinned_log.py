"""See a lab's log from the root that whoever runs the command pinned: all that somebody needs who has only its address.

The first root is the log's first entry. It is believed because the person pinned its digest, and not for where it came from; the
rest is read leaf by leaf, up to a checkpoint of the witnesses that the trust in the log names (`grants.view`).
"""

from __future__ import annotations

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.log.follow_log import follow_log
from keyturn.app.trust.lab_trust import read_history, still_founding
from keyturn.app.trust.trust_log import TrustLog, listed, trust_log
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats import leaf as leaves_format
from keyturn.formats import trust_version
from keyturn.formats.digest import Sha256, sha256
from keyturn.grants.view import GateView
from keyturn.ports import LogReader
from keyturn.trust.history import TrustHistory
from keyturn.wiring.lab.credentials import credentials_for
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.trust.trust import keep_pin, own_pin, trust_store

__all__ = ["first_root", "followed", "history_of", "pin_root", "pinned_start", "root_of", "trust_log_of"]


def first_root(reader: LogReader) -> bytes:
    """The log's first root; nobody's word for whose lab it is."""
    try:
        leaves = reader.leaves(0, 1)
    except Unavailable as err:
        if err.code != "log-range":
            raise
        raise still_founding("its log is empty", None) from err
    first = leaves_format.parse(leaves[0])
    if first.kind != "rot":
        raise Refused("trust-root-first", f"expected the log to begin with a root, got a record of kind `{first.kind}`")
    return trust_version.parse(reader.envelope(Sha256(first.envelope))).metadata


def pinned_start(reader: LogReader) -> TrustHistory:
    """The trust of the log's first root, which the person has pinned under its lab's name; `Refused` when not."""
    root = first_root(reader)
    pins = find_person().config.pins
    digest = sha256(root)
    if not pins:
        raise Usage(
            "trust-root-unpinned",
            "you have pinned no lab's first root",
            hint="compare with a coworker what `keyturn trust log` shows where the lab lies, then `keyturn trust pin SHA256`",
        )
    if digest not in pins.values():
        raise Refused(
            "trust-root-not-pinned",
            f"you have pinned no lab whose first root is `{digest}`",
            hint="compare it with a coworker, then `keyturn trust pin SHA256`",
        )
    history: TrustHistory = TrustHistory.start(root, pinned_sha256=digest)
    if pins.get(history.lab) != digest:
        raise Refused("trust-root-not-pinned", f"you pinned another root for `{history.lab}` than the log begins with")
    return history


def followed(reader: LogReader, *, now: int) -> GateView:
    """The view of a reader that opens nothing, up to the log's newest checkpoint."""
    return follow_log(GateView.start(pinned_start(reader), gate=None, nonce_record=None), reader, now=now)


def history_of(reader: LogReader) -> TrustHistory:
    """Every trust version of the log up to its newest witnessed checkpoint, none of them left out."""
    return followed(reader, now=SystemClock().now()).trust


def root_of(place: LabPlace, reader: LogReader) -> tuple[bytes, str]:
    """The lab's first root, and the SHA-256 that the caller has pinned for it."""
    if place.path is None:
        history = pinned_start(reader)
        return history.root.raw, history.root_sha256
    pin = own_pin(place)
    root = trust_store(place.path).read_file("root.json")
    if root is None:
        raise still_founding("nothing is published yet", trust_store(place.path))
    if pin is None:
        raise Usage(
            "trust-root-unpinned",
            "you have pinned no root of this lab",
            hint="compare the SHA-256 that `keyturn trust log` shows with a coworker, then `keyturn trust pin SHA256`",
        )
    return root, pin


def pin_root(place: LabPlace, pinned: str) -> str:
    """Pin the lab's first root in the person's config, if it has that SHA-256; return the lab's name."""
    if place.url is not None:
        root = first_root(LogOverHttp(place.url, credentials=credentials_for(place.url)))
        history: TrustHistory | None = TrustHistory.start(root, pinned_sha256=pinned)
    else:
        history = read_history(trust_store(place.directory), pinned_sha256=pinned)
    if history is None:
        raise still_founding("it has no root to pin yet", None if place.path is None else trust_store(place.path))
    return keep_pin(history.lab, history.root_sha256)


def trust_log_of(place: LabPlace) -> tuple[TrustLog, bool]:
    """Every published version, and whether whoever runs the command has pinned the first root; from afar he must have."""
    clock = SystemClock()
    if place.url is not None:
        return listed(history_of(LogOverHttp(place.url, credentials=credentials_for(place.url))), now=clock.now()), True
    pin = own_pin(place)
    return trust_log(pinned_sha256=pin, store=trust_store(place.directory), clock=clock), pin is not None
