"""The pack index: everything that the log has about a model's chain, as one text that whoever has the log computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.custody import pack_index
from keyturn.errors import KeyturnError, Malformed
from keyturn.formats import dsse, negatives, statement
from keyturn.formats.digest import sha256
from keyturn.formats.negatives import Lift, Suspension
from keyturn.formats.statement import DigestSet, Subject
from support.chains import MadeChain, artifact, signed
from support.labs import NOW, make_lab

MODEL = artifact("model")
WEIGHTS = artifact("weights")


@pytest.fixture
def chain() -> MadeChain:
    return MadeChain(make_lab())


def kinds(index: pack_index.PackIndex) -> list[str]:
    return [one.kind for one in index.statements]


def suspend(chain: MadeChain, *, until: int) -> str:
    key = chain.lab.member_keys["bob"]
    made = Suspension(
        lab=chain.lab.name,
        nonce=chain.nonce(),
        member="bob",
        key=key.public.keyid,
        target_member="ada",
        reason="lost laptop",
        signed_at=NOW,
        until=until,
    )
    payload = statement.make(made, negatives.SUSPENSION, (Subject(digest=DigestSet(sha256=sha256(b"ada"))),))
    chain.append(signed(payload, key))
    return sha256(payload)


def lift(chain: MadeChain, suspension: str) -> None:
    key = chain.lab.member_keys["bob"]
    made = Lift(
        lab=chain.lab.name,
        nonce=chain.nonce(),
        member="bob",
        key=key.public.keyid,
        suspension=suspension,
        reason="found",
        signed_at=NOW,
    )
    payload = statement.make(made, negatives.LIFT, (Subject(digest=DigestSet(sha256=suspension)),))
    chain.append(signed(payload, key))


def test_the_index_names_every_statement_of_the_chain(chain: MadeChain) -> None:
    index = chain.index(chain.build())
    assert kinds(index) == ["rot", "tgt", "stp", "prv", "crt", "stp", "prv", "stp", "prv", "tst", "stp", "prv"]
    assert [one.index for one in index.statements] == list(range(12))
    assert index.root == chain.frontier.root.hex()


def test_whoever_has_the_log_computes_the_same_bytes(chain: MadeChain) -> None:
    model = chain.build()
    table = pack_index.LeafTable()
    for raw in chain.leaves:
        table.extend((raw,))
    one = pack_index.make(
        table, lab="acme.example", model=model, root=chain.frontier.root, as_of=NOW, fetch=chain.fetch
    )
    assert pack_index.render(one) == pack_index.render(chain.index(model))
    assert one.digest == sha256(pack_index.render(one))


def test_another_models_chain_is_no_part_of_it(chain: MadeChain) -> None:
    index = chain.index(chain.build())
    chain.step("train", {"data": artifact("data")}, {"model": artifact("other")})
    later = chain.index(MODEL)
    assert later.statements == index.statements
    assert later.digest != index.digest  # it speaks of another size of the log


def test_who_stands_behind_what_steps_took_as_code_is_in_it(chain: MadeChain) -> None:
    places = [chain.word("ada"), chain.word("bob", "reviewer")]
    chain.word("ada", code=artifact("other code"))
    index = chain.index(chain.build())
    assert [one.index for one in index.statements if one.kind == "src"] == places


def test_a_failed_result_is_in_it(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    before = len(chain.records)
    chain.evaluate(WEIGHTS, criteria, name="again")
    assert before + 2 in [one.index for one in chain.index(MODEL).statements]


def test_live_suspensions_and_their_lifts_are_in_it_and_ended_ones_are_not(chain: MadeChain) -> None:
    chain.build()
    ended = suspend(chain, until=NOW)
    lift(chain, ended)
    live = suspend(chain, until=NOW + 1)
    lift(chain, live)
    index = chain.index(MODEL, as_of=NOW)
    assert kinds(index).count("sus") == kinds(index).count("lft") == 1
    assert "sus" not in kinds(chain.index(MODEL, as_of=NOW + 1))


def test_statements_that_cannot_be_read_are_in_it(chain: MadeChain) -> None:
    chain.build()
    key = chain.lab.builder_keys["builder"]
    for old in (chain.records[-1], chain.records[9]):
        payload = dsse.parse_foreign(old).payload
        payload = payload.replace(b"keyturn.dev/build", b"evil.dev/build").replace(b'"PASSED"', b'"WARNED"')
        chain.append(signed(payload, key))
    index = chain.index(MODEL)
    assert [one.index for one in index.statements][-2:] == [12, 13]


def test_a_request_to_evaluate_is_in_it_even_without_result(chain: MadeChain) -> None:
    chain.build()
    _, criteria = chain.criteria((artifact("held-out"),))
    chain.request("evaluate", {"model": MODEL}, criteria=criteria)
    assert [one.kind for one in chain.index(MODEL).statements][-2:] == ["crt", "stp"]


def test_a_model_that_nothing_speaks_of_has_the_trust_versions_only(chain: MadeChain) -> None:
    assert kinds(chain.index(MODEL)) == ["rot", "tgt"]


def test_records_about_access_are_no_part_of_it(chain: MadeChain) -> None:
    table = pack_index.LeafTable()
    table.extend((*chain.leaves, b'{"envelope":"%s","kind":"chk","record":"%s"}' % (b"1" * 64, b"2" * 64)))
    assert (table.size, len(table.leaves)) == (3, 2)


def test_it_reads_back_as_it_was(chain: MadeChain) -> None:
    index = chain.index(chain.build())
    assert pack_index.parse(pack_index.render(index)) == index


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda d: d["statements"].append(d["statements"][0]), id="a statement twice"),
        pytest.param(lambda d: d["statements"].reverse(), id="other order"),
        pytest.param(lambda d: d.update(size=3), id="a size below its statements"),
        pytest.param(lambda d: d.update(size=2**63), id="2^63 leaves"),
        pytest.param(lambda d: d.update(size=-1), id="a negative size"),
        pytest.param(lambda d: d.update(model="1" * 64), id="a model without algorithm"),
        pytest.param(lambda d: d.update(type="keyturn-pack-index/v2"), id="another version"),
        pytest.param(lambda d: d.update(note=""), id="an unknown field"),
        pytest.param(lambda d: d["statements"][0].update(kind="xyz"), id="an unknown kind"),
        pytest.param(lambda d: d.update(root="AB" * 32), id="upper-case hex"),
    ],
)
def test_another_text_is_refused(chain: MadeChain, mutate: Callable[[Any], object]) -> None:
    document = msgspec.json.decode(pack_index.render(chain.index(chain.build())))
    mutate(document)
    with pytest.raises(Malformed):
        pack_index.parse(msgspec.json.encode(document, order="sorted"))


@given(st.data())
def test_every_single_byte_mutation_is_refused_or_has_another_digest(data: st.DataObject) -> None:
    chain = MadeChain(make_lab())
    raw = pack_index.render(chain.index(MODEL))
    position = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != raw[position]))
    mutated = raw[:position] + bytes([byte]) + raw[position + 1 :]
    try:
        assert pack_index.parse(mutated).digest != sha256(raw)
    except KeyturnError:
        pass


def test_a_leaf_of_no_record_counts_in_the_tree_and_says_nothing(chain: MadeChain) -> None:
    chain.build()
    leaves = [*chain.leaves, b'{"kind":"prv"', b"\xff"]
    table = pack_index.LeafTable()
    table.extend(leaves)
    assert table.size == len(leaves)
    assert set(table.leaves) <= set(range(len(leaves) - 2))


def test_a_table_without_some_leaves_is_as_if_they_said_nothing(chain: MadeChain) -> None:
    table, less = pack_index.LeafTable(), pack_index.LeafTable()
    table.extend(chain.leaves)
    without = frozenset(range(1, table.size, 3))
    less.extend([b"no leaf" if index in without else leaf for index, leaf in enumerate(chain.leaves)])
    assert vars(table.without(without)) == vars(less)
