"""What is wrong is named in one run, all of it: what was expected, what was found, where, and what mends it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Unavailable, Usage, together
from keyturn.formats import dsse, pack, statement
from keyturn.formats.pack import PackContents
from support import commands
from support.chains import artifact, signed
from support.packs import Members, drop, forged, records_of, stolen_gate_pack
from support.releases import MODEL, make_release_world

WRONG = {
    "link-missing": r"log index \d+: step `train`: no step in the log made its input `more` \(`dirHash:\w+`\)",
    "input-digest": r"log index \d+: step `train`: `data` was declared as `dirHash:\w+`, and was `dirHash:\w+`",
    "step-differs": r"log index \d+: step `train`: expected the command `python .*` of its request, got `sh`",
    "step-request-reused": r"log index \d+: step `package`: its request already ran, see log index \d+",
    "builder-level": r"log index \d+: step `package`: builder `builder` claims level 3, trust version \d+ allows \d",
    "made-otherwise": r"log index \d+: step `merge`: it says that it made `dirHash:\w+` from .*, and step `package` .* from ",
    "criteria-late": r"log index \d+: evaluation: its criteria were logged at index \d+, after it was requested",
    "evaluation-failed": r"log index \d+: evaluation: `bits-per-byte` FAILED: ",
    "evaluation-unfinished": r"log index \d+: evaluation `evaluate` was requested and has no result",
    "pack-statement-missing": r"log index \d+: the pack lacks a `src` statement that its index names",
    "chain-changed-since": r"log index \d+: a `prv` record about the chain was logged after the pack index",
    "release-statement-other": r"the gate's summary: expected one of `\S+` and level 0 at most, got one of `\S+` and level 1",
    "pack-contents-key": r"the contents: expected the key `\w{64}`, got `0{64}`",
    "lab-other": r"the contents: expected the lab `acme.example`, got `evil.example`",
    "model-other-files": r"the files at `.*` are `dirHash:\w+`, and the released model is `dirHash:\w+`",
}
"""Code of each thing that is wrong -> what is said of it."""


@dataclass
class Wrong:
    place: Path
    root: Path

    def verify(self, *words: str) -> tuple[int, str]:
        done = commands.keyturn(
            "verify", "model", "--pack", "model.pack", "--root", "root.json", *words, place=self.place, home=self.place
        )
        assert done.stdout == "", "nothing was verified"
        return done.returncode, done.stderr


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Wrong:
    """A model, its pack and a root; of the first two nearly everything is wrong."""
    made = make_release_world()
    chain, weights = made.chain, artifact("weights")
    chain.ingest()
    chain.step(
        "train",
        {"data": artifact("data"), "more": artifact("of nowhere"), "code": artifact("code")},
        {"model": weights},
        alter_provenance=lambda p: replace(
            p,
            command=("sh",),
            dependencies=(replace(p.dependencies[0], digest=artifact("held-out")), *p.dependencies[1:]),
        ),
    )
    _, good = chain.criteria((artifact("held-out"),))
    bad = (("baseline", "1"), ("bits-per-byte", "3"))
    chain.evaluate(weights, good, alter_result=lambda r: replace(r, passed=False, values=bad))
    late = chain.request(
        "evaluate", {"model": weights, "held-out": artifact("held-out")}, criteria=good, outputs=("results",)
    )
    _, chosen = chain.criteria((artifact("held-out"),), threshold="9")
    chain.provenance(late[1], late[2], {"results": artifact("second")})
    chain.result(
        late[1], late[2], subject=weights, measurement=artifact("second"), alter=lambda r: replace(r, criteria=chosen)
    )
    chain.request("evaluate", {"model": weights, "held-out": artifact("held-out")}, criteria=good, outputs=("results",))
    inputs = {"model": weights, "code": artifact("code")}
    _, request, digest = chain.request("package", inputs, outputs=("model",))
    chain.provenance(request, digest, {"model": MODEL}, alter=lambda p: replace(p, level=3))
    chain.provenance(request, digest, {"model": MODEL}, alter=lambda p: replace(p, finished_at=p.finished_at + 1))
    chain.step("merge", {"one": artifact("data")}, {"model": MODEL})
    chain.word("bob")
    made.sync()
    use = made.world.use

    def use_and_more(asked: dsse.Envelope, *given: dsse.Envelope) -> dsse.Envelope:
        chain.package()
        made.sync()
        return use(asked, *given)

    made.world.use = use_and_more  # type: ignore[method-assign,assignment]  # while the gate acts
    lab = made.world.lab

    def without_the_word(members: Members) -> None:
        drop(members, next(place for place, kind in records_of(members).items() if kind == "src"))

    found = pack.parse(forged(stolen_gate_pack(made), lab, without_the_word))
    old = statement.parse(dsse.parse_own(found.contents).payload, PackContents, pack.PACK)
    contents = msgspec.structs.replace(old.predicate, key="0" * 64, lab="evil.example")
    raw = pack.render(signed(statement.make(contents, pack.PACK, old.subject), lab.gate_keys["release"]), found.members)
    place = tmp_path_factory.mktemp("wrong")
    (place / "model").mkdir()
    (place / "model" / "weights").write_bytes(b"others")
    (place / "model.pack").write_bytes(raw)
    (place / "root.json").write_bytes(lab.root_json)
    return Wrong(place, place / "root.json")


def test_a_pack_with_all_of_this_wrong_shows_all_of_it_at_once(wrong: Wrong) -> None:
    status, said = wrong.verify("--json")
    assert status == 1
    error = json.loads(said)["error"]
    reasons = error["reasons"]
    assert {one["code"] for one in reasons} >= WRONG.keys()
    for code, text in WRONG.items():
        messages = [one["message"] for one in reasons if one["code"] == code]
        assert any(re.search(text, message) for message in messages), (code, messages)
    assert [one for one in reasons if not one["message"] or not (one["hint"] or error["hint"])] == []
    assert all(one["hint"] for one in reasons if one["code"] not in ("model-other-files", "policy-not-permitted"))


def test_people_read_the_same_with_what_mends_each(wrong: Wrong) -> None:
    status, said = wrong.verify()
    assert status == 1
    assert said.startswith("error: the pack does not prove a release: ")
    for code, text in WRONG.items():
        assert re.search(rf"^  - .*{text}.*\[{code}\]$", said, re.MULTILINE), code
    tries = re.findall(r"^      try: .+$", said, re.MULTILINE)
    assert len(tries) == len(set(tries)) >= 8, "each once"
    assert re.search(r"^  try: do not use the model", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("errors", "kind", "code", "count"),
    [
        pytest.param((Tampered("a-b", "x"),), Tampered, "a-b", 0, id="one alone stays what it is"),
        pytest.param(
            (Unavailable("a-b", "x"), Malformed("c-d", "y")), Refused, "c-d", 2, id="a verified no comes first"
        ),
        pytest.param((Unavailable("a-b", "x"), Unavailable("c-d", "y")), Unavailable, "a-b", 0, id="nothing found out"),
        pytest.param((Usage("a-b", "x"), Usage("c-d", "y")), Usage, "a-b", 2, id="all to be corrected"),
        pytest.param(
            (Refused("a-b", "x", reasons=(("a", "1"), ("b", "2"))), Refused("c-d", "y"), Refused("c-d", "y")),
            Refused,
            "a-b",
            3,
            id="each reason once",
        ),
    ],
)
def test_errors_are_put_together(
    errors: tuple[KeyturnError, ...], kind: type[KeyturnError], code: str, count: int
) -> None:
    found = together(errors)
    assert (type(found), found.code) == (kind, code)
    assert count in (0, len(getattr(found, "reasons", ())))
