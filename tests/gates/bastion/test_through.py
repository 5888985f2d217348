"""Through a bastion to a real sshd: who comes, with what, and what is recorded of it."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyturn.adapters.bastion.ssh_server import UNPROVED_MAX
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.over_http.bastion_over_http import bastion_terms
from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.digest import sha256
from keyturn.formats.recording import RECORDING, Recording
from support.bastions import Bastion
from support.hosts import Asked, HostsLab
from support.processes import wait_for


def refusals(directory: Path) -> list[str]:
    return [
        one.code for one in DecisionFiles(directory / "state" / "decisions").read(start=0) if one.outcome != "granted"
    ]


def said(lines: list[list[object]], code: str) -> str:
    return "".join(str(line[2]) for line in lines[1:] if line[1] == code)


def copied(bastion: Bastion, asked: Asked, batch: str) -> subprocess.CompletedProcess[str]:
    words = [word if word != "-p" else "-P" for word in bastion.front().ssh(asked, "ktada")[1:]]
    return subprocess.run(["sftp", "-b", "-", *words], input=batch, capture_output=True, text=True, timeout=60)


def test_a_command_goes_through_is_recorded_and_its_digest_comes_into_the_log(lab: HostsLab, bastion: Bastion) -> None:
    granted = bastion.granted()
    done = bastion.front().run(granted, "ktada", "id -un; echo wrong >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "ktada\n", "wrong\n"), bastion.process.output
    (path,) = bastion.recorded(1, of=granted)
    header, *_ = lines = bastion.cast(path)
    assert (header["version"], bastion.header(path).what) == (2, "exec")  # type: ignore[call-overload]
    assert (said(lines, "o"), said(lines, "e")) == ("ktada\n", "wrong\n")
    assert said(lines, "m") == "$ id -un; echo wrong >&2; exit 7"
    logged = bastion.place / "state" / "logged" / path.stem
    wait_for("the recording in the log", lambda: logged.exists() or None, bastion.process)
    found = statement.parse(dsse.parse_own(logged.read_bytes()).payload, Recording, RECORDING).predicate
    raw = path.read_bytes()
    assert (found.request, found.digest, found.size_bytes) == (granted.digest, sha256(raw), len(raw))
    assert b"ktada" not in raw[raw.index(b"\n", 30) :], "what went through is on the disk sealed"


def test_a_bastion_says_its_key_for_a_session_to_everybody_and_nothing_for_rubbish(bastion: Bastion) -> None:
    http = HttpClient(bastion.url)
    with pytest.raises(Malformed):
        http.post("/bastion-key", b"rubbish")
    one, other = (bastion_terms(bastion.url, bastion.lab.identity()[0].public) for _ in range(2))
    assert one.key != other.key


def test_the_host_opens_to_the_bastion_and_to_nobody_else(lab: HostsLab, bastion: Bastion) -> None:
    granted = bastion.granted()
    assert not bastion.behind.opens(granted, "ktada"), "the person's own key, past the bastion"
    assert refusals(bastion.behind.directory)[-1] == "session-key-unknown"
    # Even the bastion's own key, from anywhere else than where gate.toml of the host has the bastion.
    from keyturn.adapters.bastion.hop_keys import HopKeysFile

    stolen = lab.place / "stolen"
    stolen.write_bytes(HopKeysFile(bastion.place / "secret").openssh(granted.made.session_key or ""))
    stolen.chmod(0o600)
    assert bastion.behind.opens(stolen, "ktada"), "from the bastion's address it is the bastion"
    bastion.behind.gate.stop()
    path = bastion.behind.directory / "gate.toml"
    kept = path.read_text()
    path.write_text(kept.replace("127.0.0.1/32", "192.0.2.7/32"))
    lab.start_gate(bastion.behind)
    assert not bastion.behind.opens(stolen, "ktada")
    assert not bastion.front().opens(granted, "ktada")
    bastion.behind.gate.stop()
    path.write_text(kept.split("[[host.bastions]]")[0] if "[[host.bastions]]" in kept else _without_bastions(kept))
    lab.start_gate(bastion.behind)
    assert not bastion.front().opens(granted, "ktada")
    assert refusals(bastion.behind.directory)[-1] == "bastion-not-here"
    bastion.behind.gate.stop()
    path.write_text(kept)
    lab.start_gate(bastion.behind)
    assert bastion.front().opens(granted, "ktada")


def _without_bastions(text: str) -> str:
    start = text.index("bastions = [")
    return text[:start] + text[text.index("\n]\n", start) + 3 :]


def test_the_bastion_lets_in_whom_the_grant_names_and_nobody_else(lab: HostsLab, bastion: Bastion) -> None:
    asked = bastion.ask()
    front = bastion.front()

    def refused() -> bool:
        assert not front.opens(asked, "ktada")
        return refusals(bastion.place)[-1] == "quorum-not-met"

    wait_for("the bastion to know the request, which its view has within a second", lambda: refused() or None)
    lab.say(asked, "bob")
    assert front.opens(asked, "ktada")
    assert not front.opens(asked, "root")
    assert refusals(bastion.place)[-1] == "account-other"
    assert not front.opens(lab.identity()[1], "ktada")
    assert not front.opens(lab.granted(), "ktada"), "a grant that asks for no bastion"
    assert refusals(bastion.place)[-1] == "session-key-unknown"
    elsewhere = bastion.granted(sources=("192.0.2.0/24",))
    assert not front.opens(elsewhere, "ktada")
    assert refusals(bastion.place)[-1] == "source-other"
    assert front.opens(bastion.granted(sources=("127.0.0.0/8",)), "ktada")


def test_a_terminal_is_recorded_as_a_player_shows_it(bastion: Bastion) -> None:
    granted = bastion.granted()
    words = bastion.front().ssh(granted, "ktada", more=("-tt",))
    done = subprocess.run(words, input=b"stty size; printf 'gr\\303\\274n'; exit 3\n", capture_output=True, timeout=60)
    assert done.returncode == 3, (done, refusals(bastion.place)[-3:], bastion.process.output[-2000:])
    (path,) = bastion.recorded(1, of=granted)
    lines = bastion.cast(path, "dan", "carol")
    assert bastion.header(path).what == "shell"
    assert "grün" in said(lines, "o")
    assert "exit 3" in said(lines, "i")
    assert f"req-{granted.digest[:32]}, granted by bob" in said(lines, "o"), "the host's own helper runs the session"
    assert all(isinstance(line[0], float) for line in lines[1:])


def test_sftp_and_forwarding_have_what_the_grant_names_and_are_recorded(bastion: Bastion, tmp_path: Path) -> None:
    plain = bastion.granted()
    done = copied(bastion, plain, "ls /\n")
    assert done.returncode != 0
    told = f"keyturn: req-{plain.digest[:32]} is without file transfer (sftp, scp): ask again by keyturn ssh gpu1"
    assert f"{told} --bastion front --sftp --hold --reason WHY" in done.stderr
    granted = bastion.granted(sftp=True)
    content = os.urandom(300_000)
    (tmp_path / "bulk").write_bytes(content)
    batch = f"put {tmp_path}/bulk /tmp/kt-bulk\nget /tmp/kt-bulk {tmp_path}/back\nrm /tmp/kt-bulk\n"
    assert copied(bastion, granted, batch).returncode == 0
    assert (tmp_path / "back").read_bytes() == content
    (path,) = bastion.recorded(1, of=granted)
    lines = bastion.cast(path)
    for code in ("I", "O"):
        assert content[1000:20_000] in b"".join(base64.b64decode(str(line[2])) for line in lines[1:] if line[1] == code)
    port = bastion.behind.port
    forwarding = bastion.granted(forwards=(f"127.0.0.1:{port}",))
    done = bastion.front().run(forwarding, "ktada", more=("-W", f"127.0.0.1:{port}"))
    assert "SSH-2.0-OpenSSH" in done.stdout
    (path,) = bastion.recorded(1, of=forwarding)
    assert "SSH-2.0-OpenSSH" in said(bastion.cast(path), "o1")
    assert "SSH-2.0" not in bastion.front().run(forwarding, "ktada", more=("-W", "127.0.0.1:1")).stdout
    assert "SSH-2.0" not in bastion.front().run(plain, "ktada", more=("-W", f"127.0.0.1:{port}")).stdout
    back = bastion.front().run(
        forwarding, "ktada", "true", more=("-R", "0:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes")
    )
    assert back.returncode == 255
    one = bastion.granted(command="echo only this")
    for words in ((), ("id -un",)):
        assert bastion.front().run(one, "ktada", *words).stdout == "only this\n"
    assert bastion.front().run(plain, "ktada", "echo $SSH_AUTH_SOCK", more=("-A",)).stdout == "\n"


def test_who_connects_and_proves_no_key_keeps_nobody_out(bastion: Bastion) -> None:
    granted = bastion.granted()
    with ExitStack() as stack:
        for _ in range(2 * UNPROVED_MAX):
            stack.enter_context(socket.create_connection(("127.0.0.1", bastion.port), timeout=10))
        done = bastion.front().run(granted, "ktada", "id -un")
        assert (done.returncode, done.stdout) == (0, "ktada\n"), bastion.process.output
