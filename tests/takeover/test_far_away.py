"""A person on another machine: no lab directory, only the service's address, a home of his own and a pin.

First what works from there, then a service that lies to him.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.digest import sha256
from keyturn.formats.note import parse as parse_note
from keyturn.formats.tile import TilePath, parse_bundle, render_bundle
from support.commands import error_of, keyturn, said_by
from support.labs import make_lab
from support.lying_log import Lie, serving_lies
from support.taken_lab import MODEL, TakenLab

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


@dataclass
class Far:
    """What one member types on a machine that has nothing of the lab but `url`."""

    place: Path
    url: str
    member: str

    def run(self, *words: str | Path, url: str | None = None) -> subprocess.CompletedProcess[str]:
        return keyturn(*words, place=self.place, home=self.place / self.member, lab=url or self.url)

    def says(self, *words: str | Path, url: str | None = None) -> Any:
        return said_by(self.run(*words, "--json", url=url))

    def refused(self, *words: str | Path, url: str | None = None, status: int = 1) -> str:
        return str(error_of(self.run(*words, "--json", url=url), status=status)["code"])

    def asks(self, model: str) -> str:
        """Ask for a release of the model; gives the request's id."""
        words = ("release", model, "--as", str(MODEL), "--reason", "from afar", "--yes")
        return str(self.says(*words)["request"])


@pytest.fixture(scope="module")
def far(lab: TakenLab, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Far]:
    place = tmp_path_factory.mktemp("far")

    def make(member: str, *, pinned: bool = True) -> Far:
        home = place / member
        if not home.exists():
            (home / "keys").mkdir(parents=True, mode=0o700)
            key = (lab.home(member) / "keys" / "member.pem").read_bytes()
            (home / "keys" / "member.pem").write_bytes(key)
            (home / "keys" / "member.pem").chmod(0o600)
        pins = f'[pins]\n"acme.example" = "{sha256(lab.root_json)}"\n' if pinned else ""
        (home / "config.toml").write_text(f'version = 1\nmember = "{member}"\n{pins}')
        return Far(place, lab.url("service"), member)

    return make


def test_a_root_is_pinned_from_afar_and_nothing_works_before(lab: TakenLab, far: Callable[..., Far]) -> None:
    bob = far("bob", pinned=False)
    for words in (("grant", "list"), ("log", "show"), ("trust", "log"), ("lineage", "show", lab.model)):
        assert bob.refused(*map(str, words), status=2) == "trust-root-unpinned"
    assert bob.refused("trust", "pin", "0" * 64) == "trust-root-not-pinned"
    assert bob.says("trust", "pin", sha256(lab.root_json)) == {
        "lab": "acme.example",
        "root_sha256": sha256(lab.root_json),
    }
    assert bob.says("grant", "list") is not None
    assert far("bob").refused("trust", "pin", "1" * 64) == "trust-root-not-pinned"


def test_a_release_is_asked_for_approved_and_made_from_afar(lab: TakenLab, far: Callable[..., Far]) -> None:
    ada, bob, carol = far("ada"), far("bob"), far("carol")
    request = ada.asks(str(lab.model))
    assert bob.says("grant", "explain", request)["could_approve"]
    assert "from afar" in bob.run("grant", "show", request).stdout
    assert bob.refused("approve", request, "--yes", "--lab", str(bob.place), status=2) == "lab-unknown"
    for coworker in (bob, carol):
        done = coworker.run("approve", request, "--reason", "agreed", "--yes")
        assert done.returncode == 0, done.stderr
        assert "from afar" in done.stderr, "the request is shown whole before it is signed"
    ada.says("release", str(lab.model), "--request", request, "--out", "far.pack")
    assert lab.judged((ada.place / "far.pack").read_bytes()) == set()


def test_a_release_that_no_gate_could_make_is_not_asked_for(lab: TakenLab, far: Callable[..., Far]) -> None:
    ada = far("ada")
    words = ("release", str(lab.model), "--reason", "good", "--yes")
    before = ada.says("grant", "list")
    assert ada.refused(*words, "--as", "model/misspelt") == "request-hopeless"
    assert far("dan").refused(*words, "--as", str(MODEL)) == "request-hopeless", "his group may not ask"
    assert [one["id"] for one in ada.says("grant", "list")] == [one["id"] for one in before], "nothing was logged"


def test_a_release_that_was_taken_back_is_not_called_one_when_the_gate_gives_its_pack_again(
    lab: TakenLab, far: Callable[..., Far]
) -> None:
    ada, bob = far("ada"), far("bob")
    request = ada.asks(str(lab.model))
    for coworker in (bob, far("carol")):
        coworker.says("approve", request, "--reason", "agreed", "--yes")
    release = ("release", str(lab.model), "--request", request, "--out")
    ada.says(*release, "before.pack")
    bob.says("grant", "revoke", request, "--reason", "the wrong model", "--yes")
    assert ada.refused(*release, "after.pack") == "request-ended"
    assert not (ada.place / "after.pack").exists()
    assert ada.refused("pack", "make", request, "--out", "again.pack") == "request-ended"


def test_everything_that_takes_away_works_from_afar(lab: TakenLab, far: Callable[..., Far]) -> None:
    ada, bob, carol, dan = map(far, ("ada", "bob", "carol", "dan"))
    for who, words, state in (
        (bob, ("deny", "--reason", "no"), "denied"),
        (carol, ("grant", "revoke", "--reason", "enough"), "revoked"),
        (ada, ("grant", "withdraw"), "revoked"),
    ):
        request = ada.asks(str(lab.model))
        assert who.says(*words, request, "--yes")["witnessed_at"] > 0
        assert dan.says("grant", "show", request)["live"]["state"] == state
    gone = carol.says("trust", "suspend", "--member", "eve", "--reason", "laptop lost", "--yes")["id"]
    assert [one["target"] for one in bob.says("trust", "suspended")] == ["member:eve"]
    bob.says("trust", "lift", gone, "--reason", "found", "--yes")
    assert dan.says("trust", "lift", gone, "--reason", "found", "--yes")["lifted"] is True


def test_log_trust_and_lineage_are_shown_from_afar(lab: TakenLab, far: Callable[..., Far]) -> None:
    bob = far("bob")
    shown = bob.says("log", "show", "--last", "1000")
    here = lab.by("bob", "log", "show", "--last", "1000")
    assert shown["entries"] == here["entries"][: len(shown["entries"])]
    one = next(entry for entry in shown["entries"] if entry["leaf"]["kind"] == "req")
    assert bob.says("log", "prove", one["id"][:16], "--out", "one.proof")["index"] == one["index"]
    assert bob.says("log", "prove", "3", "--out", "three.proof")["index"] == 3
    assert bob.says("log", "verify")["size"] >= shown["size"]
    assert bob.says("trust", "log") == lab.by("bob", "trust", "log")
    assert bob.says("policy", "check") == lab.by("bob", "policy", "check")
    found = bob.says("lineage", "show", str(lab.model))
    assert len(found["behind"]) == 4
    assert found["failures"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("trust", "show"),
        ("trust", "sign"),
        ("trust", "propose"),
        ("trust", "publish"),
        ("trust", "invite", "zoe"),
        ("log", "reindex"),
        ("serve",),
        ("log", "new-key"),
        ("witness", "serve", "north"),
        ("gate", "show"),
        ("up",),
    ],
    ids=" ".join,
)
def test_what_needs_the_labs_directory_says_so(far: Callable[..., Far], words: tuple[str, ...]) -> None:
    done = far("bob").run(*words)
    assert (done.returncode, "lab-remote" in done.stderr) == (2, True), done.stderr


# --- a service that lies -------------------------------------------------------------------------------------------------


def heard(lab: TakenLab, lie: Lie, attempt: Callable[[str], str]) -> str:
    with serving_lies(lab.url("service"), lie) as url:
        return attempt(url)


def test_another_labs_log_is_not_this_one(lab: TakenLab, far: Callable[..., Far], tmp_path: Path) -> None:
    """The first entry is another lab's root: its own people signed it, and nobody pinned it."""
    other = make_lab(name="acme.example", humans=("mal", "eve"))
    raw = other.containers[0]
    leaf = records.leaf_of(raw)
    bob = far("bob")

    def lie(method: str, path: str, body: bytes) -> bytes | None:
        if path == f"/envelope/{leaf.envelope}":
            return raw
        if path.startswith("/tile/entries/"):
            return render_bundle([leaf_format.render(leaf), *entries(lab, path)[1:]])
        return None

    assert heard(lab, lie, lambda url: bob.refused("grant", "list", url=url)) == "trust-root-not-pinned"
    assert (
        heard(lab, lie, lambda url: bob.refused("trust", "pin", sha256(lab.root_json), url=url))
        == "trust-root-not-pinned"
    )


def entries(lab: TakenLab, path: str) -> list[bytes]:
    content = urllib3.request("GET", lab.url("service") + path).data
    return list(parse_bundle(content, width=TilePath.parse(path.removeprefix("/")).width))


def test_a_leaf_that_is_left_out_is_noticed(lab: TakenLab, far: Callable[..., Far]) -> None:
    """A request that somebody denied is shown as it was before the denial: the leaves are then not those of the witnesses."""
    request = far("ada").asks(str(lab.model))
    far("dan").says("deny", request, "--reason", "no", "--yes")

    def lie(method: str, path: str, body: bytes) -> bytes | None:
        if not path.startswith("/tile/entries/"):
            return None
        found = entries(lab, path)
        found[-1] = found[-2]
        return render_bundle(found)

    assert heard(lab, lie, lambda url: far("bob").refused("approve", request, "--yes", url=url)) == "log-fork"


def test_a_denial_whose_text_is_hidden_is_not_approved_over(lab: TakenLab, far: Callable[..., Far]) -> None:
    request = far("ada").asks(str(lab.model))
    index = far("dan").says("deny", request, "--reason", "no", "--yes")["index"]
    (entry,) = [e for e in lab.by("bob", "log", "show", "--last", "1000")["entries"] if e["index"] == index]
    hidden = f"/envelope/{entry['leaf']['envelope']}"
    with serving_lies(lab.url("service"), lambda method, path, body: 404 if path == hidden else None) as url:
        for words in (("approve", request, "--yes"), ("grant", "show", request), ("grant", "explain", request)):
            assert far("bob").refused(*words, url=url, status=3) == "negative-unread"
        (listed,) = [one for one in far("bob").says("grant", "list", url=url) if one["id"] == request]
        assert listed["unread"]
        # Taking away is never stopped by what could not be read.
        assert far("carol").says("deny", request, "--reason", "no", "--yes", url=url)["witnessed_at"] > 0


def test_an_old_checkpoint_of_few_witnesses_is_not_followed(lab: TakenLab, far: Callable[..., Far]) -> None:
    def unsigned(method: str, path: str, body: bytes) -> bytes | None:
        if path != "/checkpoint":
            return None
        note = parse_note(lab.log.checkpoint())
        lines = lab.log.checkpoint().decode().splitlines(keepends=True)
        return "".join(lines[: -(len(note.signatures) - 1)]).encode()  # the log's own signature alone

    assert heard(lab, unsigned, lambda url: far("bob").refused("grant", "list", url=url)) == "checkpoint-quorum"


def test_an_index_that_lies_about_a_place_is_caught(lab: TakenLab, far: Callable[..., Far]) -> None:
    request = far("ada").asks(str(lab.model))
    shown = lab.by("bob", "log", "show", "--last", "1000")["entries"]
    (asked,) = [entry for entry in shown if entry["id"].startswith(request[:16])]

    def lie(method: str, path: str, body: bytes) -> bytes | None:
        if not path.startswith("/index/record"):
            return None
        place = {"index": 2, "kind": "req", "until": None}
        return json.dumps(
            [{**place, "record": asked["leaf"]["record"], "envelope": asked["leaf"]["envelope"]}]
        ).encode()

    prove = ("log", "prove", request, "--out", "lie.proof")
    assert heard(lab, lie, lambda url: far("bob").refused(*prove, url=url)) == "index-lies"
    assert not (far("bob").place / "lie.proof").exists()
    nothing = heard(
        lab,
        lambda method, path, body: b"[]" if path.startswith("/index/") else None,
        lambda url: far("bob").refused(*prove, url=url),
    )
    assert nothing == "record-not-found"


@pytest.mark.parametrize(
    "answer", [b"[]", b'{"gate-release":"ftp://x"}', b'{"gate-release":5}', b"{", b'{"../x":"http://x"}'], ids=repr
)
def test_addresses_that_are_none_are_malformed(lab: TakenLab, far: Callable[..., Far], answer: bytes) -> None:
    request = far("ada").asks(str(lab.model))
    words = ("release", str(lab.model), "--request", request, "--out", "never.pack")
    said = heard(
        lab,
        lambda m, path, b: answer if path == "/processes" else None,
        lambda url: far("ada").refused(*words, url=url),
    )
    assert said == "answer-invalid"


def test_a_gate_that_the_service_made_up_gives_no_pack(lab: TakenLab, far: Callable[..., Far]) -> None:
    request = far("ada").asks(str(lab.model))
    words = ("release", str(lab.model), "--request", request, "--out", "forged.pack")
    with serving_lies(lab.url("gate-release"), lambda method, path, body: b"a pack, honestly") as gate:
        here = json.dumps({"gate-release": gate}).encode()
        done = heard(
            lab,
            lambda m, path, b: here if path == "/processes" else None,
            lambda url: far("ada").refused(*words, url=url),
        )
    assert done == "pack-refused"
    assert not (far("ada").place / "forged.pack").exists()
