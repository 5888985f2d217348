"""Join `keyturn grant replay` and `keyturn grant open-share` to this machine: a recording in a file, keys in files, the log.

Whoever replays makes a key for that one recording, asks with it, and gets shares sealed to it. A keyholder opens his share only
for a grant that he verified himself, against the log as he sees it (`grants.replay`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from keyturn.adapters.files.config_files import read_small, unreadable
from keyturn.adapters.files.key_files import KeyFiles
from keyturn.adapters.recordings import sealing
from keyturn.app.access.authorize import find_pending
from keyturn.app.access.request_access import Wish, draft_request, request_access, require_hope, shown
from keyturn.app.records.find_recording import find_recording
from keyturn.app.records.sign_record import Logged, about
from keyturn.config import person as person_config
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats import opened_share
from keyturn.formats.access import REPLAY
from keyturn.formats.digest import Sha256, parse_sha256
from keyturn.formats.opened_share import OpenedShare
from keyturn.formats.sealed_recording import HEAD_BYTES_MAX, Header, parse_head, title
from keyturn.formats.uri import Uri
from keyturn.grants.replay import VerifiedReplay, verify_replay
from keyturn.wiring.access.grants import Viewed, desk, viewed, wait_until_in_force
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.trust.trust import passphrase

__all__ = ["ask", "open_for", "opened_by", "read_recording"]


def read_recording(path: Path) -> tuple[Sha256, Header]:
    """The digest of the recording in the file `path`, and what it begins with."""
    try:
        with path.open("rb") as file:
            header, _ = parse_head(file.read(HEAD_BYTES_MAX))
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise unreadable(path, err) from err
    return parse_sha256(digest, what="recording"), header


def ask(
    lab: str | None,
    path: Path,
    *,
    reason: str,
    permit: str | None,
    key: str | None,
    agree: Callable[[tuple[tuple[str, str], ...]], None],
) -> Logged:
    """Ask to replay the recording `path`, with a key of this machine that shares are sealed to."""
    find_lab(lab)
    digest, header = read_recording(path)
    keys = _keys()
    session = keys.read(digest) if keys.holds(digest) else keys.create(digest)
    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        wish = Wish(
            requester=hand.member,
            beneficiary=None,
            action=REPLAY,
            resource=Uri.parse(header.resource),
            gate=Uri.parse(header.gate),
            permit=permit,
            justification=reason,
            ticket="",
            duration_s=None,
            not_before=None,
            pending_s=None,
            session_key=session.public.text,
            bytes_max=None,
            follows=None,
        )
        made = draft_request(wish, seen.policy, keyid=hand.key.public.keyid, clock=hand.clock, entropy=hand.entropy)
        require_hope(made, seen.policy, gates=seen.trust.gates, now=seen.now)
        subjects = about(digest, name=title(header))
        agree(shown(made, subjects))
        logged = request_access(made, subjects=subjects, key=hand.key, log=hand.log)
        wait_until_in_force(seen, logged)
    return logged


def open_for(
    lab: str | None, path: Path, *, which: str, holder: str, key_file: Path, agree: Callable[[VerifiedReplay], None]
) -> OpenedShare:
    """Open the share of `holder` for the grant `which`, once it is verified and `agree` returned: sealed to its beneficiary."""
    find_lab(lab)
    pem = read_small(key_file)
    digest, header = read_recording(path)
    with viewed(lab) as seen:
        replay = _verified(seen, which, digest, header)
    agree(replay)
    try:
        private = serialization.load_pem_private_key(pem, password=passphrase())
    except (ValueError, TypeError) as err:
        raise Usage(
            "holder-key-file",
            f"`{key_file}` does not open with this passphrase",
            hint="KEYTURN_PASSPHRASE_FILE names the file that has the passphrase",
        ) from err
    if not isinstance(private, x25519.X25519PrivateKey):
        raise Usage(
            "holder-key-file", f"`{key_file}` is no keyholder's key", hint="keyturn gate bastion new-key made it"
        )
    return sealing.pass_on(sealing.open_share(header, holder, private), holder, replay)


def opened_by(
    lab: str | None, path: Path, shares: tuple[Path, ...]
) -> tuple[Header, Callable[[], Iterator[bytes]], bool]:
    """Verify the grant that `shares` were opened for, and the whole recording; gives its header, what gives what lies in it, and
    whether it was cut off."""
    find_lab(lab)
    raw_shares = [read_small(share) for share in shares]
    digest, header = read_recording(path)
    given = [opened_share.parse(raw_share) for raw_share in raw_shares]
    if len({one.request for one in given}) != 1:
        raise Refused(
            "share-other-replay", "the shares were opened for different grants", hint="have all opened for the newest"
        )
    with viewed(lab) as seen:
        replay = _verified(seen, given[0].request, digest, header)
    keys = _keys()
    if not keys.holds(digest):
        raise Usage(
            "replay-key-none",
            "this machine has no key that shares of this recording are sealed to",
            hint="run it where `keyturn grant replay RECORDING --reason WHY` asked",
        )
    pem = keys.read(digest).render(passphrase=None)
    private = cast("ec.EllipticCurvePrivateKey", serialization.load_pem_private_key(pem, password=None))
    raw = [sealing.passed_on(one, private, replay) for one in given]

    def inside() -> Iterator[bytes]:
        with path.open("rb") as file:
            try:
                yield from sealing.opened(file, raw)
            except Refused as err:
                if err.code != "recording-cut":
                    raise

    return header, inside, _look_through(path, raw)


def _look_through(path: Path, shares: list[bytes]) -> bool:
    """Open all of it once, before anything of it is shown; whether it has no end."""
    with path.open("rb") as file:
        try:
            for _ in sealing.opened(file, shares):
                pass
        except Refused as err:
            if err.code == "recording-cut":
                return True
            raise
    return False


def _verified(seen: Viewed, which: str, digest: Sha256, header: Header) -> VerifiedReplay:
    pending = find_pending(seen.view, which)
    bundle = seen.view.bundle_of(pending.digest)
    if bundle is None:
        raise Unavailable("bundle-unread", f"some record of {pending.id} could not be read from the log")
    words = find_recording(seen.reader, digest, request=header.request, size=seen.view.frontier.size)
    return verify_replay(bundle, seen.view, now=seen.now, recording=digest, header=header, words=words)


def _keys() -> KeyFiles:
    place = person_config.home_of(os.environ).path / "replays"
    return KeyFiles(lambda name: place / f"{name}.pem", passphrase=passphrase(), scheme="ecdsa-sha2-nistp256")
