"""Join the check-up to this machine: whose keys lie here, and what the lab's processes answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import msgspec

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.files import run_files
from keyturn.adapters.over_http.builder_over_http import BuilderOverHttp
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.adapters.over_http.witness_over_http import WitnessOverHttp
from keyturn.app.oversight.check_up import Finding, check_up, in_order
from keyturn.app.oversight.erase_records import Asked
from keyturn.app.oversight.gate_checkins import last_checkins
from keyturn.app.oversight.process_versions import wrong_version
from keyturn.app.oversight.show_stats import UNUSED_AFTER_S, Stats, read_whole, show_stats
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.access import GateCheckin
from keyturn.formats.posix_time import duration
from keyturn.formats.uri import Uri
from keyturn.trust.roster import TrustState
from keyturn.wiring.access.grants import Viewed, viewed
from keyturn.wiring.gates.scan import read_ledger
from keyturn.wiring.lab.notify import CONFIG as NOTIFY_CONFIG
from keyturn.wiring.lab.places import LabPlace, Person, find_person
from keyturn.wiring.log.log import lab_index
from keyturn.wiring.log.tombstones import all_asked
from keyturn.wiring.log.witnesses import witness_address
from keyturn.wiring.trust.trust import person_keys

__all__ = ["examine"]

_ANSWER_BYTES_MAX = 64 << 10
_PATIENCE_S = 3.0
_TIME_DIGITS = 16
_LOOKED = re.compile(rb"^keyturn_notify_looked_seconds ([0-9.e+]{1,24})$", re.MULTILINE)
_LOOKED_WITHIN_S = 120


def examine(lab: str | None) -> tuple[Finding, ...]:
    """Examine `lab` as whoever runs the command; raises when its log cannot be had or is not believed."""
    person = find_person()
    with viewed(lab) as seen:
        return in_order(
            check_up(
                seen.view,
                seen.trust,
                partial(_stats, seen),
                member=person.config.member,
                own_keys=_own_keys(person),
                processes=_processes(seen),
                ledger=partial(read_ledger, None),
                gates_seen=partial(_gates_seen, seen),
                erasures=partial(_erasures, seen),
                now=seen.now,
            )
        )


def _stats(seen: Viewed) -> Stats:
    known = read_whole(seen.view, seen.reader)
    return show_stats(seen.view, known, seen.trust, since=seen.now - UNUSED_AFTER_S, now=seen.now)


def _gates_seen(seen: Viewed) -> Mapping[str, GateCheckin | None]:
    with lab_index(seen.place) as index:
        return last_checkins(seen.reader, index, seen.trust, size=seen.view.frontier.size)


def _erasures(seen: Viewed) -> tuple[Asked, ...]:
    with lab_index(seen.place) as index:
        if not index.of_kinds(("tmb",)):  # reading the whole log for them takes a while
            return ()
    return all_asked(seen, progress=lambda _: None)


def _own_keys(person: Person) -> Iterator[str]:
    for own in person.config.keys:
        yield PublicKey.from_text(own.public).keyid
    if not person.config.keys and person.home.member_key.exists():
        yield person_keys(person.home).read("member").public.keyid


def _processes(seen: Viewed) -> Mapping[str, Callable[[], str]]:
    place = seen.place
    found: dict[str, Callable[[], str]] = {"service": partial(_service, seen)}
    if place.path is not None:  # where the others are is written there alone
        for witness in seen.trust.log.witnesses:
            found[f"witness-{witness.name}"] = partial(_witness, place.path, witness.name, seen.trust)
        if (place.path / NOTIFY_CONFIG).exists():
            found["notify"] = partial(_notifier, place.path, seen.trust)
    for builder in seen.trust.builders:
        found["builder"] = partial(_builder, place, seen.trust, builder)
    for gate in seen.trust.gates.values():
        if gate.kind == "script":  # it runs while it works; when it signed in last is said by `gates_seen`
            continue
        found[f"gate-{gate.uri.name}"] = partial(_gate, place, seen.trust, gate.uri)
    return found


def _service(seen: Viewed) -> str:
    url = _running(seen.place.service_url, "service")
    client = HttpClient(url, timeout_s=_PATIENCE_S)
    note = client.get("/checkpoint", size_bytes_max=_ANSWER_BYTES_MAX)
    size = checkpoints.parse_body(notes.parse(note).text).size
    if size < seen.view.frontier.size:
        return f"shows {size} entries, and {seen.view.frontier.size} are witnessed"
    return _version(client, seen.trust)


def _witness(directory: Path, name: str, trust: TrustState) -> str:
    origin = trust.log.origin
    url = _running(witness_address(directory, name), f"witness-{name}")
    if WitnessOverHttp(url, timeout_s=_PATIENCE_S).newest(origin) is None:
        return f"never cosigned `{origin}`"
    return _version(HttpClient(url, timeout_s=_PATIENCE_S), trust)


def _notifier(directory: Path, trust: TrustState) -> str:
    url = _running(run_files.find(directory / "run", "notify"), "notify")
    client = HttpClient(url, timeout_s=_PATIENCE_S)
    said = client.get("/metrics", size_bytes_max=_ANSWER_BYTES_MAX)
    return behind(said, now=SystemClock().now()) or _version(client, trust)


def behind(metrics: bytes, *, now: int) -> str:
    """What a notifier's `/metrics` say when it follows no log that it believes, so that people are told nothing; else empty.

    A log that is forged, forked, rolled back or old has it tell nobody anything, and it answers all the same.
    """
    found = _LOOKED.search(metrics)
    looked_at = int(float(found[1])) if found else 0
    if looked_at >= now - _LOOKED_WITHIN_S:
        return ""
    when = f"for {now - looked_at} s" if looked_at else "since it began"
    return f"believes no log {when}, and tells nobody anything: its own log says why"


def _version(client: HttpClient, trust: TrustState) -> str:
    """What is to be said of the version that a process names at `/health`: nothing, of this client's own that is new enough."""
    try:
        said = msgspec.json.decode(client.get("/health", size_bytes_max=_ANSWER_BYTES_MAX), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError) as err:
        raise Malformed("message-invalid", f"the answer of `/health`: {err}") from err
    return wrong_version(said.get("version", ""), own=version("keyturn"), least=trust.limits.version_min)


def _running(url: str | None, name: str) -> str:
    if url is None:
        raise Unavailable(
            "process-not-running",
            f"`{name}` of this lab does not run here, and no address of it is known",
            hint="keyturn up, where it runs",
        )
    return url


def _builder(place: LabPlace, trust: TrustState, name: str) -> str:
    client = HttpClient(place.process_url("builder"), timeout_s=_PATIENCE_S)
    about = BuilderOverHttp(client).about()
    if about.name != name or about.key != trust.builders[name].key.text:
        return f"answers as `{about.name}` with another key than targets list for `{name}`"
    if about.trust_version != trust.targets_version:
        return f"is at trust version {about.trust_version}, the log at {trust.targets_version}"
    return _version(client, trust)


def _gate(place: LabPlace, trust: TrustState, uri: Uri) -> str:
    client = HttpClient(place.process_url(f"gate-{uri.name}"), timeout_s=_PATIENCE_S)
    try:
        said = msgspec.json.decode(client.get("/about", size_bytes_max=_ANSWER_BYTES_MAX), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError) as err:
        raise Malformed("message-invalid", f"gate's answer: {err}") from err
    if said.get("gate") != str(uri):
        return f"answers as `{said.get('gate', '')[:200]}`, expected `{uri}`"
    return "; ".join(wrong for wrong in (_version(client, trust), *_of_gate(said, trust)) if wrong)


def _of_gate(said: Mapping[str, str], trust: TrustState) -> Iterator[str]:
    """What a gate says of itself beside its version: what time it has, and why it lets nobody in, where it says these."""
    now, its = SystemClock().now(), said.get("now", "")
    if its.isascii() and its.isdecimal() and len(its) < _TIME_DIGITS:
        off = int(its) - now
        if abs(off) > trust.limits.clock_skew_max_s:
            where = "ahead of" if off > 0 else "behind"
            by = abs(off) if abs(off) < 600 else round(abs(off) / 60) * 60  # its answer was a second or two under way
            yield f"its clock is {duration(by)} {where} this machine's: set whichever is wrong"
    if closed := said.get("closed", ""):
        yield f"lets nobody in now: {closed[:600]}"
