"""What a serving host is told of a release: yes, withdrawn, or could not find out; and nothing but a fresh yes is one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from keyturn.adapters.files.log_part_file import LogPartFile
from keyturn.app.custody.check_release import AGE_MAX_S, CheckedRelease, carried_part, check_release
from keyturn.app.custody.deployments import deployments, read_releases, releases_of
from keyturn.app.custody.verify_pack import VerifiedPack, verify_pack
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import deployment, dsse, log_part
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.trust.history import TrustHistory
from support.chains import AURORA
from support.labs import NOW, make_key
from support.releases import MODEL, ReleaseWorld, make_release_world

LATER = NOW + 60 * 86400


@dataclass
class Asked:
    """The log as a serving host sees it; the witnesses' newest word is of `at`."""

    made: ReleaseWorld
    at: int
    missing: set[str] = field(default_factory=set)
    note: bytes | None = None

    def checkpoint(self) -> bytes:
        return self.note or self.made.world.note(at=self.at)

    def leaves(self, start: int, end: int):
        return self.made.world.log.leaves(start, end)

    def hashes(self, level: int, start: int, end: int):
        return self.made.world.log.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        if digest in self.missing:
            raise Unavailable("envelope-missing", "gone")
        return self.made.world.log.envelope(digest)


def _world() -> ReleaseWorld:
    made = make_release_world()
    made.build()
    return made


@dataclass
class Case:
    made: ReleaseWorld
    asked: Envelope
    pack: VerifiedPack

    def check(self, log: object = None, *, now: int = LATER, **more: int) -> CheckedRelease:
        lab = self.made.world.lab
        history = TrustHistory.start(lab.root_json, pinned_sha256=lab.root_sha256)
        return check_release(self.pack, log or Asked(self.made, now), history=history, now=now, **more)  # type: ignore[arg-type]


@pytest.fixture
def case() -> Case:
    made = _world()
    lab = made.world.lab
    asked = made.ask()
    given = [made.world.approve(asked, approver) for approver in ("bob", "cat")]
    raw = made.gate().release(made.order(asked, *given))
    return Case(made, asked, verify_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256))


def refused(kind: type[KeyturnError], case: Case, log: object = None, *, now: int = LATER, **more: int) -> str:
    with pytest.raises(kind) as caught:
        case.check(log, now=now, **more)
    assert type(caught.value) is kind
    return caught.value.code


def test_a_release_that_nobody_withdrew_stands_as_of_the_witnesses_newest_word(case: Case) -> None:
    found = case.check(Asked(case.made, LATER - 60))
    assert (found.as_of, found.log_size) == (LATER - 60, case.made.world.log.settle().size)
    assert found.cosigners


def test_a_withdrawn_release_is_refused_though_its_old_pack_verifies(case: Case) -> None:
    case.made.world.revoke(case.asked, "dan", until=NOW + 1, reason="it tells people how")
    assert refused(Refused, case) == "release-withdrawn"
    assert case.pack.verdict.failures == ()


def test_an_outdated_not_withdrawn_is_no_answer(case: Case) -> None:
    before = case.made.world.note(at=LATER - AGE_MAX_S - 1)
    case.made.world.revoke(case.asked, "dan")
    frozen = Asked(case.made, LATER, note=before)
    assert refused(Unavailable, case, frozen) == "release-state-unknown"
    case.check(Asked(case.made, LATER, note=before), now=LATER - 1)  # it was a yes for as long as it was fresh
    assert refused(Unavailable, case, frozen, age_max_s=10 * AGE_MAX_S) == "release-state-unknown", (
        "an hour is the most"
    )
    assert refused(Unavailable, case, Asked(case.made, LATER, note=before), now=LATER - 1, age_max_s=60)


def test_what_could_be_a_withdrawal_and_cannot_be_read_is_no_answer(case: Case) -> None:
    world = case.made.world
    raw = dsse.render(world.revoke(case.asked, "dan"))
    assert refused(Unavailable, case, Asked(case.made, LATER, missing={sha256(raw)})) == "release-state-unknown"


def test_a_log_that_does_not_answer_or_is_behind_is_no_answer(case: Case) -> None:
    class Silent(Asked):
        def checkpoint(self) -> bytes:
            raise Unavailable("unreachable", "nobody there")

    class Short(Asked):
        def leaves(self, start: int, end: int):
            return ()

    assert refused(Unavailable, case, Silent(case.made, LATER)) == "release-state-unknown"
    older = make_release_world()
    assert refused(Unavailable, case, Asked(older, LATER)) == "release-state-unknown"
    case.made.world.check_in()
    assert refused(Unavailable, case, Short(case.made, LATER)) == "release-state-unknown"
    assert refused(Unavailable, case, Asked(case.made, LATER, note=b"rubbish")) == "release-state-unknown"


def test_another_history_of_the_log_is_tampering(case: Case) -> None:
    other = _world()
    size = case.made.world.log.settle().size
    while other.world.log.settle().size <= size:
        other.world.check_in()
    assert refused(Tampered, case, Asked(other, LATER)) == "log-fork"


def test_a_part_that_was_carried_says_the_same(case: Case) -> None:
    world = case.made.world
    world.check_in()
    part = log_part.render(carried_part(case.pack, Asked(case.made, LATER)))
    assert case.check(LogPartFile(part)).log_size == world.log.settle().size
    assert refused(Unavailable, case, LogPartFile(part), now=LATER + AGE_MAX_S + 1) == "release-state-unknown"
    world.revoke(case.asked, "dan")
    whole = carried_part(case.pack, Asked(case.made, LATER))
    assert refused(Refused, case, LogPartFile(log_part.render(whole))) == "release-withdrawn"
    without = log_part.LogPart(start=whole.start, note=whole.note, leaves=whole.leaves, envelopes=())
    assert refused(Unavailable, case, LogPartFile(log_part.render(without))) == "release-state-unknown"
    with pytest.raises(Unavailable):
        LogPartFile(part).leaves(0, 1)
    with pytest.raises(Unavailable):
        LogPartFile(part).hashes(0, 0, 1)


def said(case: Case, by: str, host: str = "gpu1", *, signer: str | None = None, **changed: object) -> Envelope:
    world = case.made.world
    fields = {
        "lab": world.lab.name,
        "nonce": world.nonce(),
        "member": by,
        "key": world.key(by).public.keyid,
        "host": f"keyturn://{world.lab.name}/host/{host}",
        "resource": str(AURORA),
        "request": case.asked.record_digest,
        "signed_at": NOW + 100,
        **changed,
    }
    made = Deployment(**fields)  # type: ignore[arg-type]  # the table above, field by field
    return world.submit(world.sign(made, str(MODEL), make_key(signer) if signer else world.key(by)))


def test_where_a_model_runs_since_when_and_who_let_it_in(case: Case) -> None:
    world = case.made.world
    lab = world.lab

    def look(**wanted: object):
        read = read_releases(Asked(case.made, LATER), root_json=lab.root_json, pinned_sha256=lab.root_sha256, now=LATER)
        return read, deployments(read, **wanted)  # type: ignore[arg-type]  # model or resource

    first = said(case, "dan")
    (one,) = look(model=MODEL)[1]
    assert (one.host.rpartition("/")[2], one.since, one.by, one.runs) == ("gpu1", NOW + 100, "member:dan", True)
    assert one.release is not None
    assert (one.release.requester, one.release.approvers, one.release.withdrawals) == ("ada", ("bob", "cat"), ())

    uri = lab.gate_uri("release")
    key = lab.gate_keys["release"]
    by_gate = Deployment(
        lab=lab.name,
        nonce=world.nonce(),
        gate=str(uri),
        key=key.public.keyid,
        host=one.host + "-2",
        resource=str(AURORA),
        request=case.asked.record_digest,
        signed_at=NOW + 200,
    )
    world.submit(world.sign(by_gate, str(MODEL), key))
    assert [found.by for found in look(resource=str(AURORA))[1]] == ["member:dan", f"gate:{uri}"]

    said(case, "eve", "gpu3", request="0" * 64)  # nobody let that one in
    said(case, "eve", "gpu2", signer="a stranger")  # and this one nobody said
    assert [(d.host.rpartition("/")[2], d.release is None) for d in look()[1]] == [
        ("gpu1", False),
        ("gpu1-2", False),
        ("gpu3", True),
    ]

    said(case, "eve", ends=first.record_digest, signed_at=NOW + 300)
    said(case, "eve", "elsewhere", ends=look()[1][1].digest)
    read, (ended, still, _) = look()
    assert (ended.ended_at, ended.ended_by, still.runs) == (NOW + 300, "member:eve", True)

    world.revoke(case.asked, "dan", reason="it tells people how")
    read, (ended, still, _) = look()
    assert still.release is not None
    assert [(taken.by, taken.reason) for taken in still.release.withdrawals] == [("dan", "it tells people how")]
    assert [one.request for one in releases_of(read, model=MODEL)] == [case.asked.record_digest]
    assert releases_of(read, resource="keyturn://acme.example/model/other") == []
    assert deployment.DEPLOYMENT.endswith("/deployment/v1")
