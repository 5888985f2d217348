"""Papers of a release: each is what its format's own schema or verifier accepts, and says what the pack proves and no more."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from huggingface_hub import ModelCard
from in_toto import verifylib
from in_toto.exceptions import LinkNotFoundError, RuleVerificationError, ThresholdVerificationError
from in_toto.models.metadata import Metadata
from jsonschema import Draft7Validator, FormatChecker
from model_signing import verifying
from referencing import Registry, Resource
from securesystemslib.signer import SSlibKey

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.key_files import write_key
from keyturn.app.custody.papers import in_toto, model_card, model_signature
from keyturn.app.custody.papers.release_facts import gather
from keyturn.app.custody.verify_pack import verify_pack
from keyturn.bulk import manifest
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Usage
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.evidence import Presented
from keyturn.trust.outside import OutsideSigner
from keyturn.wiring.custody.papers import IN_TOTO, ML_BOM, MODEL_CARD, SIGNATURE, SPDX, write_papers
from support.chains import artifact, changed
from support.labs import NOW
from support.model_signatures import Ca, der
from support.outside import SLSA
from support.releases import make_release_world

SCHEMAS = Path(__file__).resolve().parents[2] / "data" / "papers"


@dataclass(frozen=True)
class Delivery:
    """What a publisher has: a model, its pack, the lab's root."""

    place: Path
    model: ArtifactDigest
    approvers: tuple[str, ...] = ("bob", "cat")

    @property
    def pack(self) -> Path:
        return self.place / "model.pack"

    @property
    def root(self) -> Path:
        return self.place / "root.json"

    @property
    def files(self) -> Path:
        return self.place / "model"


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    place = tmp_path_factory.mktemp("delivery")
    (place / "model" / "a").mkdir(parents=True)
    for name, content in (
        ("weights.safetensors", bytes(4096)),
        ("a/x.json", b"{}"),
        ("a-b", b"before a/x by its bytes"),
    ):
        (place / "model" / name).write_bytes(content)
    identity = manifest.make(place / "model").identity
    made = make_release_world(outside=(SLSA.signer,))
    made.verify = Verifiers().verify
    made.chain.ingest()
    _, criteria = made.chain.criteria((artifact("held-out"),))
    base = ArtifactDigest("sha256", sha256(b"base"))
    taken = {"data": artifact("data"), "base": base, "code": artifact("code")}
    made.chain.step("ingest", {"raw": SLSA.artifact, "code": artifact("code")}, {"base": base})
    made.chain.step("finetune", taken, {"model": identity})
    made.chain.evaluate(identity, criteria)
    made.chain.evidence(SLSA.present(), made.verify(SLSA.present(), SLSA.signer), outside="publisher")
    made.sync()
    asked = made.ask(index=made.compute_index(model=identity))
    given = made.world.approve(asked, "bob"), made.world.approve(asked, "cat")
    (place / "model.pack").write_bytes(made.gate().release(made.order(asked, *given)))
    (place / "root.json").write_bytes(made.world.lab.root_json)
    return Delivery(place, identity)


@pytest.fixture(scope="module")
def papers(delivery: Delivery) -> Path:
    write_papers(delivery.pack, delivery.root, out=delivery.place / "papers", version="1")
    return delivery.place / "papers"


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def values(properties: list[dict[str, str]], name: str) -> list[str]:
    return [one["value"] for one in properties if one["name"] == f"keyturn:{name}"]


def test_the_ml_bom_is_valid_by_the_official_schema_and_says_what_the_pack_proves(
    delivery: Delivery, papers: Path
) -> None:
    bom = read(papers / ML_BOM)
    schema = read(SCHEMAS / "bom-1.7.schema.json")
    referenced = [read(SCHEMAS / f"{name}.schema.json") for name in ("spdx", "jsf-0.82", "cryptography-defs")]
    registry: Registry[Any] = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in referenced)
    checks = Draft7Validator(schema, registry=registry, format_checker=FormatChecker())
    assert [error.message for error in checks.iter_errors(bom)] == []
    assert list(checks.iter_errors(bom | {"specVersion": 1.7, "typed": "by hand"})) != []

    model = bom["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "aurora", delivery.model.hex)
    assert "hashes" not in model, "a dirHash is the SHA-256 of no file"
    parts = {one["bom-ref"]: one for one in bom["components"]}
    kinds = {ref: one["type"] if "data" not in one else one["data"][0]["type"] for ref, one in parts.items()}
    data, base = str(artifact("data")), f"sha256:{sha256(b'base')}"
    assert kinds[data] == kinds[str(artifact("held-out"))] == kinds[str(artifact("raw"))] == "dataset"
    assert kinds[str(artifact("code"))] == "source-code"
    assert kinds[base] == kinds[str(SLSA.artifact)] == "machine-learning-model"
    assert parts[base]["hashes"] == [{"alg": "SHA-256", "content": sha256(b"base")}]
    assert values(parts[base]["properties"], "made") == ["by a step of this chain"]
    outside = parts[str(SLSA.artifact)]["properties"]
    assert values(outside, "made") == ["outside"]
    (signed,) = values(outside, "evidence")
    assert signed.startswith(f"{SLSA.statement} signed by {SLSA.identity}, record ")
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": data}]
    metrics = {one["type"]: one["value"] for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    assert set(metrics) == {"bits-per-byte", "baseline"}
    (criteria,) = model["modelCard"]["properties"]
    assert criteria["value"].startswith("bits-per-byte - baseline at-most -0.5 (by ada, log index ")
    said = bom["metadata"]["properties"]
    assert values(said, "approver") == ["bob", "cat"]
    assert values(said, "pack:sha256") == [sha256(delivery.pack.read_bytes())]
    assert values(said, "log:cosigner") == ["north"]
    steps = {one["name"]: one for (formula,) in [bom["formulation"]] for one in formula["workflows"]}
    assert {ref["resource"]["ref"] for ref in steps["finetune"]["inputs"]} >= {data, base, str(artifact("code"))}
    assert [ref["resource"]["ref"] for ref in steps["finetune"]["outputs"]] == [str(delivery.model)]
    known = {model["bom-ref"], *parts}
    used = {ref["resource"]["ref"] for one in steps.values() for ref in (*one["inputs"], *one["outputs"])}
    depends = {ref for one in bom["dependencies"] for ref in (one["ref"], *one["dependsOn"])}
    assert used | depends <= known


def test_the_hub_reads_the_model_card_and_its_metrics_are_those_of_evaluations_in_the_pack(
    delivery: Delivery, papers: Path
) -> None:
    card = ModelCard.load(papers / MODEL_CARD)
    assert card.data.license == "unknown", "no statement of a pack says a licence"
    assert card.data.tags == ["keyturn", "slsa-build-level-1"]
    assert card.data.model_name == "aurora"
    assert card.data.eval_results is not None
    results = {one.metric_type: one for one in card.data.eval_results}
    assert {name: str(one.metric_value) for name, one in results.items()} == {
        "bits-per-byte": "3.25",
        "baseline": "4.75",
    }
    measured = results["bits-per-byte"]
    assert (measured.dataset_name, measured.dataset_type) == ("held-out", str(artifact("held-out")))
    assert str(measured.metric_name).startswith(
        "bits-per-byte; criteria: bits-per-byte - baseline at-most -0.5 (by ada"
    )
    for said in (str(delivery.model), "`bob`", "`cat`", "`finetune`", f"`{sha256(delivery.pack.read_bytes())}`"):
        assert said in card.text
    assert card.text.count("| dataset |") == 3
    assert f"| outside | `{SLSA.statement} by {SLSA.identity}` |" in card.text


def test_the_spdx_document_is_valid_by_the_official_schema_and_names_data_builds_and_people(
    delivery: Delivery, papers: Path
) -> None:
    document = read(papers / SPDX)
    checks = jsonschema_rs.Draft202012Validator(read(SCHEMAS / "spdx-3.0.1.schema.json"), validate_formats=True)
    assert [error.message[:300] for error in checks.iter_errors(document)] == []
    graph = document["@graph"]
    named = {one["spdxId"]: one for one in graph if "spdxId" in one}
    assert len(named) == len(graph) - 1, "all but the creation info have a name of their own"

    def of(kind: str) -> list[dict[str, Any]]:
        return [one for one in graph if one["type"] == kind]

    spoiled = [one | {"typed": "by hand"} if one["type"] == "ai_AIPackage" else one for one in graph]
    assert not checks.is_valid(document | {"@graph": spoiled})

    (whole,) = of("SpdxDocument")
    (root,) = whole["rootElement"]
    model = named[root]
    assert (model["type"], model["name"], model["software_packageVersion"]) == (
        "ai_AIPackage",
        "aurora",
        delivery.model.hex,
    )
    assert model["verifiedUsing"][0]["algorithm"] == "other", "a dirHash is the SHA-256 of no file"
    assert {one["key"]: one["value"] for one in model["ai_metric"]} == {"bits-per-byte": "3.25", "baseline": "4.75"}
    assert model["ai_metricDecisionThreshold"][0]["value"].startswith("bits-per-byte - baseline at-most -0.5 (by ada")
    assert {one["name"] for one in of("dataset_DatasetPackage")} == {"data", "held-out", "raw"}
    assert {one["name"] for one in of("ai_AIPackage")} == {"aurora", "base", "raw"}
    assert {one["name"] for one in of("Person")} == {"ada", "bob", "cat"}
    assert {one["name"] for one in of("build_Build")} == {"ingest", "finetune", "evaluate"}
    assert f"from outside; {SLSA.statement} signed by {SLSA.identity}" in {
        one.get("comment") for one in of("ai_AIPackage")
    }
    relations = of("Relationship")
    ends = {one["relationshipType"]: one["to"] for one in relations if one["from"] == root}
    assert [named[one]["name"] for one in ends["trainedOn"]] == ["data"]
    assert [named[one]["name"] for one in ends["testedOn"]] == ["held-out"]
    said = {end for one in relations for end in (one["from"], *one["to"])} | {
        one["subject"] for one in of("Annotation")
    }
    assert {one for one in said if one.startswith("urn:")} | set(whole["element"]) <= named.keys()
    assert f"pack:sha256: {sha256(delivery.pack.read_bytes())}" in {one["statement"] for one in of("Annotation")}


def test_what_people_wrote_is_text_and_no_markup(delivery: Delivery, papers: Path) -> None:
    raw = delivery.pack.read_bytes()
    content = delivery.root.read_bytes()
    facts = gather(
        verify_pack(raw, root_json=content, pinned_sha256=sha256(content), verify=Verifiers().verify), sha256(raw)
    )
    hostile = "x` | <script>\n---\nlicense: mit\n# Released \\| `y \\"
    asked = changed(facts.asked, justification=hostile)
    card = model_card.render(replace(facts, asked=asked)).decode()
    honest = (papers / MODEL_CARD).read_text()
    assert card.count("\n") == honest.count("\n")
    (row,) = [line for line in card.splitlines() if "<script>" in line]
    assert row == "| `justification` | `x' \\| <script> --- license: mit # Released \\ \\| 'y \\` |"


def test_a_model_without_criteria_of_its_own_has_a_card_without_metrics(delivery: Delivery) -> None:
    raw, content = delivery.pack.read_bytes(), delivery.root.read_bytes()
    facts = gather(
        verify_pack(raw, root_json=content, pinned_sha256=sha256(content), verify=Verifiers().verify), sha256(raw)
    )
    other = replace(facts, evaluations=tuple(replace(one, kept=False) for one in facts.evaluations))
    card = ModelCard(model_card.render(other).decode())
    assert card.data.eval_results is None
    assert "| no |" in card.text
    assert "The pack has none." in model_card.render(replace(facts, evaluations=())).decode()


def test_papers_are_the_same_each_time_and_written_over_nothing(
    delivery: Delivery, papers: Path, tmp_path: Path
) -> None:
    made = write_papers(delivery.pack, delivery.root, out=tmp_path / "again", version="1")
    assert [one.read_bytes() for one in made.written] == [(papers / one.name).read_bytes() for one in made.written]
    made.written[-1].write_bytes(b"somebody's")
    for one in made.written[:-1]:
        one.unlink()
    with pytest.raises(Usage) as caught:
        write_papers(delivery.pack, delivery.root, out=tmp_path / "again", version="1")
    assert caught.value.code == "file-exists"
    assert [one.name for one in (tmp_path / "again").iterdir()] == [made.written[-1].name]


def test_a_pack_that_does_not_verify_has_no_papers(delivery: Delivery, tmp_path: Path) -> None:
    raw = delivery.pack.read_bytes()
    (tmp_path / "model.pack").write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    with pytest.raises(Refused) as caught:
        write_papers(tmp_path / "model.pack", delivery.root, out=tmp_path / "papers", version="1")
    assert caught.value.code == "pack-refused"
    assert not (tmp_path / "papers").exists()


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(KeyturnError) as caught:
        act()
    return caught.value.code


def public_pem(key: PublicKey) -> bytes:
    return load_der_public_key(key.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verify_signature(signature: Path, files: Path, public: Path) -> None:
    """By model-signing's own verifier, which hashes the files; it raises."""
    verifying.Config().use_elliptic_key_verifier(public_key=public).verify(files, signature)


def test_the_models_files_are_signed_as_openssf_model_signing_verifies_them(delivery: Delivery, tmp_path: Path) -> None:
    key, ed25519 = SoftwareKey.generate("ecdsa-sha2-nistp256"), SoftwareKey.generate()
    for name, one in (("oms.pem", key), ("ed25519.pem", ed25519)):
        write_key(tmp_path / name, one, passphrase=None)
    public = tmp_path / "oms.pub"
    public.write_bytes(public_pem(key.public))

    def made(out: str, **changed: Path | None) -> Path:
        said: dict[str, Any] = {"model": delivery.files, "oms_key": tmp_path / "oms.pem", **changed}
        write_papers(delivery.pack, delivery.root, out=tmp_path / out, version="1", **said)
        return tmp_path / out / SIGNATURE

    signature = made("papers")
    verify_signature(signature, delivery.files, public)
    statement = json.loads(base64.b64decode(read(signature)["dsseEnvelope"]["payload"]))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert statement["subject"][0]["name"] == "aurora"
    assert [one["name"] for one in statement["predicate"]["resources"]] == ["a/x.json", "a-b", "weights.safetensors"]

    other = tmp_path / "other"
    shutil.copytree(delivery.files, other)
    (other / "weights.safetensors").write_bytes(bytes(4095) + b"\x01")
    with pytest.raises(ValueError, match=r"mismatch|differ|not match"):
        verify_signature(signature, other, public)
    another = SoftwareKey.generate("ecdsa-sha2-nistp256").public
    public.write_bytes(public_pem(another))
    with pytest.raises(ValueError, match="Key mismatch"):
        verify_signature(signature, delivery.files, public)

    assert code_of(lambda: made("of-others", model=other)) == "model-other-files"
    assert code_of(lambda: made("ed25519", oms_key=tmp_path / "ed25519.pem")) == "oms-key"
    assert code_of(lambda: made("no-files", model=None)) == "oms-key-or-model"
    assert code_of(lambda: made("no-key", oms_key=None)) == "oms-key-or-model"
    (tmp_path / "oms.pem").chmod(0o644)
    assert code_of(lambda: made("read-by-all")) == "key-readable-by-others"
    (tmp_path / "oms.pem").chmod(0o600)
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] in (["papers", "other"], ["other", "papers"])

    inside = delivery.files / "papers"
    inside_args: dict[str, Any] = {"model": delivery.files, "oms_key": tmp_path / "oms.pem"}
    assert code_of(lambda: write_papers(delivery.pack, delivery.root, out=inside, version="1", **inside_args)) == (
        "papers-in-model"
    )
    assert not inside.exists()


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # model-signing's own
@pytest.mark.parametrize("by", ["key", "certificate"])
@pytest.mark.parametrize("hashed", ["sha256", "blake3"])
def test_what_is_signed_here_is_verified_by_model_signing_and_taken_in_as_evidence(
    delivery: Delivery, tmp_path: Path, hashed: Any, by: str
) -> None:
    vendor, place = Ca.make(tmp_path / "vendor"), tmp_path / "vendor"
    (place / "key.pem").chmod(0o600)
    certificates = place / "chain.pem" if by == "certificate" else None
    said: dict[str, Any] = {"model": delivery.files, "oms_key": place / "key.pem", "oms_hash": hashed}

    def made(certificates: Path | None, out: str = "papers", **changed: Any) -> Path:
        more = {"version": "1", "oms_certificates": certificates} | said | changed
        write_papers(delivery.pack, delivery.root, out=tmp_path / out, **more)
        return tmp_path / out / SIGNATURE

    signature = made(certificates)
    config = verifying.Config()
    if by == "certificate":
        config.use_certificate_verifier(certificate_chain=[place / "root.pem"])
    else:
        public = PublicKey.from_spki(der(vendor.key.private.public_key()))
        (place / "public.pem").write_bytes(public_pem(public))
        config.use_elliptic_key_verifier(public_key=place / "public.pem")
    config.verify(delivery.files, signature)
    files = manifest.make(delivery.files)
    signer = vendor.signer() if by == "certificate" else vendor.key.signer()
    one = Presented("oms", signature.read_bytes(), files.identity, b"", b"", NOW)
    found = Verifiers().verify(one, signer)
    assert found.subjects == ((str(files.identity),) if hashed == "sha256" else ())
    Verifiers().compare_files(one, signer, str(delivery.files))

    other = Ca.make(tmp_path / "other", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    (tmp_path / "other" / "key.pem").chmod(0o600)
    Ca.make(tmp_path / "third")
    assert code_of(lambda: made(tmp_path / "third" / "leaf.pem", "of-another-key")) == "oms-certificate"
    changed = tmp_path / "changed"
    shutil.copytree(delivery.files, changed)
    (changed / "a-b").write_bytes(b"other")
    assert code_of(lambda: made(certificates, "of-others", model=changed)) == "model-other-files"
    mine = {"oms_key": tmp_path / "other" / "key.pem"}
    assert code_of(lambda: made(tmp_path / "other" / "leaf.pem", "a-server", **mine)) == "oms-certificate"
    assert code_of(lambda: made(place / "key.pem", "no-certificate")) == "oms-certificate"
    assert code_of(lambda: made(place / "chain.pem", "no-key", model=None, oms_key=None)) == "oms-key-or-model"
    assert other.root.subject == vendor.root.subject


def test_a_model_that_is_one_file_is_signed_too(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(64))
    files = manifest.make(tmp_path / "model.safetensors")
    key = SoftwareKey.generate("ecdsa-sha2-nistp256")
    (tmp_path / "model.sig").write_bytes(model_signature.sign(files, key, model=files.identity, name="aurora"))
    (tmp_path / "oms.pub").write_bytes(public_pem(key.public))
    verify_signature(tmp_path / "model.sig", tmp_path / "model.safetensors", tmp_path / "oms.pub")


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-sha2-nistp256"])
def test_the_chain_is_links_and_a_layout_that_in_totos_own_verifier_accepts(
    delivery: Delivery, tmp_path: Path, scheme: Any
) -> None:
    key = SoftwareKey.generate(scheme)
    write_key(tmp_path / "in-toto.pem", key, passphrase=None)
    write_papers(
        delivery.pack, delivery.root, out=tmp_path / "papers", version="1", in_toto_key=tmp_path / "in-toto.pem"
    )
    place = tmp_path / "papers" / IN_TOTO
    owner = SSlibKey.from_crypto(load_der_public_key(key.public.spki))
    keys = {owner.keyid: {"keyid": owner.keyid, **owner.to_dict()}}
    raw = (place / "root.layout").read_bytes()

    def verified(place: Path) -> Any:
        return verifylib.in_toto_verify(Metadata.from_dict(json.loads(raw)), keys, str(place))

    products = verified(place).products
    assert list(products.values()) == [{"dirHash": delivery.model.hex}]
    steps = Metadata.from_dict(json.loads(raw)).get_payload().steps
    assert len({one.name for one in steps}) == 4
    assert steps[-1].name == "finetune"  # what it makes is the verdict's, though the evaluation came after it
    links = sorted(place.glob("*.link"))
    assert len(links) == len(steps) == 4

    presented = Presented(
        "in-toto-links", b"".join(one.read_bytes() for one in links), delivery.model, b"", raw, NOW
    )  # and another lab that pins the layout takes them in as evidence
    signer = OutsideSigner(
        name="acme",
        method="key",
        statements=frozenset({"https://in-toto.io/Link/v1"}),
        public=key.public.spki,
        layout=sha256(raw),
    )
    assert Verifiers().verify(presented, signer).subjects == (str(delivery.model),)

    def broken(alter: Callable[[dict[str, Any]], object], *, by: SoftwareKey = key) -> None:
        """Verify a copy in which every link was altered, and signed anew."""
        other = tmp_path / "broken"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(place, other)
        for one in other.glob("*.link"):
            said = json.loads(base64.b64decode(read(one)["payload"]))
            alter(said)
            one.write_bytes(in_toto._signed(said, by, owner.keyid))
        verified(other)

    broken(lambda link: None)

    def change_a_product(link: dict[str, Any]) -> None:
        for path, hashes in link["products"].items():
            hashes.update(dict.fromkeys(hashes, "0" * 64) if path.endswith(base) else {})

    base = sha256(b"base")
    with pytest.raises(RuleVerificationError, match="DISALLOW"):
        broken(change_a_product)
    with pytest.raises(RuleVerificationError, match="DISALLOW"):
        broken(lambda link: link["materials"].update({"sha256/" + "1" * 64: {"sha256": "1" * 64}}))
    with pytest.raises(RuleVerificationError, match="REQUIRE"):
        broken(lambda link: link["products"].clear())
    with pytest.raises(ThresholdVerificationError):
        broken(lambda link: None, by=SoftwareKey.generate(scheme))
    altered = read(links[0])
    altered["payload"] = base64.b64encode(
        base64.b64decode(altered["payload"]).replace(b'"level":', b'"Level":')
    ).decode()
    links[0].write_text(json.dumps(altered))
    with pytest.raises(ThresholdVerificationError):
        verified(place)
    links[0].unlink()
    with pytest.raises(LinkNotFoundError):
        verified(place)
