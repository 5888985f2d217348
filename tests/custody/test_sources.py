"""Who stands behind the code of a chain: two humans for the final revision, and each way not to be two, by name."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.crypto.signers import SoftwareKey
from keyturn.custody.facts import facts_of
from keyturn.custody.sources import Code, Suspended, commit_signer
from keyturn.custody.verify import Chain, examine, verify_chain
from keyturn.formats import git_commit, records, sshsig
from keyturn.formats.statement import DigestSet, Subject
from support.authenticators import SshHolder
from support.chains import AURORA, COMMIT, MadeChain, artifact
from support.labs import make_key, make_lab

NOBODY = Suspended(frozenset(), frozenset())
AMENDED = COMMIT.replace(b"final", b"first")


def signed_commit(key: SoftwareKey, raw: bytes = COMMIT, *, namespace: str = sshsig.GIT) -> bytes:
    """`raw` with the signature that `git commit -S` puts into it."""
    text = base64.encodebytes(SshHolder(key, namespace=namespace).blob(raw)).decode().strip().replace("\n", "\n ")
    armour = f"gpgsig -----BEGIN SSH SIGNATURE-----\n {text}\n -----END SSH SIGNATURE-----"
    head, _, message = raw.partition(b"\n\n")
    return head + b"\n" + armour.encode() + b"\n\n" + message


@pytest.fixture
def chain() -> MadeChain:
    agents = {"ada+coder": ("ada",), "bob+coder": ("bob",)}
    return MadeChain(make_lab(humans=("ada", "bob", "cat"), agents=agents))


def judged(chain: MadeChain, suspended: Suspended = NOBODY) -> tuple[Chain, Code]:
    model = chain.build()
    found = examine(
        model,
        chain.entries(model),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=suspended,
    )
    (code,) = found.code
    assert facts_of(found)["custody.code_reviewed"] is code.reviewed
    return found, code


def test_two_humans_who_signed_for_the_final_revision_stand_behind_it(chain: MadeChain) -> None:
    chain.word("ada", controls=3)
    chain.word("bob", "reviewer")
    found, code = judged(chain)
    verify_chain(found)
    assert (code.artifact, code.reviewed, code.missing) == (artifact("code"), True, ())
    (revision,) = code.revisions
    assert (revision.signers("attester"), revision.signers("reviewer"), revision.level) == (("ada",), ("bob",), 4)


def test_the_level_is_no_more_than_attesters_say_is_enforced(chain: MadeChain) -> None:
    chain.word("ada", controls=3)
    chain.word("cat", controls=2)
    chain.word("bob", "reviewer")
    assert judged(chain)[1].revisions[0].level == 2


def test_who_signed_the_commit_in_git_is_its_author_when_another_one_attests_its_content(chain: MadeChain) -> None:
    commit = signed_commit(chain.lab.member_keys["ada"])
    chain.word("ada+coder", commit=commit)
    chain.word("bob", "reviewer", commit=commit)
    (revision,) = judged(chain)[1].revisions
    assert (revision.two_humans, revision.authors, revision.level) == (True, frozenset({"ada"}), 1)


Words = Callable[[MadeChain], Any]


def _earlier(chain: MadeChain) -> None:
    chain.word("ada")
    chain.word("bob", "reviewer", commit=AMENDED)


def _forger(chain: MadeChain, attester: str | None) -> None:
    """Bob alone, or with his agent, says that his own content is the commit that Ada signed."""
    commit = signed_commit(chain.lab.member_keys["ada"])
    if attester:
        chain.word(attester, commit=commit)
    chain.word("bob", "reviewer", commit=commit)


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        pytest.param(lambda c: None, {"source-review-missing"}, id="nobody"),
        pytest.param(lambda c: c.word("ada"), {"source-one-human"}, id="one who attests"),
        pytest.param(
            lambda c: (c.word("ada"), c.word("ada", "reviewer")), {"source-one-human"}, id="one human in two roles"
        ),
        pytest.param(
            lambda c: (c.word("ada"), c.word("ada+coder", "reviewer")), {"source-one-human"}, id="his agent reviews"
        ),
        pytest.param(
            lambda c: (c.word("ada+coder"), c.word("bob", "reviewer")), {"source-one-human"}, id="an agent attests"
        ),
        pytest.param(lambda c: c.word("ada+coder"), {"source-one-human"}, id="no human at all"),
        pytest.param(lambda c: (c.word("ada"), c.word("bob", "author")), {"source-not-reviewed"}, id="nobody reviews"),
        pytest.param(
            lambda c: (c.word("ada", "reviewer"), c.word("bob", "reviewer")),
            {"source-not-attested"},
            id="reviewers alone",
        ),
        pytest.param(_earlier, {"source-other-revision"}, id="a review of an earlier commit"),
        pytest.param(
            lambda c: (c.word("ada"), c.word("bob", "reviewer", repository="https://elsewhere.example/x")),
            {"source-other-revision"},
            id="a review of another repository",
        ),
        pytest.param(
            lambda c: (c.word("ada"), c.word("bob", "reviewer", code=artifact("earlier code"))),
            {"source-one-human"},
            id="a review of other content",
        ),
        pytest.param(
            lambda c: (c.word("ada"), c.word("bob", "reviewer", kind="dataset")),
            {"source-one-human", "source-other-kind"},
            id="a review of it as data",
        ),
        pytest.param(lambda c: _forger(c, None), {"source-not-attested"}, id="a reviewer's word for another's commit"),
        pytest.param(lambda c: _forger(c, "bob+coder"), {"source-not-attested"}, id="and his agent's"),
        pytest.param(lambda c: _forger(c, "bob"), {"source-not-attested"}, id="and his own again"),
        pytest.param(
            lambda c: (c.word("ada"), c.word("bob", "reviewer", key=make_key("stranger"))),
            {"source-one-human"},
            id="a key that nobody has",
        ),
        pytest.param(
            lambda c: (c.word("ada"), c.word("bob", "reviewer", lab="evil.example")),
            {"source-one-human"},
            id="a word for another lab",
        ),
        pytest.param(
            lambda c: (
                c.word("ada"),
                c.word("bob", "reviewer", subject=(Subject(digest=DigestSet(dirHash="ab" * 32)),)),
            ),
            {"source-one-human"},
            id="a subject that is not its content",
        ),
    ],
)
def test_what_is_no_two_humans_is_named_and_fails_no_chain(chain: MadeChain, words: Words, missing: set[str]) -> None:
    words(chain)
    found, code = judged(chain)
    verify_chain(found)
    assert ({one.code for one in code.missing}, code.reviewed) == (missing, False)


def test_a_review_after_the_step_was_requested_is_too_late(chain: MadeChain) -> None:
    chain.word("ada")
    model = chain.build()
    chain.word("bob", "reviewer")
    found = examine(
        model,
        chain.entries(model),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=NOBODY,
    )
    assert {one.code for one in found.code[0].missing} == {"source-one-human", "source-review-late"}


@pytest.mark.parametrize("by", ["member", "key"])
def test_nobody_who_is_suspended_stands_behind_anything(chain: MadeChain, by: str) -> None:
    chain.word("ada")
    chain.word("bob", "reviewer")
    keyid = chain.lab.member_keys["bob"].public.keyid
    gone = Suspended(frozenset({"bob"} if by == "member" else ()), frozenset({keyid} if by == "key" else ()))
    _, code = judged(chain, gone)
    assert {one.code for one in code.missing} == {"source-one-human", "source-signer-suspended"}


def test_an_author_who_is_suspended_is_none(chain: MadeChain) -> None:
    commit = signed_commit(chain.lab.member_keys["ada"])
    chain.word("ada+coder", commit=commit)
    chain.word("bob", "reviewer", commit=commit)
    _, code = judged(chain, Suspended(frozenset({"ada"}), frozenset()))
    assert {one.code for one in code.missing} == {"source-one-human"}


def test_a_step_that_declares_no_code_was_not_reviewed(chain: MadeChain) -> None:
    chain.word("ada")
    chain.word("bob", "reviewer")
    chain.step("ingest", {"raw": artifact("raw"), "code": artifact("code")}, {"data": artifact("data")})
    chain.step("train", {"data": artifact("data")}, {"model": artifact("bare")})
    found = examine(
        artifact("bare"),
        chain.entries(artifact("bare")),
        lab=chain.lab.name,
        resource=AURORA,
        timeline=chain.timeline,
        suspended=NOBODY,
    )
    assert found.code[0].reviewed
    assert facts_of(found)["custody.code_reviewed"] is False


def test_code_of_a_step_whose_request_is_missing_is_judged_as_of_its_provenance(chain: MadeChain) -> None:
    chain.word("ada")
    chain.word("bob", "reviewer")
    model = chain.build()
    entries = [one for one in chain.entries(model) if records.leaf_of(one.raw).kind != "stp"]
    found = examine(model, entries, lab=chain.lab.name, resource=AURORA, timeline=chain.timeline, suspended=NOBODY)
    assert found.code[0].reviewed


@pytest.mark.parametrize(
    ("commit", "who"),
    [
        pytest.param(signed_commit, "ada", id="signed"),
        pytest.param(lambda key: COMMIT, None, id="not signed"),
        pytest.param(lambda key: signed_commit(make_key("stranger")), None, id="by nobody's key"),
        pytest.param(lambda key: signed_commit(key).replace(b"final", b"other"), None, id="changed since"),
        pytest.param(lambda key: signed_commit(key, namespace=sshsig.NAMESPACE), None, id="signed as a record"),
        pytest.param(lambda key: signed_commit(key).replace(b"-----END", b"-----END!"), None, id="not armoured"),
    ],
)
def test_whose_enrolled_key_signed_a_commit(chain: MadeChain, commit: Callable[[SoftwareKey], bytes], who: str) -> None:
    chain.word("bob", commit=commit(chain.lab.member_keys["ada"]))
    made = records.parse(chain.records[-1]).statement.predicate
    found = commit_signer(made, chain.timeline.states[-1])
    assert (None if found is None else found[0].id) == who
    assert git_commit.parse(commit(chain.lab.member_keys["ada"]), commit=made.commit).author.startswith("Ada <")
