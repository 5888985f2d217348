"""A gate that observes: it says and keeps what it would have decided, opens nothing, closes nothing, and is itself a finding."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.scans.host_tools import InstalledTools
from keyturn.adapters.scans.host_tree import HostFiles
from keyturn.app.oversight.gate_checkins import last_checkins
from keyturn.formats import ocsf
from keyturn.standing.host.gates import scan_gates
from keyturn.wiring.lab.places import find_lab
from keyturn.wiring.log.log import lab_index
from support.hosts import KEYTURN, HostsLab
from support.processes import running, wait_for


def test_what_else_sshd_has_decides_and_the_gate_says_what_it_would_have_decided(lab: HostsLab, tmp_path: Path) -> None:
    host = lab.install("gpu1", more=("--observe-until", "14d"))
    keys = host.place / "keys"
    keys.mkdir(mode=0o755)
    with (host.place / "sshd_config").open("a") as config:
        config.write(f"AuthorizedKeysFile {keys}/%u\n")
    lab.start_gate(host)
    lab.start_sshd(host)
    granted, refused = lab.granted(), lab.ask()
    stranger = lab.identity()[1]
    decisions = DecisionFiles(host.directory / "state" / "decisions")

    def newest() -> tuple[str, str, bool]:
        last = list(decisions.read(start=0))[-1]
        return last.outcome, last.code, last.observed

    # By the gate alone nobody comes in, also with a grant: it opens nothing.
    wait_for("a view", lambda: (host.opens(granted, "ktada"), newest())[1][0] == "granted" or None, host.gate)
    assert not host.opens(granted, "ktada")
    assert newest() == ("granted", "", True)
    assert not host.opens(refused, "ktada")
    assert newest() == ("refused", "quorum-not-met", True)
    # By sshd's own files whoever stands there does, and the gate holds nobody up.
    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(stranger)], capture_output=True, text=True, check=True
    ).stdout
    (keys / "ktada").write_text(public)
    with running(host.ssh(stranger, "ktada", "echo in; exec sleep 60")) as session:
        session.wait_for_line("in")

        def said() -> bool | None:
            found = [one for one in decisions.read(start=0) if one.code == "came-in-otherwise"]
            return (
                any((one.beneficiary, one.outcome, one.observed) == ("ktada", "refused", True) for one in found) or None
            )

        wait_for("what an enforcing gate would have kept out", said, host.gate)
        assert session.alive
    assert host.gate is not None
    host.gate.kill()
    assert host.opens(stranger, "ktada"), "nor does a verifier that is dead"
    told = host.run(refused, "ktada", "true", more=("-o", "LogLevel=INFO")).stderr
    assert "lets nobody in" not in told
    assert not list((host.directory / "state" / "sessions").iterdir()), "it watches and ends nothing"

    # In the events, for everybody who reads the log, and as a finding.
    event = json.loads(
        ocsf.event(next(one for one in decisions.read(start=0) if one.outcome == "granted"), version="0")
    )
    assert (event["action"], event["message"][:10]) == ("Observed", "observing,")
    with ExitStack() as stack:
        index = stack.enter_context(lab_index(find_lab(str(lab.disk.path))))
        size = len(lab.log.leaves(0, 1)) and 1 << 20
        seen = last_checkins(lab.log, index, lab.lab.state, size=size)
        made = seen[str(lab.lab.gate_uri("gpu1"))]
        assert made is not None
        assert made.observes
    image = tmp_path / "image"
    (image / "var/lib/keyturn-host").mkdir(parents=True)
    (image / "var/lib/keyturn-host/gate.toml").write_bytes((host.directory / "gate.toml").read_bytes())
    tree = HostFiles(image)
    assert InstalledTools(tree)
    [found] = scan_gates(tree)
    assert (found.code, found.severity) == ("gate-observes", "high")
    assert found.close.startswith("keyturn gate host install gpu1 ")

    # Installed again without it, the gate enforces: the other door must go before, and the grant opens.
    again = [*KEYTURN, "gate", "host", "install", "gpu1", *lab.where(host), "--yes", "--json"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr  # the fragment, which sshd reads first, closes its files
    (image / "var/lib/keyturn-host/gate.toml").write_bytes((host.directory / "gate.toml").read_bytes())
    assert not list(scan_gates(tree))
    assert host.sshd is not None
    host.sshd.stop()
    host.log.unlink()
    lab.start_sshd(host)
    lab.start_gate(host)
    wait_for("the grant to open", lambda: host.opens(granted, "ktada") or None, host.gate)
    assert not host.opens(stranger, "ktada")
