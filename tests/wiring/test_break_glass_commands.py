"""Break-glass by the command line: asked and approved in a file while nobody writes the log, or in the log; opened; reviewed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from keyturn.adapters.clock import SystemClock, SystemEntropy, pause, running
from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.adapters.files.key_files import read_key
from keyturn.app.gates.follow_as_gate import FollowedLog, Stricter
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.uri import Uri
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.grants import bundle as bundles
from keyturn.grants import checks
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.history import TrustHistory
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.found_log import FoundLog
from support.members import BREAK_GLASS, POLICY, People

ASK = (
    "weights:read",
    "model/aurora",
    "--gate",
    "gate/release",
    "--reason",
    "the disk is full",
    "--break-glass",
    "--yes",
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    found = People(tmp_path_factory.mktemp("glass"))
    found.found()
    for member in ("cat",):
        found.by("ada", "trust", "invite", member, "--group", "security")
        found.by(member, "trust", "accept", f"{member}.invitation.json", "--full-name", member)
    found.by("bob", "trust", "accept", "bob.invitation.json")
    found.publish(policy=POLICY + BREAK_GLASS, members=("bob", "cat"))
    with found.served():
        yield found


def session() -> tuple[str, str]:
    return "--session-key", SoftwareKey.generate().public.text


def test_break_glass_is_asked_for_in_the_log_and_no_denial_is_signed(people: People) -> None:
    assert people.refused("ada", "request", *ASK, *session(), "--permit", "weights-read") == "permit-other-glass"
    request = people.by("ada", "request", *ASK, *session())["id"]
    assert people.refused("cat", "deny", request, "--reason", "no", "--yes") == "denial-without-effect"
    shown = people.run("bob", "approve", request, "--yes")
    assert "YES, signed at" in shown.stderr, shown.stderr
    assert people.by("cat", "grant", "show", request)["live"]["state"] == "open"
    assert people.by("cat", "grant", "revoke", request, "--reason", "no", "--yes")["witnessed_at"] > 0
    assert people.by("cat", "grant", "show", request)["live"]["state"] == "revoked"
    assert people.by("ada", "policy", "check")["permits"]["repair"]["break_glass"] is True
    assert "permit `repair` (break-glass)" in people.run("ada", "policy", "check").stdout


def test_break_glass_is_asked_and_approved_in_a_file(people: People) -> None:
    before = len(people.by("ada", "grant", "list"))
    assert people.by("ada", "request", *ASK, *session(), "--out", "glass.json") == {"bundle": "glass.json"}
    assert people.refused("ada", "request", *ASK, *session(), "--out", "glass.json", status=2) == "file-exists"
    assert people.refused("ada", "grant", "sign-bundle", "glass.json", "--yes") == "approver-concerned"
    assert people.run("bob", "grant", "sign-bundle", "glass.json").returncode == 2, "nothing is signed without a yes"
    done = people.run("bob", "grant", "sign-bundle", "glass.json", "--yes")
    assert (done.returncode, "the disk is full" in done.stderr, "profile: demo" in done.stdout) == (0, True, True)
    assert people.refused("bob", "grant", "sign-bundle", "glass.json", "--yes") == "request-approved-already"
    bundle = bundles.parse((people.place / "glass.json").read_bytes())
    asked = checks.parse_bundle(bundle)
    assert [one.made.approver for one in asked.approving] == ["bob"]
    assert asked.made.break_glass_at is not None
    assert abs(asked.made.break_glass_at - time.time()) < 60
    assert len(people.by("ada", "grant", "list")) == before, "and nothing came into the log"
    assert dsse.render(bundle.request)


def door_of(people: People) -> BreakGlassDoor:
    """Break-glass at the lab's gate, against the log service that runs."""
    root = (people.lab / "trust" / "root.json").read_bytes()
    key = read_key(people.lab / "gates" / "release" / "key", passphrase=None)
    log = FoundLog(lambda: find_lab(str(people.lab)).service_url)
    clock, entropy, gate = SystemClock(), SystemEntropy(), Uri("acme.example", "gate", "release")
    followed = FollowedLog(
        TrustHistory.start(root, pinned_sha256=sha256(root)),
        gate=gate,
        key=key,
        stricter=Stricter(witnesses_min=None, log_age_max_s=None),
        log=log,
        clock=clock,
        entropy=entropy,
        pause=pause,
        running=running,
    )
    journal = BreakGlassJournalFiles(people.lab / "gates" / "release" / "state")
    return BreakGlassDoor(
        gate=gate, key=key, followed=followed, writer=log, journal=journal, clock=clock, entropy=entropy
    )


def test_what_was_opened_is_logged_and_locks_until_a_second_person_reviewed_it(people: People) -> None:
    def bundle(name: str, key: SoftwareKey) -> bundles.Bundle:
        people.by("ada", "request", *ASK, "--session-key", key.public.text, "--out", name)
        people.by("bob", "grant", "sign-bundle", name, "--yes")
        return bundles.parse((people.place / name).read_bytes())

    door, key = door_of(people), SoftwareKey.generate()
    first, second = bundle("first.json", key), bundle("second.json", key)
    assert door.open(first, session_key=key.public, facts=NO_FACTS).granted.profile == "demo"
    assert door.log_what_waits() == 1
    with pytest.raises(Refused, match="break-glass-locked"):
        door.open(second, session_key=key.public, facts=NO_FACTS)
    (waits,) = people.by("cat", "grant", "unreviewed")
    assert waits["could_review"] == ["cat"]
    assert f"keyturn grant review {waits['id']}" in people.run("cat", "doctor").stdout.replace("\n", "")
    words = ("grant", "review", waits["id"][:12], "--finding", "the disk was full", "--yes")
    for member in ("ada", "bob"):
        assert people.refused(member, *words) == "review-own"
    done = people.run("cat", *words)
    assert done.returncode == 0, done.stderr
    for said in ("the disk is full", "keyturn://acme.example/model/aurora", "bob"):
        assert said in done.stderr, "it is shown with its request before it is signed"
    assert people.by("cat", "grant", "unreviewed") == []
    assert "no use by break-glass" in people.run("cat", "grant", "unreviewed").stdout
    assert door.open(second, session_key=key.public, facts=NO_FACTS)
