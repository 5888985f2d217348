"""Who comes in through a real sshd, and who does not; and with what."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.formats import dsse
from keyturn.formats.session_terms import SessionTerms
from support.hosts import Asked, Host, HostsLab
from support.processes import wait_for

FAR = "keyturn://acme.example/host/gpu2"


def refusals(host: Host) -> list[str]:
    """The codes of what the gate refused, as its journal has them."""
    found = DecisionFiles(host.directory / "state" / "decisions").read(start=0)
    return [one.code for one in found if one.outcome != "granted"]


def test_a_grant_opens_its_account_to_its_key_and_the_log_hears_of_it(lab: HostsLab, host: Host) -> None:
    granted = lab.granted()
    done = host.run(granted, "ktada", "id -un")
    assert (done.returncode, done.stdout) == (0, "ktada\n"), done.stderr + host.gate.output + host.log.read_text()
    assert not host.opens(granted, "root")
    assert not host.opens(granted, "ktdeploy")
    assert refusals(host)[-1] == "account-other"
    stranger = lab.identity()[1]
    assert not host.opens(stranger, "ktada")
    assert refusals(host)[-1] == "session-key-unknown"
    # The use: `true` is over before the gate looks twice, a session of two seconds is not.
    assert host.run(granted, "ktada", "sleep 2").returncode == 0
    logged = host.directory / "state" / "logged" / granted.digest
    wait_for("the use in the log", lambda: logged.exists() or None, host.gate)


def test_without_a_coworkers_yes_nobody_comes_in(lab: HostsLab, host: Host) -> None:
    asked = lab.ask()
    assert not host.opens(asked, "ktada")
    assert refusals(host)[-1] == "quorum-not-met"
    lab.say(asked, "ktada")
    assert not host.opens(asked, "ktada")
    lab.say(asked, "bob")
    assert host.opens(asked, "ktada"), (
        "what was approved a moment ago opens: the gate looks once more before it refuses"
    )


def test_a_grant_for_another_gate_host_or_account_opens_nothing_here(lab: HostsLab, host: Host) -> None:
    assert not host.opens(lab.granted("gpu2"), "ktada")
    assert refusals(host)[-1] == "gate-other"
    assert not host.opens(lab.granted(resource=FAR), "ktada")
    assert refusals(host)[-1] == "host-other"
    rooted = lab.granted(session=SessionTerms(account="root"))
    assert not host.opens(rooted, "root")
    assert refusals(host)[-1] == "account-root"
    nobody = lab.granted(session=SessionTerms(account="no-such-account"))
    assert not host.opens(nobody, "no-such-account"), "sshd itself does not know it"
    assert host.opens(lab.granted(action="host:root"), "root")
    assert host.opens(lab.granted(resource="keyturn://acme.example/hosts/gpu"), "ktada"), (
        "a group of hosts, with this one"
    )


def test_what_is_over_or_was_taken_back_opens_nothing(lab: HostsLab, host: Host) -> None:
    short = lab.granted(duration_s=1)
    begun = lab.now
    wait_for("the end of the window", lambda: lab.now > begun + 1 or None)
    assert not host.opens(short, "ktada")
    assert refusals(host)[-1] == "window-over"
    denied = lab.granted()
    lab.say(denied, "cat", decision="deny")
    assert not host.opens(denied, "ktada")
    revoked = lab.granted()
    lab.log.append(lab.revocation(revoked))
    assert not host.opens(revoked, "ktada")
    assert {"request-denied", "request-revoked"} <= set(refusals(host))


def test_a_session_has_what_its_grant_names_and_nothing_else(lab: HostsLab, host: Host, tmp_path: Path) -> None:
    plain = lab.granted()

    def copies(asked: Asked, *program: str) -> subprocess.CompletedProcess[str]:
        *words, target = [word if word != "-p" else "-P" for word in host.ssh(asked, "ktada")[1:]]
        copying = (["scp", *words, "/etc/hostname", f"{target}:/tmp/kt-copied"], ["sftp", "-b", "-", *words, target])
        return subprocess.run(
            copying[not program], input="ls /\n", capture_output=True, text=True, timeout=30, errors="replace"
        )

    for done in (copies(plain), host.run(plain, "ktada", "/usr/lib/openssh/sftp-server")):
        assert done.returncode != 0
        told = f"keyturn: req-{plain.digest[:32]} is without file transfer (sftp, scp): ask again by keyturn ssh --sftp"
        assert told in done.stderr, "sshd throws away what a subsystem writes to stderr, and yet he is told"
    assert "Permission denied" in copies(plain, "scp").stderr, "OpenSSH's scp shows no more of what it is told"
    assert not Path("/tmp/kt-copied").exists()
    assert copies(lab.granted(session=SessionTerms(sftp=True))).returncode == 0
    one = lab.granted(session=SessionTerms(command="echo only this"))
    for words in ((), ("id -un",), ("internal-sftp",)):
        assert host.run(one, "ktada", *words).stdout == "only this\n"
    elsewhere = lab.granted(session=SessionTerms(sources=("192.0.2.0/24",)))
    assert not host.opens(elsewhere, "ktada")
    assert host.opens(lab.granted(session=SessionTerms(sources=("127.0.0.0/8",))), "ktada")
    assert host.run(plain, "ktada", "echo $SSH_AUTH_SOCK", more=("-A",)).stdout == "\n"


@pytest.mark.parametrize("named", [True, False], ids=["the destination that is named", "another one"])
def test_a_port_is_forwarded_to_the_destination_that_the_grant_names_alone(
    lab: HostsLab, host: Host, named: bool
) -> None:
    port = host.port if named else 1
    granted = lab.granted(session=SessionTerms(forwards=(f"127.0.0.1:{port}",)))
    done = host.run(granted, "ktada", more=("-W", f"127.0.0.1:{host.port}"))
    assert ("SSH-2.0-OpenSSH" in done.stdout) is named
    assert "SSH-2.0" not in host.run(lab.granted(), "ktada", more=("-W", f"127.0.0.1:{host.port}")).stdout
    back = host.run(granted, "ktada", "true", more=("-R", "0:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes"))
    assert back.returncode == 255, "the host listens for nobody"


def test_break_glass_opens_from_a_file_and_locks_until_it_is_reviewed(lab: HostsLab, host: Host) -> None:
    now = lab.now
    glass = {"permit": "repair", "break_glass_at": now, "start_by": now + 1200, "not_after": now + 2400}
    asked = lab.ask(submit=False, requester="dan", session=SessionTerms(account="ktdeploy"), **glass)
    from keyturn.grants import bundle as bundles

    inbox = host.directory / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "one.bundle").write_bytes(bundles.render(bundles.make(asked.envelope, ())))
    assert not host.opens(asked, "ktdeploy"), "one person alone"
    approval = lab.say(asked, "bob", submit=False)
    (inbox / "one.bundle").write_bytes(bundles.render(bundles.make(asked.envelope, (approval,))))
    assert host.opens(asked, "ktdeploy"), host.gate.output
    kept = host.directory / "state"
    wait_for("the log to have it", lambda: not list(kept.glob("*.break-glass")) or None, host.gate)
    again = lab.ask(submit=False, requester="dan", session=SessionTerms(account="ktdeploy"), **glass)
    approval = lab.say(again, "bob", submit=False)
    (inbox / "two.bundle").write_bytes(bundles.render(bundles.make(again.envelope, (approval,))))
    assert not host.opens(again, "ktdeploy")
    assert refusals(host)[-1] == "break-glass-locked"


def test_a_recovery_grant_opens_by_the_holders_of_root_keys(lab: HostsLab, host: Host) -> None:
    from keyturn.app.access.recovery_file import add_signature, payload_of
    from keyturn.formats.recovery import RecoveryGrant

    key, identity = lab.identity()
    made = RecoveryGrant(
        lab=lab.lab.name,
        nonce=lab.nonce(),
        beneficiary="ktada",
        action="host:shell",
        resource="keyturn://acme.example/host/gpu1",
        gate=str(lab.lab.gate_uri("gpu1")),
        justification="log lost",
        root_version=1,
        signed_at=lab.now,
        not_before=lab.now,
        not_after=lab.now + 600,
        session_key=key.public.text,
    )
    root, keys = lab.lab.history.root, lab.lab.trust_keys
    one = add_signature(payload_of(made), None, keys["bob"], root=root)
    inbox = host.directory / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "r.recovery").write_bytes(dsse.render(one))
    assert not host.opens(identity, "ktada")
    both = add_signature(one.payload, one, keys["cat"], root=root)
    (inbox / "r.recovery").write_bytes(dsse.render(both))
    assert not host.opens(identity, "root")
    assert host.opens(identity, "ktada"), host.gate.output
    logged = host.directory / "state" / "logged" / both.record_digest
    wait_for("the grant in the log", lambda: logged.exists() or None, host.gate)
