"""Join the deployment of releases to this machine: which log is asked, who signs, and which files are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause
from keyturn.adapters.files.config_files import read_kept, read_small, replace_file
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.log_part_file import LogPartFile
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.app.access.take_away import Hand
from keyturn.app.custody.check_release import AGE_MAX_S, CheckedRelease, carried_part, check_release
from keyturn.app.custody.deployments import (
    Deployed,
    Released,
    ReleaseLog,
    deployments,
    read_releases,
    releases_of,
)
from keyturn.app.custody.say_deployed import GateHand, say_deployed, say_ended, withdraw
from keyturn.app.custody.verify_model import verify_model, verify_with_files
from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.app.log.follow_log import follow_log
from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.app.records.find_record import only_one, record_prefix
from keyturn.app.records.sign_record import Logged
from keyturn.bulk.unchanged import Seen, look
from keyturn.config import gate_head
from keyturn.errors import KeyturnError, Refused, Usage, together
from keyturn.formats import log_part
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.uri import Uri
from keyturn.grants.freshness import require_trust
from keyturn.grants.view import GateView
from keyturn.ports import LogReader
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState
from keyturn.wiring import typed
from keyturn.wiring.access.grants import Desk, desk, wait_until_in_force
from keyturn.wiring.custody.release import examine_pinned, verify_pack_file
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX, gate_file
from keyturn.wiring.lab.credentials import credentials_for
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import log_reader
from keyturn.wiring.log.pinned_log import root_of

__all__ = [
    "Said",
    "Signing",
    "carry",
    "check",
    "end",
    "find_released",
    "found_in",
    "log_at",
    "own_pack",
    "say",
    "signing",
    "where",
    "withdraw_all",
]

_IN_FORCE_WITHIN_S = 20.0


@contextmanager
def log_at(place: str | None, carried: Path | None) -> Iterator[LogReader]:
    """The log that is asked: of the lab at `place`, a directory or a URL, or the part of it in the file `carried`."""
    if carried is not None:
        yield LogPartFile(read_small(carried, size_bytes_max=log_part.PART_BYTES_MAX))
    else:
        with log_reader(find_lab(place)) as log:
            yield log


def check(
    model: str,
    *,
    pack: Path,
    root: Path,
    pinned_sha256: str | None,
    log: LogReader,
    age_max_s: int = AGE_MAX_S,
    fast: bool = False,
    accepts: Callable[[VerifiedPack], None] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[VerifiedPack, CheckedRelease, Seen | None]:
    """Verify the pack, that `model` (files, or their digest) is what it released, and that nobody has withdrawn it since.

    The last that is given is how the files looked, for whoever loads them (`bulk.unchanged`).

    `pinned_sha256` is that of `root`, as people compared it; None for whoever takes the file itself for that.
    `fast` compares files by the pack's manifest (`app.custody.verify_model`).
    """
    named = typed.artifact("MODEL", model) if model.startswith(("dirHash:", "sha256:")) else None
    if named is not None and fast:
        raise Usage(
            "fast-no-files",
            f"`{named}` is a digest: there are no files to compare by the pack's manifest",
            hint="leave --fast out, or name the model's files",
        )
    # A path that is misspelt is told before anything is verified.
    seen = look(Path(model), pause=pause) if named is None else None
    content = read_small(root, size_bytes_max=ROOT_BYTES_MAX)
    pin = sha256(content) if pinned_sha256 is None else pinned_sha256
    verdict = examine_pinned(pack, root, pinned_sha256=pin)
    wrong: list[KeyturnError] = []

    def files(released: ArtifactDigest) -> None:
        try:
            if seen is not None:
                verify_model(seen.root, released, signed=verdict.files, fast=fast, seen=seen.files, progress=progress)
            elif named is not None and named != released:
                raise _other_model(named, released)
        except KeyturnError as err:
            wrong.append(err)

    try:
        verified = verify_with_files(verdict, files)
    except KeyturnError as err:
        raise together([err, *wrong]) from err
    try:
        accepts(verified)
    except KeyturnError as err:
        wrong.append(err)
    history: TrustHistory = TrustHistory.start(content, pinned_sha256=pin)
    try:
        checked = check_release(verified, log, history=history, now=SystemClock().now(), age_max_s=age_max_s)
    except KeyturnError as err:
        raise together([*wrong, err]) from err
    if wrong:
        raise together(wrong)
    return verified, checked, seen


def _other_model(found: ArtifactDigest, released: ArtifactDigest) -> Refused:
    return Refused(
        "model-other-files",
        f"the model is `{found}`, and the released one is `{released}`",
        hint="it is the pack of another model: find the one that belongs to it",
    )


def own_pack(pack: Path, root: Path) -> VerifiedPack:
    """The pack in a file, verified under the caller's own root."""
    content = read_small(root, size_bytes_max=ROOT_BYTES_MAX)
    return verify_pack_file(pack, root, pinned_sha256=sha256(content))


def carry(*, pack: Path, root: Path, log: LogReader, out: Path) -> int:
    """Write what `check` of `pack` reads of `log` to `out`; gives the size of the log with it."""
    part = carried_part(own_pack(pack, root), log)
    replace_file(out, log_part.render(part))
    return part.start + len(part.leaves)


@dataclass(frozen=True, slots=True)
class Said:
    """A deployment statement that was logged, and when its witnesses saw it."""

    logged: Logged
    in_force: int


@dataclass(frozen=True, slots=True)
class Signing:
    """Whoever says what runs where: a member at his desk, or a gate by the key in its directory."""

    hand: Desk | GateHand
    trust: TrustState
    wait: Callable[[Logged], WitnessedCheckpoint]
    read: Callable[[], ReleaseLog]


@contextmanager
def signing(lab: str | None, *, key: str | None, gate: Path | None) -> Iterator[Signing]:
    """The member who runs this, or the gate whose directory `gate` is."""
    if gate is not None:
        yield _as_gate(gate)
        return
    with desk(lab, key=key) as here:
        seen = here.seen

        def read() -> ReleaseLog:
            root, pin = root_of(seen.place, seen.reader)
            return read_releases(seen.reader, root_json=root, pinned_sha256=pin, now=SystemClock().now())

        yield Signing(here, seen.trust, lambda logged: wait_until_in_force(seen, logged), read)


def _as_gate(directory: Path) -> Signing:
    config = gate_head.whose(gate_file(directory, hint="--dir names a gate's directory"), where=str(directory))
    if config.service is None:
        raise Usage(
            "gate-no-service",
            f"`{directory}` names no `service`: this gate does not reach the log",
            hint="somebody who does says it: keyturn release deployed, without --dir",
        )
    root = read_kept(directory / "root.json", size_bytes_max=ROOT_BYTES_MAX)
    start: TrustHistory = TrustHistory.start(root, pinned_sha256=config.pinned_root)
    log, clock = LogOverHttp(config.service, credentials=credentials_for(config.service)), SystemClock()
    now = clock.now()
    view = follow_log(GateView.start(start, gate=None, nonce_record=None), log, now=now)
    trust = require_trust(view, now=now)

    def wait(logged: Logged) -> WitnessedCheckpoint:
        return await_witnessed(
            log,
            index=logged.index,
            leaf=logged.leaf,
            log=trust.log,
            limits=trust.limits,
            clock=clock,
            pause=pause,
            deadline_s=_IN_FORCE_WITHIN_S,
        )

    def read() -> ReleaseLog:
        return read_releases(log, root_json=root, pinned_sha256=config.pinned_root, now=clock.now())

    key = read_key(directory / "key", passphrase=None)
    return Signing(GateHand(config.resource, key=key, log=log, clock=clock, entropy=SystemEntropy()), trust, wait, read)


def _hand(by: Signing) -> GateHand | Hand:
    return by.hand if isinstance(by.hand, GateHand) else by.hand.hand


def say(by: Signing, pack: VerifiedPack, *, host: str) -> Said:
    """Log that the model of `pack` runs on `host` from now on."""
    granted = pack.verdict.granted
    assert granted is not None  # of a pack that verified
    uri = typed.uri("`--on`", host if "/" in host else f"host/{host}", lab=by.trust.lab)
    if uri.type != "host":
        raise Usage("host-name", f"expected a host, got `{uri}`", hint="--on gpu1, or --on host/gpu1")
    logged = say_deployed(
        _hand(by), by.trust, host=uri, model=pack.model, resource=granted.request.resource, request=granted.digest
    )
    return Said(logged, by.wait(logged).cosigned_at)


def end(by: Signing, which: str, *, reason: str) -> Said:
    """Log that the deployment that `which` (`dep-` and 8 to 64 digits) names ended."""
    _, prefix = record_prefix(which, ("dep",))
    found = [one for one in deployments(by.read()) if one.digest.startswith(prefix)]
    if not found:
        raise Refused(
            "deployment-unknown", f"nobody of the lab said `{which}`", hint="keyturn release where DIGEST lists them"
        )
    logged = say_ended(_hand(by), by.trust, only_one(which, found), reason=reason)
    return Said(logged, by.wait(logged).cosigned_at)


def where(lab: str | None, named: str) -> tuple[ReleaseLog, list[Deployed]]:
    """What runs where of the model `named`, by its digest or as a resource."""
    place = find_lab(lab)
    with log_reader(place) as log:
        root, pin = root_of(place, log)
        read = read_releases(log, root_json=root, pinned_sha256=pin, now=SystemClock().now())
        model, resource = found_in(named, lab=read.start.lab)
        return read, deployments(read, model=model, resource=resource)


def found_in(named: str, *, lab: str) -> tuple[ArtifactDigest | None, str | None]:
    """What `named` is looked for by: a digest, or a model's resource."""
    if named.startswith(("dirHash:", "sha256:")):
        return typed.artifact("MODEL", named), None
    uri: Uri = typed.uri("MODEL", named, lab=lab)
    return None, str(uri)


def find_released(read: ReleaseLog, named: str, *, lab: str) -> list[Released]:
    """The releases that `named` means (a request `req-...`, a digest, a resource) and that nobody has withdrawn."""
    if named.startswith("req-"):
        _, prefix = record_prefix(named, ("req",))
        found = [one for one in releases_of(read) if one.request.startswith(prefix)]
        found = [only_one(named, found)] if found else []
    else:
        model, resource = found_in(named, lab=lab)
        found = releases_of(read, model=model, resource=resource)
    if not found:
        raise Refused(
            "release-unknown",
            f"the log has no release of `{named}`",
            hint="keyturn release where MODEL; keyturn log show",
        )
    standing = [one for one in found if not one.withdrawals]
    if not standing:
        by = ", ".join(sorted({taken.by for one in found for taken in one.withdrawals}))
        raise Refused("release-withdrawn", f"every release of `{named}` is withdrawn already, by {by}")
    return standing


def withdraw_all(here: Desk, found: list[Released], *, reason: str) -> list[tuple[Released, Said]]:
    """Take each of `found` back."""
    done = []
    for one in found:
        logged = withdraw(one, here.hand, here.seen.trust, here.seen.view, reason=reason)
        done.append((one, Said(logged, wait_until_in_force(here.seen, logged).cosigned_at)))
    return done
