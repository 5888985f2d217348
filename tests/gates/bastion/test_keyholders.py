"""Recordings are sealed to whom the lab's newest signed targets name, and the bastion's own files choose nobody."""

from __future__ import annotations

import subprocess
from dataclasses import replace

from support.bastions import KEYTURN, Bastion
from support.hosts import HOLDERS, HostsLab
from support.labs import keyholders
from support.processes import wait_for


def test_targets_say_to_whom_recordings_are_sealed_from_one_version_to_the_next(
    lab: HostsLab, bastion: Bastion
) -> None:
    front, first = bastion.front(), bastion.granted()
    assert front.run(first, "ktada", "echo one").stdout == "one\n"
    (path,) = bastion.recorded(1, of=first)
    assert bastion.header(path).targets_version == lab.lab.history.targets_version
    assert [one.holder for one in bastion.header(path).shares] == list(HOLDERS)

    lab.publish(replace(lab.lab.contents, recordings=None))
    asked = bastion.granted()
    refused = wait_for(
        "a refusal",
        lambda: found if (found := front.run(asked, "ktada", "echo two").stderr) else None,
        bastion.process,
    )
    assert "names no keyholders of recordings" in refused

    more = keyholders(*HOLDERS, "frank", quorum=2)
    lab.publish(replace(lab.lab.contents, recordings=more))
    asked = bastion.granted()
    wait_for("the next targets", lambda: front.run(asked, "ktada", "echo three").stdout or None, bastion.process)
    (path,) = bastion.recorded(1, of=asked)
    header = bastion.header(path)
    assert header.targets_version == lab.lab.history.targets_version
    assert [one.holder for one in header.shares] == [*HOLDERS, "frank"]


def test_a_bastion_whose_own_file_names_keyholders_does_not_start(bastion: Bastion) -> None:
    config = bastion.place / "gate.toml"
    text = config.read_text()
    config.write_text(
        text.replace("watcher_absent_s", 'keyholders = [{ name = "mallory", key = "AAAA" }]\nwatcher_absent_s')
    )
    words = [*KEYTURN, "gate", "bastion", "run", "--dir", str(bastion.place)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    config.write_text(text)
    assert (done.returncode, "bastion-keyholders" in done.stderr) == (2, True), done
