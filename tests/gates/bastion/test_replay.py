"""A recording is replayed by a grant for that very one, with the shares of a quorum of its keyholders, and not otherwise."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization

from support.bastions import KEYTURN, Bastion
from support.hosts import HostsLab


class Reader:
    """Runs commands as members of the lab, in `place`."""

    def __init__(self, bastion: Bastion, place: Path) -> None:
        self._bastion, self._place = bastion, place
        for holder, private in bastion.keys.items():
            (place / f"{holder}.key").write_bytes(
                private.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )

    def run(self, member: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self._bastion.home(member)}
        said = [*KEYTURN, *map(str, words)]
        return subprocess.run(said, env=environment, capture_output=True, text=True, timeout=60)

    def share(self, request: str, recording: Path, holder: str) -> subprocess.CompletedProcess[str]:
        """A keyholder opens his share; any reader of the log can verify."""
        key, out = self._place / f"{holder}.key", self._place / f"{holder}.share"
        words = ("--holder", holder, "--holder-key", key, "--out", out, "--yes")
        return self.run("dan", "grant", "open-share", request, recording, *words)

    def ask(self, recording: Path) -> str:
        done = self.run("bob", "grant", "replay", recording, "--reason", "what happened", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert "called 'req-" in done.stderr, "people see whose session it is"
        return str(msgspec.json.decode(done.stdout)["id"])


def refused(done: subprocess.CompletedProcess[str], code: str) -> bool:
    assert done.returncode == 1, done
    return f"[{code}]" in done.stderr


def test_a_recording_is_replayed_by_a_grant_and_a_quorum_and_not_otherwise(
    lab: HostsLab, bastion: Bastion, tmp_path: Path
) -> None:
    session, other = bastion.granted(), bastion.granted()
    said = r"printf 'gr\303\274n\n'; printf '\033]0;evil\007\033[31mred\033[m\n'; printf '\377\n'"
    ran = subprocess.run(bastion.front().ssh(session, "ktada", said), stdin=subprocess.DEVNULL, capture_output=True)
    assert ran.stdout.endswith(b"\xff\n"), ran
    assert bastion.front().run(other, "ktada", "echo another").returncode == 0
    (path,), (another,) = bastion.recorded(1, of=session), bastion.recorded(1, of=other)
    spoiled = tmp_path / "spoiled"
    spoiled.write_bytes(path.read_bytes()[:-1] + b"\0")
    reader = Reader(bastion, tmp_path)
    made = reader.ask(spoiled)
    assert reader.run("cat", "approve", made, "--reason", "fine", "--yes").returncode == 0
    assert refused(reader.share(made, spoiled, "carol"), "recording-unlogged"), (
        "people agreed, and no bastion recorded it"
    )
    request = reader.ask(path)
    assert refused(reader.share(request, path, "carol"), "quorum-not-met"), "nobody agreed yet"
    done = reader.run("cat", "approve", request, "--reason", "fine", "--yes")
    assert done.returncode == 0, done.stderr
    assert refused(reader.share(request, another, "carol"), "replay-other")
    for holder in ("carol", "eve"):
        done = reader.share(request, path, holder)
        assert done.returncode == 0, done.stderr
        assert "approved by" in done.stderr
    one, both = (["--share", tmp_path / "carol.share"], [])
    both = [*one, "--share", tmp_path / "eve.share"]
    assert refused(reader.run("bob", "grant", "replay", path, *one), "share-quorum")
    assert refused(reader.run("bob", "grant", "replay", spoiled, *both), "replay-other")
    assert reader.run("cat", "grant", "replay", path, *both).returncode == 2, (
        "another person's machine has no key for it"
    )

    done = reader.run("bob", "grant", "replay", path, *both, "--speed", "1000")
    assert done.returncode == 0, done.stderr
    assert "grün\n" in done.stdout
    assert "\x1b[31mred\x1b[m\n" in done.stdout
    assert "\x1b]" not in done.stdout, "not on this terminal's title"
    assert "keyturn: $ printf" in done.stdout
    cast = tmp_path / "out.cast"
    assert reader.run("bob", "grant", "replay", path, *both, "--out", cast).returncode == 0
    assert [msgspec.json.decode(line) for line in cast.read_bytes().splitlines()] == bastion.cast(path)
    assert cast.stat().st_mode & 0o077 == 0
