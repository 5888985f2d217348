"""What each statement rests on, and what rests on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from keyturn.custody.descent import walk
from keyturn.custody.evidence import Entry, read
from keyturn.custody.linked import ABOUT_RELEASES, Linked, about_release, linked
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import Refused
from keyturn.formats import dsse, records, release
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.disposal import Disposal
from keyturn.formats.evidence import Found, Presented
from keyturn.formats.release import Release, Summary
from support.chains import AURORA, MadeChain, artifact, signed
from support.labs import NOW, make_lab
from support.world import World

MODEL = artifact("model")


@dataclass
class Graph:
    """Links between whatever is named, as an adapter keeps them."""

    onward: dict[object, list[object]] = field(default_factory=dict)

    def add(self, found: Linked) -> None:
        for name, _ in found.takes:
            self.onward.setdefault(name, []).append(found.index)
        for name in found.gives:
            self.onward.setdefault(found.index, []).append(name)
        for source, target in found.passes:
            self.onward.setdefault(source, []).append(target)

    def reached(self, start: object) -> set[object]:
        return set(walk([start], lambda nodes: [(n, m) for n in nodes for m in self.onward.get(n, ())]).via)  # type: ignore[list-item,arg-type]


@pytest.fixture
def made() -> World:
    return World(make_lab(humans=("ada", "bob", "cat"), agents={"ada+coder": ("ada",)}))


def released(world: World, chain: MadeChain, *inputs: str, key: str = "release") -> tuple[int, int]:
    """Log what a gate signs of a release: the statement, and the summary that names `inputs`."""
    by = chain.lab.gate_keys[key]
    summary = Summary(
        model=MODEL,
        resource=AURORA,
        gate=chain.lab.gate_uri("release"),
        verified_at=NOW,
        targets=sha256(b"targets"),
        inputs=(
            ("access-request", Sha256(inputs[0])),
            *(("human-authorization/1", Sha256(i)) for i in inputs[1:]),
            ("pack-index", sha256(b"index")),
        ),
        level=1,
    )
    return (
        chain.append(signed(release.make_release(Release(MODEL, AURORA)), by)),
        chain.append(signed(release.make_summary(summary), by)),
    )


def graph_of(chain: MadeChain) -> tuple[Graph, dict[int, Linked]]:
    """Everything that the chain's log says, linked; what does not verify is left out."""
    entries = [Entry(i, raw) for i, raw in enumerate(chain.records)]
    kinds = {entry.index: records.leaf_of(entry.raw).kind for entry in entries}
    ours = [entry for entry in entries if kinds[entry.index] in ("prv", "stp", "crt", "tst")]
    found = list(linked(read(ours, lab=chain.lab.name, timeline=chain.timeline)))
    for entry in entries:
        if kinds[entry.index] in ABOUT_RELEASES and (one := about_release(entry, chain.timeline)) is not None:
            found.append(one)
    graph = Graph()
    for one in found:
        graph.add(one)
    return graph, {one.index: one for one in found}


def test_a_release_descends_from_data_code_runtime_held_out_data_criteria_requests_and_approvals(made: World) -> None:
    chain = MadeChain(made.lab)
    chain.build()
    asked = made.ask(made.release(), submit=False)
    request = chain.append(dsse.render(asked))
    approval = made.authorization(asked, "bob")
    agreed = chain.append(dsse.render(approval))
    rel, vsa = released(made, chain, asked.record_digest, approval.record_digest)
    graph, statements = graph_of(chain)
    kinds = {index: one.kind for index, one in statements.items()}
    for name in ("raw", "data", "weights", "code", "held-out", "model"):
        assert rel in graph.reached(str(artifact(name))), name
    runtime = str(ArtifactDigest("dirHash", sha256(b"runtime")))
    assert rel in graph.reached(runtime)
    for index, kind in kinds.items():
        assert rel in graph.reached(index), f"{kind} at {index}"
    assert statements[request].label == str(AURORA)
    assert statements[agreed].keyid == made.key("bob").public.keyid
    # What was only measured on is nothing that a model was made of.
    assert str(artifact("weights")) not in graph.reached(str(artifact("held-out")))
    (criteria,) = [index for index, kind in kinds.items() if kind == "crt"]
    assert str(artifact("weights")) not in graph.reached(criteria)
    assert {statements[vsa].said_at, statements[rel].said_at} == {NOW, None}


def test_what_takes_a_release_back_hangs_at_its_request(made: World) -> None:
    chain = MadeChain(made.lab)
    chain.build()
    asked = made.ask(made.release(), submit=False)
    chain.append(dsse.render(asked))
    denial = chain.append(dsse.render(made.authorization(asked, "cat", decision="deny")))
    revocation = chain.append(dsse.render(made.revoke(asked, "bob", submit=False)))
    by_agent = chain.append(dsse.render(made.revoke(asked, "ada+coder", submit=False)))
    graph, statements = graph_of(chain)
    assert {denial, revocation} <= graph.reached(f"record:{asked.record_digest}")
    assert (statements[denial].label, statements[revocation].label) == ("cat", "bob")
    assert by_agent not in statements, "whether a machine may is for whoever grants"


def test_a_request_for_something_else_is_no_part_of_the_graph(made: World) -> None:
    chain = MadeChain(made.lab)
    index = chain.append(dsse.render(made.ask(submit=False)))
    assert about_release(Entry(index, chain.records[index]), chain.timeline) is None


def test_what_nobody_signed_whom_trust_listed_then_is_no_statement(made: World) -> None:
    chain = MadeChain(made.lab)
    asked = made.ask(made.release(), submit=False)
    raw = dsse.render(asked)
    with pytest.raises(Refused, match="chain-before-trust"):
        about_release(Entry(5, raw), TrustTimeline((), ()))
    forged = signed(asked.payload, made.key("bob"))
    with pytest.raises(Refused, match="signature-key"):
        about_release(Entry(5, forged), chain.timeline)
    stranger = signed(release.make_release(Release(MODEL, AURORA)), made.key("bob"))
    with pytest.raises(Refused, match="gate-unknown"):
        about_release(Entry(5, stranger), chain.timeline)
    key = made.lab.gate_keys["release"]
    lie = dsse.parse_foreign(signed(release.make_release(Release(artifact("other"), AURORA)), key))
    honest = signed(release.make_release(Release(MODEL, AURORA)), key)
    mixed = dsse.render(
        dsse.Envelope(
            payload_type=lie.payload_type, payload=lie.payload, signatures=dsse.parse_foreign(honest).signatures
        )
    )
    with pytest.raises(Refused, match="signature-invalid"):
        about_release(Entry(5, mixed), chain.timeline)
    with pytest.raises(Refused, match="chain-foreign-statement"):
        about_release(Entry(5, dsse.render(made.suspend("bob", submit=False, target_member="ada"))), chain.timeline)


def test_a_deployment_rests_on_its_model_and_its_request_and_what_ends_it_on_the_deployment_alone(made: World) -> None:
    chain = MadeChain(made.lab)
    chain.build()
    asked = made.ask(made.release(), submit=False)
    chain.append(dsse.render(asked))
    about = {"lab": made.lab.name, "member": "bob", "key": made.key("bob").public.keyid, "signed_at": NOW}
    host = f"keyturn://{made.lab.name}/host/gpu1"
    about |= {"host": host, "resource": str(AURORA), "request": asked.record_digest}
    runs = made.sign(Deployment(nonce="1" * 32, **about), str(MODEL), made.key("bob"))  # type: ignore[arg-type]
    ended = made.sign(Deployment(nonce="2" * 32, ends=runs.record_digest, **about), str(MODEL), made.key("bob"))  # type: ignore[arg-type]
    first, last = chain.append(dsse.render(runs)), chain.append(dsse.render(ended))
    graph, statements = graph_of(chain)
    assert (statements[first].label, statements[last].label) == (host, "ended")
    assert {first, last} <= graph.reached(str(artifact("raw")))
    assert first in graph.reached(f"record:{asked.record_digest}")
    assert [name for name, _ in statements[last].takes] == [f"record:{runs.record_digest}"]


def test_what_others_signed_rests_on_the_artifact_that_it_is_about_and_nothing_rests_on_it(made: World) -> None:
    chain = MadeChain(made.lab)
    one = Presented("dsse", b"original", artifact("raw"), b"", b"", NOW)
    found = Found(signer="key:x", statement="https://x.example/v1", subjects=(str(artifact("raw")),))
    at, others = chain.evidence(one, found), chain.evidence(one, found, lab="other.example")
    graph, statements = graph_of(chain)
    assert (statements[at].label, statements[at].takes, statements[at].gives) == (
        "vendor",
        ((str(artifact("raw")), True),),
        (),
    )
    assert at in graph.reached(str(artifact("raw")))
    assert others not in statements


def test_a_part_of_an_original_gives_its_record_and_links_nothing_else(made: World) -> None:
    chain = MadeChain(made.lab)
    one = Presented("dsse", b"original", artifact("raw"), b"", b"", NOW)
    at = chain.part(one, b"original")
    graph, statements = graph_of(chain)
    digest = dsse.parse_own(chain.records[at]).record_digest
    assert (statements[at].kind, statements[at].takes, statements[at].gives) == ("evp", (), (f"record:{digest}",))
    assert at not in graph.reached(str(artifact("raw")))


def test_a_disposal_rests_on_the_artifact_whose_bytes_went_and_nothing_rests_on_it(made: World) -> None:
    chain = MadeChain(made.lab)
    chain.build()
    by = made.key("bob")
    said = Disposal(
        lab=made.lab.name,
        nonce="1" * 32,
        member="bob",
        key=by.public.keyid,
        place="s1:/srv",
        reason="old",
        signed_at=NOW,
    )
    gone = chain.append(dsse.render(made.sign(said, str(artifact("data")), by)))
    graph, statements = graph_of(chain)
    assert (statements[gone].kind, statements[gone].label, statements[gone].gives) == ("dsp", "bob at s1:/srv", ())
    assert gone in graph.reached(str(artifact("raw")))
