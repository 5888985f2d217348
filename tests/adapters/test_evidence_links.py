"""in-toto links under the pinned layout: what in-toto's verifier accepts is evidence, and each way to break it is refused by
name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from in_toto import verifylib
from in_toto.models.layout import Inspection, Layout, Step
from in_toto.models.link import Link
from in_toto.models.metadata import Envelope, Metablock, Metadata
from securesystemslib.signer import CryptoSigner

from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.errors import KeyturnError
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW
from support.model_signatures import der

SOURCE, PRODUCT = hashlib.sha256(b"source").hexdigest(), hashlib.sha256(b"product").hexdigest()
ARTIFACT = ArtifactDigest("sha256", Sha256(PRODUCT))
LINK = "https://in-toto.io/Link/v1"


@dataclass
class Project:
    """A project of two steps, its owner and its functionary; `dsse` is how its metadata is written."""

    owner: CryptoSigner
    hand: CryptoSigner
    dsse: bool = False

    def layout(self, *, expires: str = "2026-12-31T00:00:00Z", inspect: tuple[Inspection, ...] = ()) -> bytes:
        keyid = self.hand.public_key.keyid
        first = Step(name="write", pubkeys=[keyid], expected_products=[["CREATE", "source"], ["DISALLOW", "*"]])
        second = Step(
            name="build",
            pubkeys=[keyid],
            expected_materials=[["MATCH", "source", "WITH", "PRODUCTS", "FROM", "write"], ["DISALLOW", "*"]],
            expected_products=[["CREATE", "product"], ["ALLOW", "source"], ["DISALLOW", "*"]],
        )
        keys = {keyid: {"keyid": keyid, **self.hand.public_key.to_dict()}}
        made = Layout(steps=[first, second], inspect=list(inspect), keys=keys, expires=expires)
        return self.signed(made, self.owner)

    def links(self, *, taken: str = SOURCE, by: CryptoSigner | None = None) -> bytes:
        write = Link(name="write", products={"source": {"sha256": SOURCE}})
        build = Link(name="build", materials={"source": {"sha256": taken}}, products={"product": {"sha256": PRODUCT}})
        return b"\n".join(self.signed(one, by or self.hand) for one in (write, build))

    def signed(self, made: Any, key: CryptoSigner) -> bytes:
        metadata = Envelope.from_signable(made) if self.dsse else Metablock(signed=made)
        metadata.create_signature(key)
        return json.dumps(metadata.to_dict()).encode()

    def signer(self, layout: bytes) -> OutsideSigner:
        return OutsideSigner(
            name="project",
            method="key",
            statements=frozenset({LINK}),
            public=der(self.owner._private_key.public_key()),  # type: ignore[attr-defined]
            layout=sha256(layout),
        )

    def verify(self, links: bytes, layout: bytes, at: int = NOW) -> Found:
        presented = Presented("in-toto-links", links, ARTIFACT, b"", layout, at)
        return Verifiers().verify(presented, self.signer(layout))


@pytest.fixture(params=[False, True], ids=["metablock", "dsse"])
def project(request: pytest.FixtureRequest) -> Project:
    return Project(CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519(), request.param)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(KeyturnError) as caught:
        call()
    return caught.value.code


def test_what_in_totos_verifier_accepts_is_evidence_about_the_last_products(project: Project, tmp_path: Path) -> None:
    layout, links = project.layout(expires="2099-01-01T00:00:00Z"), project.links()
    form = "dsse" if project.dsse else "in-toto-links"
    assert guessed(links.splitlines()[0]) == form
    found = Verifiers().verify(Presented("in-toto-links", links, ARTIFACT, b"", layout, NOW), project.signer(layout))
    assert (found.statement, found.subjects) == (LINK, (str(ARTIFACT),))
    for line in links.splitlines():  # the same bytes, by their own verifier alone
        name = Metadata.from_dict(json.loads(line)).get_payload().name
        (tmp_path / f"{name}.{project.hand.public_key.keyid[:8]}.link").write_bytes(line)
    key = project.owner.public_key
    verifylib.in_toto_verify(
        Metadata.from_dict(json.loads(layout)), {key.keyid: {"keyid": key.keyid, **key.to_dict()}}, str(tmp_path)
    )


def test_links_that_break_a_rule_or_are_of_another_hand_or_are_missing_are_refused() -> None:
    project = Project(CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519())
    layout, links = project.layout(), project.links()
    assert project.verify(links, layout).subjects == (str(ARTIFACT),)
    assert refused(lambda: project.verify(project.links(taken=PRODUCT), layout)) == "in-toto-refused"
    assert (
        refused(lambda: project.verify(project.links(by=CryptoSigner.generate_ed25519()), layout)) == "in-toto-refused"
    )
    assert refused(lambda: project.verify(links.splitlines()[0], layout)) == "in-toto-refused"
    assert refused(lambda: project.verify(links.replace(PRODUCT.encode(), b"0" * 64), layout)) == "in-toto-refused"
    assert refused(lambda: project.verify(layout, layout)) == "in-toto-refused"
    other = project.signed(Link(name="../x"), project.hand)
    assert refused(lambda: project.verify(other, layout)) == "in-toto-refused"
    assert refused(lambda: project.verify(b'{"signed":1} {', layout)) == "in-toto-links"
    assert refused(lambda: project.verify(b'{"signed":1}' * 65, layout)) == "in-toto-links"
    assert refused(lambda: project.verify(links.replace(b'"_type"', b'"_type":"x","_type"'), layout)) == "in-toto-links"
    assert refused(lambda: project.verify(links, b'{"signed":{},' + layout[1:])) == "in-toto-layout"


def test_a_layout_expires_at_the_time_of_the_record_and_not_of_the_machine() -> None:
    project = Project(CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519())
    layout = project.layout(expires="2026-09-21T14:13:21Z")
    assert project.verify(project.links(), layout, at=NOW).subjects == (str(ARTIFACT),)
    assert refused(lambda: project.verify(project.links(), layout, at=NOW + 1)) == "in-toto-expired"


def test_a_layout_that_runs_commands_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    project = Project(CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519())
    layout = project.layout(inspect=(Inspection(name="look", run=["touch", str(tmp_path / "ran")]),))
    assert refused(lambda: project.verify(project.links(), layout)) == "in-toto-inspections"
    assert not (tmp_path / "ran").exists()


def test_a_layout_of_another_key_or_none_is_refused() -> None:
    project = Project(CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519())
    other = Project(CryptoSigner.generate_ecdsa(), project.hand)
    assert refused(lambda: project.verify(project.links(), other.layout())) == "evidence-signature"
    assert refused(lambda: project.verify(project.links(), b"{}")) == "in-toto-layout"
    assert refused(lambda: project.verify(project.links(), project.links().splitlines()[0])) == "in-toto-layout"
    unpinned = project.signer(b"")
    object.__setattr__(unpinned, "layout", "")
    one = Presented("in-toto-links", project.links(), ARTIFACT, b"", project.layout(), NOW)
    assert refused(lambda: Verifiers().verify(one, unpinned)) == "evidence-method"
