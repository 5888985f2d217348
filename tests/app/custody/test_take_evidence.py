"""What others signed, from the file to the pack: taken in once, demanded by policy, and verified again by whoever reads the
pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from model_signing import hashing

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.app.custody.compare_evidence import compare_evidence
from keyturn.app.custody.show_evidence import ShownEvidence, show_evidence
from keyturn.app.custody.take_evidence import is_split, logged_parts, make_evidence, split, subjects_of
from keyturn.app.custody.verify_pack import PackVerdict, examine_pack
from keyturn.bulk import manifest
from keyturn.bulk.read_chain import LogReading
from keyturn.cli.custody.evidence_lines import evidence_lines
from keyturn.custody.outside import nobody_verifies
from keyturn.errors import KeyturnError
from keyturn.formats import evidence, records, statement
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.evidence import EVIDENCE_BYTES_MAX, ORIGINAL_BYTES_MAX, Evidence, EvidencePart, Presented
from keyturn.formats.manifest import render
from keyturn.trust.outside import OutsideSigner
from keyturn.wiring.custody.release import verify_files
from support.chains import artifact, files, signed
from support.labs import NOW
from support.model_signatures import Key
from support.outside import SLSA
from support.packs import drop, forged
from support.releases import MODEL, ReleaseWorld, make_release_world
from support.world import World

POLICY = """
@id("release") @quorum("2 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora")
  when { context.custody.verified && context.custody.evaluated && context.custody.evidence_complete };
"""
EASY = """
@id("release") @quorum("2 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora")
  when { context.custody.verified && context.custody.evaluated };
"""
VERIFIERS = Verifiers()


def take(
    world: World,
    presented: Presented,
    outside: str = "publisher",
    path: str | None = None,
    parts: Sequence[Sha256] = (),
) -> Evidence:
    return make_evidence(
        presented,
        outside=outside,
        path=path,
        verifier=VERIFIERS,
        trust=world.lab.state,
        member="ada",
        keyid=world.key("ada").public.keyid,
        nonce="0" * 32,
        parts=parts,
    )


def log(made: ReleaseWorld, taken: Evidence) -> int:
    payload = statement.make(taken, evidence.EVIDENCE, subjects_of(taken))
    return made.chain.append(signed(payload, made.world.key("ada")))


@pytest.fixture
def made() -> ReleaseWorld:
    found = make_release_world(policy={"main": POLICY}, outside=(SLSA.signer,))
    found.verify = VERIFIERS.verify
    return found


def test_a_release_that_needs_evidence_gets_it_from_the_bytes_as_they_came_and_a_pack_proves_it_again(
    made: ReleaseWorld,
) -> None:
    lab = made.world.lab
    taken = take(made.world, SLSA.present())
    assert (taken.original, taken.bound, taken.found.signer) == (SLSA.raw, "digest", SLSA.identity)
    at = log(made, taken)
    made.chain.build(SLSA.artifact)
    made.sync()
    raw = made.released()
    found = examine_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256, verify=VERIFIERS.verify)
    assert found.failures == ()
    assert found.chain is not None
    assert found.facts is not None
    assert [one.index for one in found.chain.outside] == [at]
    assert [one.original for one in found.chain.outside] == [SLSA.raw]
    assert found.facts["custody.evidence_complete"] is True
    assert found.chain.level_min == 1  # of the lab's own builder: evidence raises nothing
    without = examine_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256)
    assert "evidence-not-verified" in {code for code, _ in without.failures}
    assert "chain-refused" not in {code for code, _ in found.failures}


def test_without_evidence_or_without_what_verifies_it_the_gate_releases_nothing(made: ReleaseWorld) -> None:
    made.chain.build(SLSA.artifact)
    made.sync()
    with pytest.raises(KeyturnError) as caught:
        made.released()
    assert "evidence" not in caught.value.code
    log(made, take(made.world, SLSA.present()))
    made.sync()
    made.verify = nobody_verifies
    with pytest.raises(KeyturnError) as caught:
        made.released()
    assert "evidence-not-verified" in {code for code, _ in caught.value.reasons}  # type: ignore[attr-defined]


def test_an_agents_word_brings_no_evidence_into_a_chain_neither_to_complete_nor_to_bar_it(made: ReleaseWorld) -> None:
    """What it says that the model was made from has evidence, which counts for what that is and not for this model."""
    log(made, take(made.world, SLSA.present()))
    made.chain.build(SLSA.artifact)
    made.chain.step("train", {"x": artifact("its own")}, {"out": MODEL}, builder=None, member="ada+coder")
    fails = made.chain.evidence(
        replace(SLSA.present(), artifact=artifact("its own")),
        take(made.world, SLSA.present()).found,
        outside="publisher",
    )
    made.sync()
    found = made.compute_index()
    assert fails in [one.index for one in found.statements]
    lab = made.world.lab
    verdict = examine_pack(
        made.released(), root_json=lab.root_json, pinned_sha256=lab.root_sha256, verify=VERIFIERS.verify
    )
    assert verdict.failures == ()
    assert verdict.facts is not None
    assert (verdict.facts["custody.evidence_count"], verdict.facts["custody.own_words_aside"]) == (1, 1)


@pytest.mark.parametrize(
    ("change", "outside", "code"),
    [
        pytest.param({}, "nobody", "outside-unknown", id="a signer whom the lab does not list"),
        pytest.param({"trusted_root": b"my own"}, "publisher", "evidence-material", id="a root of his own"),
        pytest.param({"trusted_root": b""}, "publisher", "evidence-material", id="no root"),
        pytest.param(
            {"artifact": ArtifactDigest("sha256", Sha256("0" * 64))},
            "publisher",
            "evidence-other-subject",
            id="other bytes",
        ),
        pytest.param({"original": b""}, "publisher", "evidence-too-large", id="nothing"),
        pytest.param(
            {"trusted_root": b"x" * EVIDENCE_BYTES_MAX}, "publisher", "evidence-too-large", id="too much beside it"
        ),
        pytest.param({"original": b"x" * (ORIGINAL_BYTES_MAX + 1)}, "publisher", "evidence-too-large", id="too much"),
    ],
)
def test_what_is_not_as_expected_is_refused_before_there_is_a_record(
    made: ReleaseWorld, change: dict[str, Any], outside: str, code: str
) -> None:
    with pytest.raises(KeyturnError) as caught:
        take(made.world, replace(SLSA.present(), **change), outside)
    assert caught.value.code == code


def test_a_signer_who_is_believed_about_something_else_is_refused() -> None:
    signer: OutsideSigner = replace(SLSA.signer, statements=frozenset({"https://x.example/v1"}))
    made = make_release_world(outside=(signer,))
    with pytest.raises(KeyturnError) as caught:
        take(made.world, SLSA.present())
    assert caught.value.code == "evidence-statement"


def test_evidence_is_shown_from_the_log_and_verified_by_whoever_asks(made: ReleaseWorld) -> None:
    lab, world = made.world.lab, made.world
    raw = made.chain.records[log(made, take(world, SLSA.present()))]
    other = replace(SLSA.present(), original=b"altered")
    made.chain.evidence(other, take(world, SLSA.present()).found, outside="publisher")
    made.sync()

    def shown(*ids: str, about: ArtifactDigest | None = None, verify: Any = VERIFIERS.verify) -> list[tuple[bool, str]]:
        found = show_evidence(
            made.gate()._parts.log,
            root_json=lab.root_json,
            pinned_sha256=lab.root_sha256,
            records=ids,
            about=about,
            now=world.now,
            verify=verify,
        )
        return [(one.held is not None, "" if one.failure is None else one.failure.code) for one in found]

    assert shown() == [(True, ""), (False, "evidence-bundle")]
    assert shown(records.parse(raw).id) == [(True, "")]
    assert shown(about=MODEL) == []
    assert shown(verify=nobody_verifies) == [(False, "evidence-not-verified")] * 2
    with pytest.raises(KeyturnError) as caught:
        shown("evd-00000000")
    assert caught.value.code == "record-not-found"
    assert world.now >= NOW


def test_whoever_has_the_files_compares_them_again_and_rests_on_no_members_word(tmp_path: Path) -> None:
    vendor, model = Key.make(tmp_path / "vendor"), tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("the weights")
    how = hashing.Config().use_file_serialization(hashing_algorithm="blake3")  # type: ignore[no-untyped-call]
    signer, raw = vendor.signer(), vendor.sign_model(model, how)
    made = make_release_world(outside=(signer,))
    one = Presented("oms", raw, manifest.make(model).identity, b"", b"", NOW)
    log(made, take(made.world, one, "vendor", str(model)))
    made.sync()

    def shown(compare: Any) -> list[tuple[bool, bool, str]]:
        lab = made.world.lab
        found = show_evidence(
            made.gate()._parts.log,
            root_json=lab.root_json,
            pinned_sha256=lab.root_sha256,
            records=(),
            about=one.artifact,
            now=made.world.now,
            verify=VERIFIERS.verify,
            compare=compare,
        )
        return [(e.held is not None, e.compared, "" if e.failure is None else e.failure.code) for e in found]

    def compare(presented: Presented, signer: OutsideSigner) -> None:
        VERIFIERS.compare_files(presented, signer, str(model))

    assert shown(None) == [(True, False, "")]
    assert shown(compare) == [(True, True, "")]
    (model / "weights").write_text("other weights")
    assert shown(compare) == [(False, False, "evidence-other-subject")]


def test_a_model_signature_over_thousands_of_files_goes_into_parts_and_a_pack_without_one_of_them_is_refused_by_name(
    tmp_path: Path,
) -> None:
    vendor, model = Key.make(tmp_path / "vendor"), tmp_path / "model"
    model.mkdir()
    for number in range(5000):
        (model / f"model-{number:05d}-of-05000.safetensors").write_text(str(number))
    signer, raw, base = vendor.signer(), vendor.sign_model(model), manifest.make(model).identity
    assert len(raw) > 3 * EVIDENCE_BYTES_MAX
    made = make_release_world(policy={"main": POLICY}, outside=(signer,))
    made.verify = VERIFIERS.verify
    one = Presented("oms", raw, base, b"", b"", NOW)
    assert is_split(one)
    with pytest.raises(KeyturnError) as caught:  # no record takes it whole
        take(made.world, one, "vendor")
    assert caught.value.code == "evidence-too-large"

    def split_up(known: dict[Sha256, Sha256]) -> tuple[tuple[Sha256, ...], tuple[EvidencePart, ...]]:
        key, nonces = made.world.key("ada").public.keyid, count()
        return split(one, known, lab=made.world.lab.name, member="ada", keyid=key, nonce=lambda: f"{next(nonces):032x}")

    names, parts = split_up({})
    log_part(made, parts[0])  # and then somebody is interrupted
    made.sync()
    known = logged_parts(reading_of(made), base)
    again, rest = split_up(known)
    assert (len(parts), len(rest), again[0]) == (len(names), len(names) - 1, names[0])
    assert logged_parts(reading_of(made), MODEL) == {}
    places = [log_part(made, part) for part in rest]
    at = log(made, take(made.world, one, "vendor", parts=again))
    made.chain.build(base)
    made.sync()
    lab = made.world.lab
    packed = made.released()

    def examined(raw: bytes) -> PackVerdict:
        return examine_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256, verify=VERIFIERS.verify)

    found = examined(packed)
    assert found.failures == ()
    assert found.chain is not None
    assert [(one.index, one.original) for one in found.chain.outside] == [(at, raw)]
    assert {code for code, _ in examined(forged(packed, lab, lambda members: drop(members, places[0]))).failures} >= {
        "pack-statement-missing",
        "evidence-part-missing",
    }
    shown = shown_from(made)
    assert [(one.held is not None, one.original) for one in shown] == [(True, raw)]


def test_evidence_whose_parts_are_not_in_the_log_is_shown_as_such_and_has_no_original(made: ReleaseWorld) -> None:
    found = VERIFIERS.verify(SLSA.present(), SLSA.signer)
    made.chain.evidence(SLSA.present(), found, outside="publisher", original=b"", parts=("ab" * 32,), size=9)
    made.sync()
    shown = shown_from(made)
    assert [(one.original, one.failure and one.failure.code) for one in shown] == [(None, "evidence-part-missing")]


def reading_of(made: ReleaseWorld) -> LogReading:
    lab = made.world.lab
    reading = LogReading(made.world.log, root_json=lab.root_json, pinned_sha256=lab.root_sha256)
    reading.to(made.world.log.settle().size)
    return reading


def log_part(made: ReleaseWorld, part: EvidencePart) -> int:
    payload = statement.make(part, evidence.EVIDENCE_PART, subjects_of(part))
    return made.chain.append(signed(payload, made.world.key("ada")))


def shown_from(made: ReleaseWorld) -> tuple[ShownEvidence, ...]:
    lab = made.world.lab
    return show_evidence(
        made.gate()._parts.log,
        root_json=lab.root_json,
        pinned_sha256=lab.root_sha256,
        records=(),
        about=None,
        now=made.world.now,
        verify=VERIFIERS.verify,
    )


@pytest.fixture
def blake3(tmp_path: Path) -> tuple[Path, Key, bytes]:
    """A model that a vendor signed by BLAKE3, his key, and the signature."""
    vendor, model = Key.make(tmp_path / "vendor"), tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("the weights")
    how = hashing.Config().use_file_serialization(hashing_algorithm="blake3")  # type: ignore[no-untyped-call]
    return model, vendor, vendor.sign_model(model, how)


def test_what_a_vendor_signed_by_blake3_rests_on_files_at_hand_and_no_longer_on_the_members_word(
    blake3: tuple[Path, Key, bytes], tmp_path: Path
) -> None:
    base, vendor, raw = blake3
    made = make_release_world(policy={"main": EASY}, outside=(vendor.signer(),))
    made.verify = VERIFIERS.verify
    digest, lab = manifest.make(base).identity, made.world.lab
    log(made, take(made.world, Presented("oms", raw, digest, b"", b"", NOW), "vendor", str(base)))
    made.chain.build(digest)
    made.sync()
    pack, root = tmp_path / "model.pack", tmp_path / "root.json"
    pack.write_bytes(made.released())
    root.write_bytes(lab.root_json)
    verdict = examine_pack(
        pack.read_bytes(), root_json=lab.root_json, pinned_sha256=lab.root_sha256, verify=VERIFIERS.verify
    )
    assert (verdict.failures, dict(verdict.compared)) == ((), {})
    assert verdict.chain is not None
    (one,) = verdict.chain.outside

    def compared(path: Path, *, needed: bool = True) -> tuple[Sha256, ...]:
        at_hand = [(path, manifest.contents(path).identity)]
        return compare_evidence(verdict, at_hand, needed=[path] if needed else (), compare=VERIFIERS.compare_files)

    assert compared(base) == (one.record,)
    assert dict(verify_files(pack, root, model=None, inputs=(base,)).compared) == {one.record: "here"}
    assert "whose files ada compared" in evidence_lines(one.evidence)[0]
    assert "whose files were compared here" in evidence_lines(one.evidence, "here")[0]
    (base / "weights").write_text("other weights")
    assert compared(base, needed=False) == ()
    with pytest.raises(KeyturnError) as caught:
        compared(base)
    assert caught.value.code == "evidence-none"


@pytest.mark.parametrize(
    ("content", "code", "compared"),
    [
        pytest.param("model", "", ["gate"], id="the files that were released"),
        pytest.param("others", "evidence-other-subject", [], id="other files, which the member says he compared"),
    ],
)
def test_what_a_vendor_signed_of_the_released_model_by_blake3_is_held_against_the_packs_manifest(
    blake3: tuple[Path, Key, bytes], content: str, code: str, compared: list[str]
) -> None:
    model, vendor, _ = blake3
    (model / "weights").unlink()
    (model / "content").write_text(content)
    how = hashing.Config().use_file_serialization(hashing_algorithm="blake3")  # type: ignore[no-untyped-call]
    made = make_release_world(policy={"main": EASY}, outside=(vendor.signer(),))
    made.verify = VERIFIERS.verify
    lab, one = made.world.lab, Presented("oms", vendor.sign_model(model, how), MODEL, b"", b"", NOW)
    made.chain.evidence(one, VERIFIERS.verify(one, vendor.signer()), bound="files")
    made.build()
    made.hashed = lambda _path: files("model")
    if code:  # the gate releases nothing; one that looks at nothing makes a pack that fails
        with pytest.raises(KeyturnError) as caught:
            made.released(path="here")
        assert caught.value.code == code
        theirs = with_manifest(made)
    raw = theirs if code else made.released(path="here")
    verdict = examine_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256, verify=VERIFIERS.verify)
    assert ([code for code, _ in verdict.failures], list(verdict.compared.values())) == (
        [code] if code else [],
        compared,
    )


def with_manifest(made: ReleaseWorld) -> bytes:
    """A release without files, to whose pack the gate's key adds a manifest."""
    raw = made.released()
    return forged(raw, made.world.lab, lambda members: members.update({"files.json": render(files("model"))}))
