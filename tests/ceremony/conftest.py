"""A lab that people found on a disk, step by step, through the use cases: what the tests of the ceremony share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyturn.adapters.files.key_files import KeyFiles
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.trust.accept_invitation import NewKey, accept_invitation
from keyturn.app.trust.enrol_member import enrol_member
from keyturn.app.trust.found_lab import Founding, found_lab
from keyturn.app.trust.invite_member import Offer, invite_members
from keyturn.app.trust.propose_trust import propose_trust
from keyturn.app.trust.publish_trust import Published, publish_trust
from keyturn.app.trust.show_trust import show_trust
from keyturn.app.trust.sign_trust import Signed, sign_trust
from keyturn.crypto.credentials import Credential
from keyturn.errors import KeyturnError
from keyturn.formats.digest import sha256
from keyturn.formats.enrolment import AcceptedKey, InviteeKind, NewKeys

FOUNDED = 1_790_000_000
DAY_S = 86_400


def code_of(error: pytest.ExceptionInfo[KeyturnError]) -> str:
    return error.value.code


@dataclass
class SetClock:
    """`ports.Clock` that a test sets."""

    at: int = FOUNDED

    def now(self) -> int:
        return self.at


@dataclass
class CountingEntropy:
    """`ports.Entropy` that gives a new nonce each time, and the same ones in each test."""

    count: int = 0

    def nonce(self) -> str:
        self.count += 1
        return f"{self.count:032x}"


@dataclass
class Ceremony:
    """The directories, and what each person does."""

    directory: Path
    clock: SetClock = field(default_factory=SetClock)
    entropy: CountingEntropy = field(default_factory=CountingEntropy)
    log: LogInMemory = field(default_factory=LogInMemory)

    @property
    def trust(self) -> Path:
        return self.directory / "lab" / "trust"

    @property
    def pin(self) -> str | None:
        """What each of these people has pinned, once there is something to pin."""
        first = self.store.read_file("root.json")
        return sha256(first) if first is not None else None

    @property
    def store(self) -> TrustOnDisk:
        return TrustOnDisk(self.trust)

    @property
    def lab_keys(self) -> KeyFiles:
        return KeyFiles(lambda name: self.directory / "lab" / "keys" / name, passphrase=None)

    def home(self, member: str) -> KeyFiles:
        return KeyFiles(lambda name: self.directory / "homes" / member / f"{name}.pem", passphrase=None)

    def found(self, *, groups: tuple[str, ...] = ("releasers",)) -> None:
        founding = Founding(
            lab="acme.example",
            profile="demo",
            founder="ada",
            founder_name="Ada",
            groups=groups,
            witnesses=("north",),
            gates=("release",),
            builder=True,
        )
        found_lab(
            founding,
            store=self.store,
            member=lambda: Credential(self.home("ada").create("member").public, "software"),
            trust=lambda: self.home("ada").create("trust").public,
            lab_keys=self.lab_keys,
        )

    def invite(
        self,
        member: str,
        *,
        kind: InviteeKind = "human",
        responsible: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        new_groups: tuple[str, ...] = (),
        signs_trust: bool | None = None,
        new_keys: NewKeys | None = None,
    ) -> bytes:
        offer = Offer(
            member=member,
            kind=kind,
            responsible=responsible,
            groups=groups,
            new_groups=new_groups,
            signs_trust=signs_trust,
            new_keys=new_keys,
        )
        (made,) = invite_members([offer], store=self.store, clock=self.clock, entropy=self.entropy)
        return made

    def accept(self, invitation: bytes, member: str) -> bytes:
        return accept_invitation(
            invitation,
            name=member.title(),
            own=lambda _: self.own_keys(member),
            own_trust=lambda: self.home(member).create("trust"),
            clock=self.clock,
            entropy=self.entropy,
        )

    def own_keys(self, member: str) -> tuple[NewKey, ...]:
        """The software key that `member` makes."""
        made = self.home(member).create("member")
        return (NewKey(AcceptedKey(key=Credential(made.public, "software").enrolled), made),)

    def enrol(self, acceptance: bytes) -> None:
        enrol_member(acceptance, store=self.store, clock=self.clock, registrations=WebauthnEnrolment())

    def join(self, member: str, *, groups: tuple[str, ...] = ()) -> None:
        self.enrol(self.accept(self.invite(member, groups=groups), member))

    def propose(self, *, renew: bool = False, replace: bool = False) -> None:
        propose_trust(renew=renew, replace=replace, store=self.store, clock=self.clock)

    def sign(self, member: str) -> Signed:
        shown = tuple(version.digest for version in show_trust(pinned_sha256=self.pin, store=self.store).versions)
        return sign_trust(self.home(member).read("trust"), shown=shown, pinned_sha256=self.pin, store=self.store)

    def publish(self) -> Published:
        return publish_trust(store=self.store, log=self.log, online=self.lab_keys.read("online"), clock=self.clock)

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.trust / "draft" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(change(path.read_text() if path.exists() else ""))


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    return Ceremony(tmp_path)


@pytest.fixture
def founded(ceremony: Ceremony) -> Ceremony:
    """Ada and bob have founded the lab: root and targets version 1 are published."""
    ceremony.found()
    ceremony.join("bob", groups=("releasers",))
    ceremony.propose()
    ceremony.sign("ada")
    ceremony.sign("bob")
    ceremony.publish()
    return ceremony
