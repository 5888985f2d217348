"""The graph of a log: followed, believed, shown from, and asked what descends from what is bad."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.lineage_graph import LineageGraphFile
from keyturn.app.custody.find_affected import Affected, Interval, find_affected
from keyturn.app.custody.follow_lineage import follow_lineage
from keyturn.app.custody.show_lineage import Bounds, ShownLineage, show_lineage
from keyturn.cli.custody import affected_shown
from keyturn.cli.custody.lineage_picture import as_dot, as_svg
from keyturn.cli.custody.lineage_shown import as_json, pictured, show_tree
from keyturn.crypto.signers import SoftwareKey
from keyturn.custody.outside import Verify, nobody_verifies
from keyturn.errors import Refused, Tampered, Unavailable, Usage
from keyturn.formats import dsse, leaf
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.disposal import Disposal
from keyturn.tlog.frontier import Frontier
from support.chains import MadeChain, artifact
from support.labs import NOW
from support.outside import SLSA
from support.releases import ReleaseWorld, make_release_world

RUNTIME = ArtifactDigest("dirHash", sha256(b"runtime"))
DAY = 86_400


class Reader:
    """The world's log with a checkpoint of everything that is there; envelopes in `gone` cannot be had."""

    def __init__(self, made: ReleaseWorld) -> None:
        self._world = made.world
        self.gone: set[str] = set()
        self.asked = 0

    def checkpoint(self) -> bytes:
        return self._world.note()

    def leaves(self, start: int, end: int) -> object:
        self.asked += end - start
        return self._world.log.leaves(start, end)

    def envelope(self, digest: Sha256) -> bytes:
        if digest in self.gone:
            raise Unavailable("envelope-unknown", "gone")
        return self._world.log.envelope(digest)


@dataclass
class Asking:
    made: ReleaseWorld
    log: Reader
    graph: LineageGraphFile

    @property
    def known(self) -> dict[str, object]:
        lab = self.made.world.lab
        return {"root_json": lab.root_json, "pinned_sha256": lab.root_sha256, "now": self.made.world.now}

    def follow(self) -> None:
        follow_lineage(self.log, self.graph, **self.known)  # type: ignore[arg-type]

    def affected(self, of: object, since: int | None = None, until: int | None = None) -> Affected:
        return find_affected(self.log, self.graph, of=of, interval=Interval(since, until), **self.known)  # type: ignore[arg-type]

    def show(self, name: str, **bounds: object) -> ShownLineage:
        around = Bounds(**{"depth_max": 50, "steps_max": 200, **bounds})  # type: ignore[arg-type]
        return self.show_artifact(artifact(name), around)

    def show_artifact(
        self, one: ArtifactDigest, around: Bounds | None = None, verify: Verify = nobody_verifies
    ) -> ShownLineage:
        bounds = around or Bounds(50, 200)
        return show_lineage(self.log, self.graph, artifact=one, bounds=bounds, verify=verify, **self.known)  # type: ignore[arg-type]

    def key(self, member: str) -> str:
        return self.made.world.key(member).public.keyid

    @property
    def builder(self) -> str:
        return self.made.world.lab.builder_keys["builder"].public.keyid


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    made = make_release_world(
        humans=("ada", "bob", "cat", "dan"), groups={"research": ("ada",), "security": ("bob", "cat", "dan")}
    )
    made.build()
    with closing(LineageGraphFile(tmp_path / "home" / "graph.sqlite")) as graph:
        yield Asking(made, Reader(made), graph)


def said(found: Affected) -> tuple[str, set[str], list[tuple[str, str]]]:
    return found.verdict, {one.artifact for one in found.models}, [(one.resource, one.state) for one in found.releases]


def test_models_and_releases_that_descend_from_data_code_or_a_runtime_are_found_and_what_took_them_back(
    asking: Asking,
) -> None:
    weights, model = str(artifact("weights")), str(artifact("model"))
    before = asking.affected(artifact("raw"))
    assert said(before) == ("affected", {weights, model}, [])
    (path,) = [one.path for one in before.models if one.artifact == weights]
    assert [one.artifact or (one.kind, one.label) for one in path] == [
        str(artifact("raw")),
        ("prv", "ingest"),
        str(artifact("data")),
        ("prv", "train"),
        weights,
    ], "the shortest, and not by code or the evaluation"
    assert said(asking.affected(artifact("model")))[0] == "nothing", "nothing was made from it, nor released"

    asked = asking.made.ask()
    given = [asking.made.world.approve(asked, approver) for approver in ("bob", "cat")]
    asking.made.gate().release(asking.made.order(asked, *given))
    resource = f"keyturn://{asking.made.world.lab.name}/model/aurora"
    for bad in ("raw", "held-out", "code", "model"):
        found = asking.affected(artifact(bad))
        assert said(found)[2] == [(resource, "released")], bad
        assert found.verdict == "affected"
    assert said(asking.affected(RUNTIME))[1] == {weights, model}
    assert [one.artifact or one.kind for one in asking.affected(artifact("model")).releases[0].path] == [model, "rel"]

    asking.made.world.revoke(asked, "dan")
    found = asking.affected(artifact("raw"))
    (release,) = found.releases
    assert (release.state, [who for who, _ in release.by]) == ("withdrawn", ["dan"])

    told = msgspec.json.decode(msgspec.json.encode(affected_shown.as_json(found)))
    by_name = {one["artifact"]: one for one in told["models"]}
    assert by_name.keys() == {weights, model}
    assert by_name[weights]["build"] == "train"
    assert by_name[weights]["path"][0] == {"artifact": str(artifact("raw"))}
    assert by_name[weights]["path"][-2] == {"index": by_name[weights]["made_at"][0], "kind": "prv", "of": "train"}
    assert [one["state"] for one in told["releases"]] == ["withdrawn"]
    screen = Console(file=io.StringIO(), width=1000)
    affected_shown.show_affected(screen, found)
    lines = screen.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert f"    {weights}\n" in lines
    assert "AFFECTED by" in lines
    assert "2 models, 1 releases" in lines


def test_what_a_key_signed_is_bad_in_whatever_role(asking: Asking) -> None:
    asking.made.released("bob", "cat")
    world = asking.made.world
    weights, model = str(artifact("weights")), str(artifact("model"))
    by_builder = asking.affected(asking.builder)
    assert (by_builder.of, len(by_builder.signed)) == (asking.builder, 5), "four steps and a test result"
    assert {weights, model} <= {one.artifact for one in by_builder.models}
    assert len(by_builder.releases) == 1
    by_gate = asking.affected(world.lab.gate_keys["release"].public.keyid[:8])
    assert (len(by_gate.models), len(by_gate.releases), by_gate.verdict) == (0, 1, "affected")
    by_approver = asking.affected(asking.key("bob"))
    assert (len(by_approver.signed), len(by_approver.models), len(by_approver.releases)) == (1, 0, 1)
    assert {weights, model} <= {one.artifact for one in asking.affected(asking.key("ada")).models}, (
        "the steps were hers"
    )
    assert asking.affected(asking.key("dan")).verdict == "nothing", "known, and signed nothing"
    for unknown in ("00000000", artifact("nobody-knows")):
        with pytest.raises(Unavailable, match="affected-unknown"):
            asking.affected(unknown)
    with pytest.raises(Usage, match="affected-ambiguous"):
        asking.affected("")


def test_an_interval_is_by_what_others_signed_before_and_behind_it_and_backdating_is_no_excuse(asking: Asking) -> None:
    chain = asking.made.chain
    chain.criteria((artifact("held-out"),))  # a word of somebody else ends each day
    chain.now = NOW + DAY
    chain.step("train", {"data": artifact("elsewhere")}, {"model": artifact("second")})
    chain.criteria((artifact("held-out"),))
    chain.now = NOW + 2 * DAY
    chain.step(
        "train",
        {"data": artifact("elsewhere")},
        {"model": artifact("backdated")},
        alter_provenance=lambda made: replace(made, started_at=NOW, finished_at=NOW),
    )
    chain.now = NOW + 3 * DAY
    chain.step("ingest", {"raw": artifact("raw")}, {"data": artifact("third")})
    asking.made.sync()
    asking.made.world.now = NOW + 4 * DAY

    def models(since: int | None, until: int | None) -> set[str]:
        found = asking.affected(asking.builder, since, until)
        names = {str(artifact(name)): name for name in ("weights", "model", "second", "backdated")}
        return {names[one.artifact] for one in found.models}

    assert models(None, None) == {"weights", "model", "second", "backdated"}
    assert models(NOW + 2 * DAY, None) == {"backdated"}, "it says the first day, and others say where it stands"
    assert models(None, NOW + 100) == {"weights", "model", "backdated"}, "what it says is a reason to count it"
    assert models(NOW + DAY, NOW + DAY + 100) == {"second"}
    later = asking.affected(asking.builder, NOW + 9 * DAY, None)
    assert later.signed == (asking.graph.frontier.size - 1,), "nothing says that the last one was not signed since"


def test_the_same_log_gives_the_same_rows_in_one_go_or_in_many_and_reads_what_is_new_alone(
    asking: Asking, tmp_path: Path
) -> None:
    asking.follow()
    asking.made.released("bob", "cat")
    asking.follow()
    assert asking.log.asked == asking.graph.frontier.size, "what was read is not read again"
    with closing(LineageGraphFile(tmp_path / "other.sqlite")) as again:
        Asking(asking.made, asking.log, again).follow()
        assert again.frontier == asking.graph.frontier
    dumps = []
    for path in (tmp_path / "home" / "graph.sqlite", tmp_path / "other.sqlite"):
        with closing(sqlite3.connect(path)) as db:
            dumps.append(list(db.iterdump()))
        assert path.stat().st_mode & 0o777 == 0o600
    assert dumps[0] == dumps[1]


def test_a_graph_keeps_nothing_of_a_log_that_is_not_believed(asking: Asking) -> None:
    asking.follow()
    size = asking.graph.frontier.size
    asking.made.chain.step("train", {"data": artifact("data")}, {"model": artifact("second")})
    asking.made.sync()
    honest = asking.log.leaves
    asking.log.leaves = lambda start, end: [*list(honest(start, end))[:-1], b"other"]  # type: ignore[method-assign,call-overload]
    with pytest.raises(Tampered, match="log-other-leaves"):
        asking.follow()
    asking.log.leaves = honest  # type: ignore[method-assign]
    asking.log.gone = {sha256(asking.made.chain.records[-1])}
    with pytest.raises(Unavailable, match="envelope-unknown"):
        asking.affected(artifact("raw"))
    assert asking.graph.frontier.size == size
    asking.log.gone = set()
    assert str(artifact("second")) in said(asking.affected(artifact("raw")))[1]
    before = Frontier.empty().extend(asking.made.world.log.leaves(0, size))
    asking.log.checkpoint = lambda: asking.made.world.note(frontier=before)  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="log-behind"):
        asking.follow()


def test_what_was_erased_is_named_and_nothing_is_then_not_said(asking: Asking) -> None:
    asking.made.released("bob", "cat")
    leaves = asking.made.world.log.leaves(0, asking.made.world.log.settle().size)
    approval = next(one for one in map(leaf.parse, leaves) if one.kind == "apr")
    asking.log.gone = {approval.envelope}
    found = asking.affected(asking.key("dan"))
    assert (found.verdict, [one.kind for one in found.unread]) == ("unknown", ["apr"]), "he may have signed it"
    assert asking.affected(artifact("raw")).verdict == "affected"


def test_a_lineage_is_shown_within_bounds_and_says_how_much_is_left_out(asking: Asking) -> None:
    asking.made.released("bob", "cat")
    whole = asking.show("model")
    assert [one.value.build for one in whole.behind.steps] == ["ingest", "train", "evaluate", "package"]
    assert (whole.sources, whole.behind.left_out, whole.ahead.steps) == ((artifact("raw"),), 0, ())
    assert [(one.label, model) for one, model in whole.ahead.releases] == [
        (f"keyturn://{asking.made.world.lab.name}/model/aurora", artifact("model"))
    ]
    near = asking.show("model", depth_max=1)
    assert ([one.value.build for one in near.behind.steps], near.behind.left_out) == (["package"], 3)
    few = asking.show("raw", steps_max=2, behind=False)
    assert ([one.value.build for one in few.ahead.steps][:1], len(few.ahead.steps), few.ahead.left_out) == (
        ["ingest"],
        2,
        2,
    )
    assert few.behind.steps == () == few.sources
    with pytest.raises(Refused, match="artifact-unknown"):
        asking.show("nobody-knows")

    assert as_json(near)["left_out"]["behind"] == {"steps": 3, "counted": True}
    picture = pictured(whole)
    svg, dot = as_svg(picture), as_dot(picture)
    for text in (svg, dot):
        assert text.count("entry") >= 5
        assert "released" in text
    assert "3 steps behind it are not shown" in as_svg(pictured(near))


def test_a_step_that_is_not_what_the_graph_says_is_not_shown(asking: Asking, tmp_path: Path) -> None:
    asking.follow()
    with closing(sqlite3.connect(tmp_path / "home" / "graph.sqlite")) as db:
        db.execute("UPDATE statement SET envelope = (SELECT envelope FROM statement WHERE kind = 'stp')")
        db.commit()
    with pytest.raises(Tampered, match="lineage-other"):
        asking.show("model")


def test_a_graph_that_cannot_be_read_names_its_file_and_another_version_is_none(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(Unavailable, match="lineage-unreadable") as caught:
        LineageGraphFile(path)
    assert str(path) in caught.value.hint
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(Unavailable, match="another version"):
        LineageGraphFile(path)


def test_checkpoints_of_an_attempt_are_steps_whenever_its_request_was_read(asking: Asking) -> None:
    # The key that signs them stands in the request alone, which another call, and another run of leaves, has read.
    attempt, log = SoftwareKey.generate(), asking.made.world.log
    chain = MadeChain(asking.made.world.lab)
    _, *asked = chain.request(
        "train",
        {"data": artifact("data")},
        builder=None,
        outputs=("model",),
        alter=lambda r: replace(r, attempt=attempt.public.text),
    )
    log.append(chain.records[-1])
    asking.follow()
    chain.provenance(*asked, {"checkpoint": artifact("at 1")}, key=attempt, alter=lambda p: replace(p, segment=1))  # type: ignore[arg-type]
    log.append(chain.records[-1])
    shown = asking.show("at 1")
    assert [(one.value.build, one.value.segment) for one in shown.behind.steps] == [("ingest", None), ("train", 1)]
    assert shown.failures == ()


def test_where_an_affected_model_runs_and_ran_is_said(asking: Asking) -> None:
    world = asking.made.world
    asked = asking.made.ask()
    about = {"lab": world.lab.name, "member": "bob", "key": world.key("bob").public.keyid, "signed_at": NOW}
    about |= {"resource": f"keyturn://{world.lab.name}/model/aurora", "request": asked.record_digest}
    for number in ("1", "2"):
        host = f"keyturn://{world.lab.name}/host/gpu{number}"
        made = Deployment(nonce=number * 32, host=host, **about)  # type: ignore[arg-type]  # the table above
        logged = world.submit(world.sign(made, str(artifact("model")), world.key("bob")))
    over = replace(made, nonce="3" * 32, ends=logged.record_digest)
    world.submit(world.sign(over, str(artifact("model")), world.key("bob")))
    found = asking.affected(artifact("raw")).deployments
    assert [(one.host[-4:], one.ended_at is None) for one in found] == [("gpu1", True), ("gpu2", False)]
    labels = [hop.label for hop in found[0].path if hop.kind]
    assert (labels[0], labels[-2:]) == ("ingest", ["package", found[0].host])


def test_what_others_signed_is_shown_under_their_names_in_each_form(tmp_path: Path) -> None:
    made = make_release_world(outside=(SLSA.signer,))
    found = Verifiers().verify(SLSA.present(), SLSA.signer)
    places = [made.chain.part(SLSA.present(), SLSA.raw[:1000]), made.chain.part(SLSA.present(), SLSA.raw[1000:])]
    parts = tuple(dsse.parse_own(made.chain.records[one]).record_digest for one in places)
    whole: dict[str, Any] = {"original": b"", "parts": parts, "size": len(SLSA.raw)}
    at = made.chain.evidence(SLSA.present(), found, outside="publisher", **whole)
    made.chain.evidence(SLSA.present(), found, outside="publisher", signer=SoftwareKey.generate())  # nobody's
    runtime = replace(found, subjects=(str(RUNTIME),))
    other = made.chain.evidence(replaced(SLSA.present(), artifact=RUNTIME), runtime, outside="publisher")
    made.chain.build(SLSA.artifact)
    made.sync()
    with closing(LineageGraphFile(tmp_path / "graph.sqlite")) as graph:
        asking = Asking(made, Reader(made), graph)
        shown = asking.show_artifact(artifact("model"), verify=Verifiers().verify)
        assert [(one.index, one.original) for one in shown.outside] == [(at, SLSA.raw)]
        assert [(one.index, one.code) for one in shown.failures] == [(other, "evidence-other-subject")]
        assert asking.show_artifact(SLSA.artifact, verify=Verifiers().verify).outside == shown.outside
        few = asking.show_artifact(SLSA.artifact, Bounds(50, 1), verify=Verifiers().verify)
        assert (len(few.outside), few.outside_left_out, few.failures) == (1, 1, ())
        assert "1 more that others signed are not shown" in as_svg(pictured(few))
        unverified = asking.show_artifact(artifact("model"))
        assert ([one.code for one in unverified.failures], unverified.outside) == (["evidence-not-verified"] * 2, ())

        assert asking.affected(SLSA.artifact).verdict == "affected"
        screen = Console(record=True, width=400, file=io.StringIO())
        show_tree(screen, shown)
        text = screen.export_text()
        line = f"signed outside by {SLSA.identity} ({SLSA.issuer}): {SLSA.statement}, taken in by ada, entry {at}"
        assert text.count(line) == 1
        assert f"FAILURE at log index {other}" in text
        (said,) = as_json(shown)["evidence"]
        assert (said["signer"], said["artifact"], said["member"]) == (SLSA.identity, str(SLSA.artifact), "ada")
        picture = pictured(shown)
        assert picture.links[f"evidence {at}", str(SLSA.artifact)]
        for drawn in (as_svg(picture), as_dot(picture)):
            assert line in drawn
            assert "signed outside" in drawn
        assert not [one for one in shown.behind.steps if one.index == at], "it is no step of ours"
        record = made.chain.records[at + 1]  # which nobody of the lab signed
        graph._db.execute("UPDATE statement SET envelope = ? WHERE idx = ?", (bytes.fromhex(sha256(record)), at))
        with pytest.raises(Tampered, match="lineage-other"):
            asking.show_artifact(artifact("model"), verify=Verifiers().verify)


def test_lineage_says_of_which_artifacts_the_bytes_went_and_what_was_made_of_them_stands(asking: Asking) -> None:
    world = asking.made.world
    by = world.key("bob")
    said = {"lab": world.lab.name, "member": "bob", "key": by.public.keyid, "reason": "old", "signed_at": NOW}
    before = asking.show("model")
    made = Disposal(nonce="1" * 32, place="s1:/srv/data", **said)  # type: ignore[arg-type]  # the table above
    world.submit(world.sign(made, str(artifact("data")), by))
    forged = Disposal(nonce="2" * 32, place="nowhere", **said)  # type: ignore[arg-type]
    world.submit(world.sign(forged, str(artifact("data")), world.key("cat")))
    for name in ("model", "raw", "data"):
        shown = asking.show(name)
        ((one, artifact_name),) = shown.disposals
        assert (one.label, artifact_name) == ("bob at s1:/srv/data", str(artifact("data"))), name
        assert as_json(shown)["disposals"][0]["by_and_where"] == "bob at s1:/srv/data"
    after = asking.show("model")
    assert [one.index for one in after.behind.steps] == [one.index for one in before.behind.steps]
    assert (before.disposals, after.failures) == ((), before.failures)
