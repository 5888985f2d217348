"""SLSA provenance of Keyturn's build types: one text per value, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from keyturn.errors import Malformed
from keyturn.formats import provenance
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.provenance import BuilderId, Dependency, Job, Origin, Output, Provenance

DATA = ArtifactDigest("dirHash", Sha256("1" * 64))
CODE = ArtifactDigest("sha256", Sha256("2" * 64))
RUNTIME = ArtifactDigest("dirHash", Sha256("3" * 64))
MODEL = ArtifactDigest("dirHash", Sha256("4" * 64))
OTHER = "keyturn://other.example/model/tiny"
IMAGE = Origin("oci:image@sha256:" + "d" * 64, oci_manifest="d" * 64)
RELEASED = Origin(OTHER, pack="b" * 64, root="c" * 64)

TRAIN = Provenance(
    lab="acme.example",
    build="train",
    step="train",
    request=Sha256("a" * 64),
    command=("python", "/in/code/train.py"),
    dependencies=(
        Dependency("data", "input", DATA, Origin("git+https://git.example/x@" + "a" * 40, "a" * 40), "full"),
        Dependency("code", "code", CODE, check="on_read"),
        Dependency("base", "input", MODEL, RELEASED, "full"),
        Dependency("image", "input", DATA, IMAGE, "snapshot"),
        Dependency("/usr", "runtime", RUNTIME),
    ),
    outputs=(Output("model", MODEL),),
    builder=BuilderId("acme.example", "builder", "main"),
    level=1,
    sandbox="bubblewrap",
    started_at=1_790_000_000,
    finished_at=1_790_000_060,
    byproducts=(Output("stdout", CODE),),
)


JOB = Job(
    id="4711",
    user="ada",
    nodes="n[1-4]",
    script=Sha256("b" * 64),
    exit_code="0:0",
    derived_exit_code="5:0",
    image="/srv/images/train",
)


@pytest.mark.parametrize("value", [TRAIN, replace(TRAIN, sandbox="slurm", job=JOB)], ids=["in a sandbox", "a job"])
def test_what_is_made_reads_back_as_it_was(value: Provenance) -> None:
    assert provenance.read(provenance.make(value)) == value


@given(
    st.integers(0, 253_402_300_799),
    st.sampled_from(["ingest", "train", "finetune", "merge", "quantize", "evaluate", "package"]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["bubblewrap", "none"]),
)
def test_every_time_build_level_and_sandbox_reads_back(at: int, build: str, level: int, sandbox: str) -> None:
    value = replace(TRAIN, started_at=at, finished_at=at, build=build, level=level, sandbox=sandbox, byproducts=())  # type: ignore[arg-type]  # sampled from its own values
    assert provenance.read(provenance.make(value)) == value


def test_it_is_slsa_provenance_v1_in_an_in_toto_statement_v1() -> None:
    import json

    document = json.loads(provenance.make(TRAIN))
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["predicate"]["buildDefinition"]["buildType"] == "https://keyturn.dev/build/train/v1"
    image = document["predicate"]["buildDefinition"]["resolvedDependencies"][3]
    assert image["digest"] == {"dirHash": "1" * 64, "sha256": "d" * 64}
    assert document["predicate"]["runDetails"]["builder"]["id"] == "keyturn://acme.example/builder/main"
    assert document["predicate"]["runDetails"]["metadata"]["startedOn"] == "2026-09-21T14:13:20Z"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param(replace(TRAIN, finished_at=1), "provenance-times", id="finished before it started"),
        pytest.param(
            replace(TRAIN, builder=BuilderId("acme.example", "member", "ada"), sandbox="none", attempt=2),
            "provenance-attempt",
            id="a second attempt of a member",
        ),
        pytest.param(
            replace(TRAIN, resumed=TRAIN.outputs[0].digest), "provenance-attempt", id="resumed in the first attempt"
        ),
        pytest.param(
            replace(TRAIN, builder=BuilderId("evil.example", "builder", "main")), "provenance-lab", id="another lab's"
        ),
        pytest.param(
            replace(TRAIN, outputs=(Output("m", MODEL), Output("m", DATA))),
            "provenance-name-twice",
            id="two outputs of one name",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(TRAIN.dependencies[0], replace(TRAIN.dependencies[1], name="data"))),
            "provenance-name-twice",
            id="two inputs of one name",
        ),
        pytest.param(
            replace(TRAIN, byproducts=(Output("o", MODEL), Output("o", DATA))),
            "provenance-name-twice",
            id="two byproducts of one name",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("data", "input", DATA),)),
            "provenance-check",
            id="an unchecked input",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("/usr", "runtime", DATA, check="full"),)),
            "provenance-check",
            id="a runtime that says it was checked",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("m", "input", CODE, Origin(OTHER, pack="a" * 64), "full"),)),
            "provenance-origin",
            id="another lab's pack without its root",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("m", "input", CODE, replace(RELEASED, uri="x"), "full"),)),
            "uri-invalid",
            id="another lab's pack of no resource",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("code", "code", CODE, Origin("", "a" * 40), "full"),)),
            "provenance-origin",
            id="a commit of no repository",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("code", "code", CODE, Origin("git+file:x", "a" * 41), "full"),)),
            "json-invalid",
            id="a commit that is no object id",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("m", "input", DATA, Origin("oci:x"), "full"),)),
            "provenance-origin",
            id="an image without its manifest",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("m", "input", DATA, Origin("x", oci_manifest="a" * 64), "full"),)),
            "provenance-origin",
            id="a manifest of no image",
        ),
        pytest.param(
            replace(
                TRAIN, dependencies=(Dependency("m", "input", DATA, replace(IMAGE, oci_manifest="A" * 64), "full"),)
            ),
            "json-invalid",
            id="a manifest that is no digest",
        ),
        pytest.param(
            replace(TRAIN, dependencies=(Dependency("m", "input", CODE, IMAGE, "full"),)),
            "provenance-origin",
            id="an image that is a file",
        ),
        pytest.param(replace(TRAIN, dependencies=()), "json-invalid", id="made from nothing"),
        pytest.param(replace(TRAIN, outputs=()), "statement-subject-count", id="nothing made"),
        pytest.param(replace(TRAIN, command=()), "json-invalid", id="no command"),
        pytest.param(replace(TRAIN, step="no name"), "json-invalid", id="a step without a name"),
        pytest.param(replace(TRAIN, build="bake"), "provenance-build-type", id="an unknown build"),
        pytest.param(replace(TRAIN, level=4), "json-invalid", id="level 4"),
        pytest.param(replace(TRAIN, level=0), "json-invalid", id="level 0"),
        pytest.param(replace(TRAIN, sandbox="slurm"), "provenance-job", id="Slurm without a job"),
        pytest.param(replace(TRAIN, job=JOB), "provenance-job", id="a job in a sandbox"),
        pytest.param(
            replace(TRAIN, sandbox="slurm", job=replace(JOB, user="a b")), "json-invalid", id="no user's name"
        ),
        pytest.param(replace(TRAIN, sandbox="slurm", job=replace(JOB, nodes="")), "json-invalid", id="no nodes"),
        pytest.param(
            replace(TRAIN, sandbox="slurm", job=replace(JOB, exit_code="3:0")),
            "provenance-job-failed",
            id="a job that failed",
        ),
        pytest.param(
            replace(TRAIN, sandbox="slurm", job=replace(JOB, exit_code="0:9")),
            "provenance-job-failed",
            id="a job that a signal ended",
        ),
        pytest.param(
            replace(TRAIN, sandbox="slurm", job=replace(JOB, exit_code="00:0")), "json-invalid", id="no exit code"
        ),
        pytest.param(replace(TRAIN, sandbox="docker"), "json-invalid", id="an unknown sandbox"),
        pytest.param(replace(TRAIN, request="xyz"), "json-invalid", id="a request that is no digest"),
        pytest.param(
            replace(TRAIN, builder=BuilderId("acme.example", "builder", "Ma\u0131n")),
            "builder-id",
            id="non-ASCII builder",
        ),
    ],
)
def test_it_refuses_to_make_what_it_would_not_read(value: Provenance, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        provenance.make(value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        pytest.param(b'"level":1', b'"level":1,"level":1', "json-not-canonical", id="a field twice"),
        pytest.param(b'"level":1', b'"level":1,"extra":1', "json-invalid", id="an unknown field"),
        pytest.param(b'"level":1', b'"level": 1', "json-not-canonical", id="white space"),
        pytest.param(b"2026-09-21T14:13:20Z", b"2026-09-21T14:13:2Z", "time-invalid", id="a short second"),
        pytest.param(b"2026-09-21T14:13:20Z", b"1026-09-21T14:13:20Z", "time-invalid", id="a time before 1970"),
        pytest.param(b"2026-09-21T14:13:20Z", b"2026-13-21T14:13:20Z", "time-invalid", id="month 13"),
        pytest.param(b"Statement/v1", b"Statement/v2", "statement-type", id="another statement version"),
        pytest.param(b"slsa.dev/provenance/v1", b"slsa.dev/provenance/v2", "statement-predicate-type", id="SLSA v2"),
        pytest.param(b"keyturn.dev/build/train/v1", b"keyturn.dev/build/train/v9", "provenance-build-type", id="v9"),
        pytest.param(
            b"keyturn://acme.example/builder/main", b"keyturn://acme.example/robot/main", "builder-id", id="a robot"
        ),
        pytest.param(
            b"keyturn://acme.example/builder/main",
            b"keyturn://acme.example/builder/main\\n",
            "builder-id",
            id="newline",
        ),
        pytest.param(b'"dirHash":"' + b"1" * 64, b'"gitTree":"' + b"1" * 64, "json-invalid", id="another digest"),
        pytest.param(b'"sha256":"' + b"d" * 64, b'"gitTree":"' + b"d" * 64, "json-invalid", id="another digest beside"),
        pytest.param(b'{"_type"', b'{"_type', "provenance-invalid", id="broken JSON"),
        pytest.param(b'"buildDefinition"', b'"buildOrder"', "provenance-invalid", id="no build definition"),
    ],
)
def test_another_text_is_refused(old: bytes, new: bytes, code: str) -> None:
    payload = provenance.make(TRAIN)
    assert old in payload
    with pytest.raises(Malformed) as caught:
        provenance.read(payload.replace(old, new))
    assert caught.value.code == code


def test_an_oversized_payload_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Malformed, match="at most"):
        provenance.read(b" " * (1 << 20) + provenance.make(TRAIN))


@given(st.data())
def test_every_single_byte_mutation_is_refused_or_another_value(data: st.DataObject) -> None:
    payload = provenance.make(TRAIN)
    position = data.draw(st.integers(0, len(payload) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != payload[position]))
    mutated = payload[:position] + bytes([byte]) + payload[position + 1 :]
    try:
        value = provenance.read(mutated)
    except Malformed:
        return
    assert value != TRAIN


def test_a_builder_id_has_one_text() -> None:
    assert str(BuilderId.parse("keyturn://acme.example/member/ada+coder")) == "keyturn://acme.example/member/ada+coder"


def test_somebody_elses_provenance_is_named_as_that_whatever_else_it_holds() -> None:
    payload = provenance.make(TRAIN).replace(b"keyturn.dev/build/train/v1", b"example.com/workflow/v1", 1)
    with pytest.raises(Malformed) as caught:
        provenance.read(payload.replace(b'"level":1', b'"theirOwnField":1'))
    assert caught.value.code == "provenance-build-type"
