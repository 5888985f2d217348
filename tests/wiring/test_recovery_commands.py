"""Recovery grants by the command line: made and signed while no log runs, verified by a gate, logged when one runs."""

from __future__ import annotations

from pathlib import Path

from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import dsse
from keyturn.formats.uri import Uri
from keyturn.grants.recovery import verify_recovery
from keyturn.trust.metadata import parse_root
from support.members import People


def test_two_holders_of_root_keys_let_one_in_and_it_is_logged_afterwards(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    session = SoftwareKey.generate().public
    words = ("recovery", "new", "weights:read", "model/aurora", "--gate", "release", "--beneficiary", "ada", "--yes")
    more = ("--session-key", session.text, "--reason", "nobody can sign in", "--out", "r.json")
    assert people.refused("ada", *words, *more, "--duration", "5h", status=2) == "recovery-invalid"
    assert people.by("ada", *words, *more) == {"grant": "r.json", "signatures": 1, "needed": 2}
    assert people.refused("ada", "recovery", "show", "r.json") == "recovery-threshold"
    assert people.refused("ada", "recovery", "sign", "r.json", "--yes") == "recovery-signed"
    done = people.run("bob", "recovery", "sign", "r.json", "--yes")
    assert (done.returncode, "nobody can sign in" in done.stderr, "signed by  ada" in done.stderr) == (0, True, False)
    assert "signed by     ada" in done.stderr, done.stderr
    assert people.by("bob", "recovery", "show", "r.json")["signers"] == ["ada", "bob"]
    envelope = dsse.parse_own((people.place / "r.json").read_bytes())
    root = parse_root((people.lab / "trust" / "root.json").read_bytes())
    at = int(people.by("ada", "recovery", "show", "r.json")["recovery"]["not_before"])
    found = verify_recovery(envelope, root, now=at, gate=Uri("acme.example", "gate", "release"), session_key=session)
    assert found.signers == {"ada", "bob"}
    with people.served():
        logged = people.by("bob", "recovery", "log", "r.json")
        assert logged["id"] in people.run("bob", "log", "show").stdout
        assert people.by("bob", "recovery", "log", "r.json")["index"] == logged["index"]
