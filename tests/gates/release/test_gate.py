"""The release gate: what it lets out, and everything that it does not."""

from __future__ import annotations

import msgspec
import pytest

from keyturn.app.custody.verify_pack import verify_pack
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import dsse, gate_answer, leaf, pack, release_order
from keyturn.formats.dsse import Envelope
from keyturn.formats.gate_answer import GateObeys
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import leaf_of
from keyturn.gates.release import gate as release_gate
from support.chains import artifact, files, signed
from support.hidden import hidden_leaf
from support.labs import make_key
from support.releases import MODEL, ReleaseWorld, make_release_world


@pytest.fixture
def made() -> ReleaseWorld:
    world = make_release_world()
    world.build()
    return world


def code_of(made: ReleaseWorld, order: bytes) -> str:
    with pytest.raises(KeyturnError) as caught:
        made.gate().release(order)
    return caught.value.code


def test_a_granted_release_of_a_whole_chain_gives_a_pack_that_verifies(made: ReleaseWorld) -> None:
    lab = made.world.lab
    found = verify_pack(made.released(), root_json=lab.root_json, pinned_sha256=lab.root_sha256)
    assert found.model == MODEL
    assert found.verdict.granted is not None
    assert set(found.verdict.granted.approvers) == {"bob", "cat"}


def test_one_approval_is_not_enough(made: ReleaseWorld) -> None:
    with pytest.raises(Refused):
        made.released("bob")
    assert made.journal.uses == {}


def test_an_agents_approval_is_none(made: ReleaseWorld) -> None:
    with pytest.raises(Refused) as caught:
        made.released("bob", "bob+ops")
    assert caught.value.code == "approver-not-human"


def test_the_requester_approves_nothing(made: ReleaseWorld) -> None:
    with pytest.raises(Refused):
        made.released("ada", "bob")


def kinds_since(made: ReleaseWorld, size: int) -> set[str]:
    return {leaf.parse(raw).kind for raw in made.world.log.leaves(size, made.world.log.settle().size)}


def test_the_same_order_again_gives_the_same_pack(made: ReleaseWorld) -> None:
    asked = made.ask()
    order = made.order(asked, made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    first = made.gate().release(order)
    size = made.world.log.settle().size
    assert made.gate().release(order) == first
    assert kinds_since(made, size) == {"chk"}


@pytest.mark.parametrize("way", ["a denial in the log", "a revocation in the log", "a denial that was pushed"])
def test_a_pack_is_given_to_nobody_any_more_once_its_request_was_denied_or_revoked(
    made: ReleaseWorld, way: str
) -> None:
    asked = made.ask()
    order = made.order(asked, made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    first = made.gate().release(order)
    made.world.approve(asked, "eve")  # one approval more takes nothing away
    assert made.gate().release(order) == first
    size = made.world.log.settle().size
    match way:
        case "a denial in the log":
            made.world.deny(asked, "dan")
        case "a revocation in the log":
            made.world.revoke(asked, "dan")
        case _:
            made.gate().obey(denied(made, asked))
    assert code_of(made, order) == "request-ended"
    assert kinds_since(made, size) <= {"chk", "den", "rev"}, "the gate logs nothing for it"


def test_a_withdrawn_release_stays_withdrawn_once_the_time_of_its_withdrawal_is_over(made: ReleaseWorld) -> None:
    asked = made.ask()
    order = made.order(asked, made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    first = made.gate().release(order)
    weeks = 25 * 86400
    made.world.now += weeks
    assert made.gate().release(order) == first, "nobody took it back: its pack is given as long as it is there"
    made.world.revoke(asked, "dan", until=made.world.now + 60, reason="it tells people how")
    made.world.now += weeks
    assert made.world.view().known.withdrawals.get(asked.record_digest, ()) == (), "a gate's view forgets it"
    assert code_of(made, order) == "request-ended"
    made.pushed_store.raws.clear()
    del made.pushed
    assert code_of(made, order) == "request-ended", "and so for a gate that starts again with nothing but its journal"


def test_what_could_have_taken_a_release_back_and_cannot_be_read_keeps_its_pack_in(made: ReleaseWorld) -> None:
    asked = made.ask()
    order = made.order(asked, made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.gate().release(order)
    made.world.hide("rev", f"request:{asked.record_digest}", until=made.world.now + 60)
    made.world.now += 60 * 86400
    assert code_of(made, order) == "withdrawal-unread"


def twins(asked: Envelope, *given: Envelope) -> list[Leaf]:
    """Leaves of the same records with envelopes that nobody has: true about the rest, and lying about when they end."""
    made = []
    for number, one in enumerate((asked, *given)):
        true = leaf_of(dsse.render(one))
        for until in (true.until, 2**32 - 1):
            made.append(hidden_leaf(true.kind, *true.about, number=10 * number, record=true.record, until=until))
    return made


@pytest.mark.parametrize("when", ["before the approvals", "while the use is witnessed"])
def test_hidden_twins_of_a_request_in_flight_spoil_no_pack(made: ReleaseWorld, when: str) -> None:
    asked = made.ask()

    def write(*leaves: Leaf) -> None:
        for number, one in enumerate(leaves):
            made.world.log.append_leaf(b"gone: %d" % number, one)

    if when == "before the approvals":
        write(*twins(asked))
    given = [made.world.approve(asked, member) for member in ("bob", "cat")]
    if when != "before the approvals":
        made.before_witness = lambda: write(*twins(asked, *given))
    raw = made.gate().release(made.order(asked, *given))
    lab = made.world.lab
    assert verify_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256).verdict.failures == ()


def test_a_crash_after_the_use_was_kept_goes_on_with_the_same_use(made: ReleaseWorld) -> None:
    asked = made.ask()
    order = made.order(asked, made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))

    def crash() -> None:
        raise KeyboardInterrupt

    made.before_witness = crash
    with pytest.raises(KeyboardInterrupt):
        made.gate().release(order)
    made.before_witness = lambda: None
    kept = dict(made.journal.uses)
    pack.parse(made.gate().release(order))
    assert made.journal.uses == kept


def test_a_gate_that_lost_its_journal_does_not_release_again(made: ReleaseWorld) -> None:
    asked = made.ask()
    order = made.order(asked, made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.gate().release(order)
    made.journal.uses.clear()
    made.journal.packs.clear()
    assert code_of(made, order) == "one-shot-used"


def test_a_use_that_is_not_the_first_releases_nothing(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.world.use(asked, *given)
    assert code_of(made, made.order(asked, *given)) == "one-shot-used"


def test_another_use_of_the_gates_own_key_that_came_first_releases_nothing(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    order = made.order(asked, *given)
    made.journal.uses[asked.record_digest] = b"".join(
        (made.gate()._sign_use(made.gate()._parse(order)),)  # noqa: SLF001  # as a copy of the journal would hold it
    )
    made.world.use(asked, *given)
    assert code_of(made, order) == "one-shot-used"


def test_a_denial_between_use_and_witness_stops_the_release(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.before_witness = lambda: made.world.deny(asked, "eve") and None
    assert code_of(made, made.order(asked, *given)) == "request-denied"
    assert made.journal.packs == {}


def test_a_chain_with_a_failure_is_not_released_whatever_policy_says() -> None:
    made = make_release_world(
        policy={
            "main": '@id("release") @quorum("2 security") @pending_max("1d") permit (principal, '
            'action == Action::"model:release", resource);'
        }
    )
    made.chain.train()
    made.chain.package()
    made.sync()
    with pytest.raises(Refused) as caught:
        made.released()
    assert caught.value.code == "chain-refused"
    assert {code for code, _ in caught.value.reasons} == {"link-missing"}
    assert made.journal.uses == {}


def test_an_unevaluated_model_is_refused_by_this_policy() -> None:
    made = make_release_world()
    made.chain.ingest()
    made.chain.train()
    made.chain.step("package", {"model": artifact("weights")}, {"model": MODEL})
    made.sync()
    with pytest.raises(Refused):
        made.released()
    assert made.journal.uses == {}


def test_what_was_said_about_the_chain_since_the_index_stops_the_release(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.chain.train()
    made.sync()
    assert code_of(made, made.order(asked, *given)) == "chain-refused"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"model": str(artifact("other"))}, "release-subjects"),
        ({"size": 3}, "release-subjects"),
        ({"size": 2**40}, "release-index-ahead"),
        ({"as_of": 4_000_000_000}, "release-index-ahead"),
        ({"as_of": 5}, "release-subjects"),
    ],
)
def test_an_order_that_is_not_what_people_signed_is_refused(
    made: ReleaseWorld, changed: dict[str, object], code: str
) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    assert code_of(made, made.order(asked, *given, **changed)) == code


def test_a_request_for_something_else_is_refused(made: ReleaseWorld) -> None:
    made.index = made.compute_index()
    asked = made.world.ask()
    assert code_of(made, made.order(asked)) == "release-action"


def test_files_that_are_not_the_model_are_refused(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.hashed = lambda _path: files("flipped")
    assert code_of(made, made.order(asked, *given, path="/srv/models/aurora")) == "model-other-files"


def test_files_that_change_while_the_use_is_witnessed_are_not_released(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    seen = iter((files("model"), files("flipped")))
    made.hashed = lambda _path: next(seen)
    assert code_of(made, made.order(asked, *given, path="/srv/model")) == "model-other-files"
    assert next(seen, None) is None, "they were hashed twice"


def test_whoever_can_reach_the_gate_has_it_read_neither_files_nor_chains(made: ReleaseWorld) -> None:
    hashed: list[str] = []
    made.hashed = lambda path: hashed.append(path) or files("model")  # type: ignore[func-returns-value]  # counts
    asked = made.ask()
    path = "/srv/models/aurora"
    # Agreed on by nobody, it is refused before any file is read; and a request that is not in the log at once.
    assert code_of(made, made.order(asked, path=path)) == "quorum-not-met"
    thief = dsse.parse_own(signed(asked.payload, make_key("thief")))
    made.chain.train()
    made.sync()
    assert code_of(made, made.order(thief, path=path)) == "signature-key"
    unlogged = made.world.ask(made.world.release(), submit=False)
    assert code_of(made, made.order(unlogged, path=path)) == "leaf-missing"
    assert hashed == []


def test_a_live_suspension_of_an_approver_stops_the_release(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = (made.world.approve(asked, "bob"), made.world.approve(asked, "cat"))
    made.world.suspend("bob", target_member="cat")
    assert code_of(made, made.order(asked, *given)) == "suspended"


def test_a_suspension_of_who_signed_the_chain_stops_the_release(made: ReleaseWorld) -> None:
    made.world.suspend("bob", target_key=made.world.lab.builder_keys["builder"].public.keyid)
    with pytest.raises(Refused) as caught:
        made.released()
    assert "chain-signer-suspended" in {code for code, _ in caught.value.reasons}


def test_a_malformed_order_is_refused(made: ReleaseWorld) -> None:
    asked = made.ask()
    order = made.order(asked)
    for raw in (b"", b"{}", order + b" ", order.replace(b'"version":1}', b'"version":2}')):
        with pytest.raises(KeyturnError):
            made.gate().release(raw)
    assert release_order.parse(order).version == 1
    assert msgspec.json.decode(order)["model"] == str(MODEL)


def denied(made: ReleaseWorld, asked: Envelope) -> bytes:
    return dsse.render(made.world.authorization(asked, "dan", decision="deny", reason="no"))


def said(raw: bytes) -> GateObeys:
    return gate_answer.parse(raw)[1]


def test_a_denial_that_was_pushed_stops_the_release_before_the_log_has_it(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = [made.world.approve(asked, member) for member in ("bob", "cat")]
    answer = said(made.gate().obey(denied(made, asked)))
    assert (answer.acted, answer.size > 0) == (False, True)
    assert code_of(made, made.order(asked, *given)) == "request-denied"
    assert made.journal.uses == {}
    del made.pushed  # the gate starts again
    assert code_of(made, made.order(asked, *given)) == "request-denied"


def test_a_denial_that_is_pushed_while_the_use_is_witnessed_stops_the_release(made: ReleaseWorld) -> None:
    asked = made.ask()
    given = [made.world.approve(asked, member) for member in ("bob", "cat")]
    gate = made.gate()
    made.before_witness = lambda: gate.obey(denied(made, asked)) and None
    assert code_of(made, made.order(asked, *given)) == "request-denied"
    assert made.journal.packs == {}


@pytest.mark.parametrize("way", ["is pushed", "reaches the log, as the gate reads it by the clock"])
def test_a_denial_that_comes_while_the_pack_is_made_stops_the_release(made: ReleaseWorld, way: str) -> None:
    asked = made.ask()
    given = [made.world.approve(asked, member) for member in ("bob", "cat")]
    gate = made.gate()
    collected = release_gate.collect

    def collect(*args: object, **named: object) -> dict[str, bytes]:
        if way == "is pushed":
            assert not said(gate.obey(denied(made, asked))).acted
        else:
            made.world.deny(asked, "dan")
        return collected(*args, **named)  # type: ignore[arg-type]  # passed on

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_gate, "collect", collect)
        assert code_of(made, made.order(asked, *given)) == "request-denied"
    assert made.journal.packs == {}


def test_whoever_denies_what_was_released_is_told_that_it_was(made: ReleaseWorld) -> None:
    made.released()
    [request] = made.journal.packs
    asked = dsse.parse_own(made.world.view().known.requests[request].raw or b"")
    assert said(made.gate().obey(denied(made, asked))).acted
    suspension = made.world.suspend("bob", submit=False, target_member="eve")
    assert not said(made.gate().obey(dsse.render(suspension))).acted
