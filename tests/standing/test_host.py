"""Each door of a host is found, for whom it opens, and closed by the command that the finding names; nothing else is found."""

from __future__ import annotations

import base64
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.standing.finding import FINDINGS_MAX
from support.host_image import HostImage, close, made_image

KEY = "ssh-ed25519 " + base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + bytes(range(32))).decode()
OTHER = "ssh-ed25519 " + base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + bytes(range(1, 33))).decode()
HASH = "$y$j9T$0123456789abcdefghijkl$0123456789012345678901234567890123456789012"


@pytest.fixture
def image(tmp_path: Path) -> HostImage:
    return made_image(tmp_path / "gpu1")


def setuid_shell(image: HostImage) -> None:
    image.write("/usr/local/bin/x\x1b[2J y", Path("/bin/dash").read_bytes(), mode=0o4755)


def packaged_shell(image: HostImage) -> None:
    image.write("/var/lib/dpkg/info/dash.md5sums", Path("/var/lib/dpkg/info/dash.md5sums").read_bytes())
    image.write("/usr/bin/dash", Path("/bin/dash").read_bytes(), mode=0o4755)


def changed_program(image: HostImage) -> None:
    image.write("/usr/bin/passwd", Path("/bin/dash").read_bytes(), mode=0o4755)


def capable(image: HostImage) -> None:
    path = image.write("/opt/tool", Path("/bin/dash").read_bytes(), mode=0o755)
    subprocess.run(["setcap", "cap_dac_override=ep", path], check=True)


def writable_script(image: HostImage) -> None:
    image.write("/opt/jobs/nightly.sh", "#!/bin/sh\n", mode=0o755, uid=1000)
    image.write("/etc/cron.d/nightly", "MAILTO=root\n17 3 * * * root /opt/jobs/nightly.sh --all > /dev/null\n")


def missing_script(image: HostImage) -> None:
    (image.root / "srv").mkdir()
    (image.root / "srv" / "drop").mkdir()
    (image.root / "srv" / "drop").chmod(0o1777)
    image.write("/etc/crontab", "@reboot root /srv/drop/soon\n")


def writable_unit_program(image: HostImage) -> None:
    image.write("/usr/local/sbin/agent", "#!/bin/sh\n", mode=0o775, gid=1001)
    image.write("/etc/systemd/system/agent.service", "[Service]\nExecStart=-/usr/local/sbin/agent \\\n  --serve\n")


def writes(path: str, text: str, **more: int) -> Callable[[HostImage], None]:
    return lambda image: image.write(path, text, **more) and None


def adds(path: str, text: str) -> Callable[[HostImage], None]:
    return lambda image: image.add(path, text)


def replaces(path: str, old: str, new: str) -> Callable[[HostImage], None]:
    def change(image: HostImage) -> None:
        place = image.root / path.lstrip("/")
        text = place.read_text()
        assert old in text
        place.write_text(text.replace(old, new))

    return change


AUTOLOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin ada --noclear %I $TERM\n"
DOORS: dict[str, tuple[Callable[[HostImage], object], str, str, str]] = {
    "a key of root": (writes("/root/.ssh/authorized_keys", f"# mine\n{KEY} eve@home\n"), "ssh-key", "high", "eve@home"),
    "a key behind options": (
        writes("/home/ada/.ssh/authorized_keys", f'command="echo \\"ssh-rsa AAAA\\"",no-pty {KEY} x\n', uid=1000),
        "ssh-key",
        "medium",
        "SHA256:",
    ),
    "a key in the second file that sshd reads": (
        writes("/home/ada/.ssh/authorized_keys2", KEY, uid=1000),
        "ssh-key",
        "medium",
        "SHA256:",
    ),
    "an authority in somebody's file": (
        writes("/home/ada/.ssh/authorized_keys", f'cert-authority,principals="x" {KEY}\n', uid=1000),
        "ssh-authority",
        "high",
        "certificate",
    ),
    "a file of keys that another may write": (
        writes("/home/ada/.ssh/authorized_keys", "", uid=1000, gid=1001, mode=0o664),
        "ssh-keys-writable",
        "medium",
        "bob",
    ),
    "passwords by ssh": (
        replaces("/etc/ssh/sshd_config", "PasswordAuthentication no", "#"),
        "ssh-passwords",
        "medium",
        "whoever",
    ),
    "passwords by PAM": (
        replaces("/etc/ssh/sshd_config", "KbdInteractiveAuthentication no", ""),
        "ssh-passwords",
        "medium",
        "whoever",
    ),
    "passwords for one account": (
        adds("/etc/ssh/sshd_config", "Match User bob\n  PasswordAuthentication yes\n"),
        "ssh-passwords",
        "medium",
        "as bob",
    ),
    "passwords for a group of the host": (
        adds("/etc/ssh/sshd_config", "Match Group ada\n  PasswordAuthentication yes\n"),
        "ssh-passwords",
        "medium",
        "as ada",
    ),
    "passwords from one network": (
        adds("/etc/ssh/sshd_config", "Match Address 10.7.0.0/16\n  PasswordAuthentication yes\n"),
        "ssh-passwords",
        "medium",
        "whoever",
    ),
    "passwords from addresses by a pattern": (
        adds("/etc/ssh/sshd_config", "Match Address 10.7.*,!10.7.0.1\n  PasswordAuthentication yes\n"),
        "ssh-passwords",
        "medium",
        "whoever",
    ),
    "root by ssh, in a file that is included": (
        writes("/etc/ssh/sshd_config.d/50-root.conf", "PermitRootLogin yes\n"),
        "ssh-root",
        "medium",
        "root",
    ),
    "an authority that sshd trusts": (
        adds("/etc/ssh/sshd_config", "TrustedUserCAKeys /etc/ssh/ca.pub\n"),
        "ssh-authority",
        "high",
        "authority",
    ),
    "a program that names keys": (
        adds(
            "/etc/ssh/sshd_config",
            "AuthorizedKeysCommand /usr/bin/sss_ssh_authorizedkeys\nAuthorizedKeysCommandUser nobody\n",
        ),
        "ssh-keys-command",
        "medium",
        "whoever",
    ),
    "what another host says": (
        adds("/etc/ssh/sshd_config", "HostbasedAuthentication yes\n"),
        "ssh-host-based",
        "high",
        "shosts.equiv",
    ),
    "a host that is trusted": (writes("/home/bob/.shosts", "+ +\n"), "host-trusted", "high", "root on a host"),
    "a password": (replaces("/etc/shadow", "ada:!:", f"ada:{HASH}:"), "password-usable", "medium", "whoever"),
    "a password of root": (replaces("/etc/shadow", "root:*:", f"root:{HASH}:"), "password-usable", "high", "whoever"),
    "no password at all": (replaces("/etc/shadow", "bob:*:", "bob::"), "password-empty", "high", "everybody"),
    "a second root": (adds("/etc/passwd", "toor:x:0:0::/root:/bin/sh\n"), "root-by-another-name", "high", "toor"),
    "the group docker": (
        replaces("/etc/group", "docker:x:900:", "docker:x:900:ada"),
        "group-as-good-as-root",
        "high",
        "ada",
    ),
    "a rule of sudo": (adds("/etc/sudoers.d/ops", "bob ALL=(ALL) ALL\n"), "sudo-rule", "high", "bob"),
    "a rule of sudo without a password, continued": (
        adds("/etc/sudoers.d/ops", "User_Alias OPS = ada, \\\n  %sudo\nOPS ALL = \\\n NOPASSWD: /usr/bin/apt\n"),
        "sudo-no-password",
        "medium",
        "ada, %sudo",
    ),
    "a rule of sudo for commands by an alias": (
        adds("/etc/sudoers", "Cmnd_Alias ANY = ALL\n#1000 ALL = ANY\n"),
        "sudo-rule",
        "high",
        "#1000",
    ),
    "sudo that asks nobody": (
        adds("/etc/sudoers", "Defaults:ada !authenticate\n"),
        "sudo-no-password",
        "medium",
        "ada",
    ),
    "a file of sudo that another may write": (
        writes("/etc/sudoers.d/ops", "\nDefaults env_reset\n", uid=1000, mode=0o640),
        "sudo-writable",
        "high",
        "ada",
    ),
    "a rule of doas": (writes("/etc/doas.conf", "permit nopass keepenv bob as root\n"), "doas-rule", "high", "bob"),
    "a shell with setuid": (setuid_shell, "setuid-program", "high", "everybody"),
    "a packaged shell with setuid": (packaged_shell, "setuid-program", "high", "everybody"),
    "a packaged setuid program that was replaced": (changed_program, "setuid-program", "high", "everybody"),
    "a program with capabilities": (capable, "capabilities-program", "high", "everybody"),
    "a table of cron": (
        writes("/var/spool/cron/crontabs/ada", "MAILTO=x\n* * * * * /bin/true\n", uid=1000, mode=0o600),
        "cron-table",
        "medium",
        "ada",
    ),
    "a table of cron where others keep them": (
        writes("/var/spool/cron/bob", "@daily /bin/true\n", uid=1001),
        "cron-table",
        "medium",
        "bob",
    ),
    "a job of root that another may write": (writable_script, "job-writable", "high", "ada"),
    "a job of root whose program anybody may make": (missing_script, "job-writable", "high", "everybody"),
    "a unit whose program a group may write": (writable_unit_program, "job-writable", "high", "bob"),
    "a job of at": (
        writes("/var/spool/cron/atjobs/a0000101abcdef", "#!/bin/sh\n", uid=1000, mode=0o700),
        "at-job",
        "low",
        "ada",
    ),
    "units that run without a login": (writes("/var/lib/systemd/linger/ada", ""), "systemd-linger", "medium", "ada"),
    "a console that logs in by itself": (
        writes("/etc/systemd/system/getty@tty1.service.d/autologin.conf", AUTOLOGIN),
        "getty-autologin",
        "high",
        "console",
    ),
    "a remote shell of inetd": (
        writes("/etc/inetd.conf", "telnet stream tcp nowait root /usr/sbin/tcpd in.telnetd\n"),
        "remote-shell",
        "high",
        "reaches",
    ),
    "a remote shell of xinetd": (
        writes("/etc/xinetd.d/shell", "service shell\n{\n  disable = no\n}\n"),
        "remote-shell",
        "high",
        "reaches",
    ),
    "an authority of polkit before there were rules": (
        writes("/etc/polkit-1/localauthority/50-local.d/x.pkla", "[x]\nIdentity=unix-user:ada\nResultAny=yes\n"),
        "polkit-rule",
        "medium",
        "names",
    ),
    "a rule of polkit": (
        writes("/etc/polkit-1/rules.d/10-x.rules", "polkit.addRule(() => polkit.Result.YES);\n"),
        "polkit-rule",
        "medium",
        "names",
    ),
    "a desktop that logs in by itself": (
        writes("/etc/lightdm/lightdm.conf", "[Seat:*]\nautologin-user=ada\n"),
        "desktop-autologin",
        "medium",
        "screen",
    ),
    "a directory of root's programs that another may write": (
        lambda image: (image.root / "usr/local/bin").chmod(0o777),
        "path-writable",
        "high",
        "everybody",
    ),
}


def test_a_host_on_which_nothing_stands_open_has_no_finding(image: HostImage) -> None:
    assert image.scan().findings == ()


@pytest.mark.parametrize("name", DOORS)
def test_a_door_is_found_and_its_command_closes_it(image: HostImage, name: str) -> None:
    opens, code, severity, to = DOORS[name]
    opens(image)
    found = image.scan()
    assert [(one.code, one.severity) for one in found.findings] == [(code, severity)], found
    (door,) = found.findings
    assert to in door.to
    assert door.close.isprintable()
    close(door)
    assert image.scan().findings == ()


def test_another_key_on_the_same_line_is_another_finding(image: HostImage) -> None:
    path = image.write("/root/.ssh/authorized_keys", f"{KEY} eve\n")
    (before,) = image.scan().findings
    path.write_text(f"{KEY} mallory\n")
    (same,) = image.scan().findings
    path.write_text(f"{OTHER} eve\n")
    (other,) = image.scan().findings
    assert before.id("host:gpu1") == same.id("host:gpu1") != other.id("host:gpu1")


def test_the_same_key_with_fewer_options_is_another_finding(image: HostImage) -> None:
    image.write("/root/.ssh/authorized_keys", f'from="10.0.0.1",restrict {KEY} eve\n{KEY} eve\n{KEY} again\n')
    assert len(image.found("ssh-key")) == 2


def test_a_key_in_the_options_or_the_comment_of_another_hides_none(image: HostImage) -> None:
    image.write("/root/.ssh/authorized_keys", f'command="a \\" {OTHER} b",no-pty {KEY} {OTHER}\n')
    (door,) = image.found("ssh-key")
    blob = KEY.split()[1]
    assert blob in door.close
    image.write("/root/.ssh/authorized_keys", f'command="a \\" {OTHER} b" x {KEY}\n"open {KEY}\n')
    assert image.scan().findings == ()


def test_what_lies_where_root_alone_gets_opens_nothing(image: HostImage) -> None:
    image.write("/var/lib/layers/1/x", b"x", mode=0o4755)
    assert [one.code for one in image.scan().findings] == ["setuid-program"]
    (image.root / "var/lib/layers").chmod(0o710)
    assert image.scan().findings == ()


def test_a_directory_of_rules_that_another_may_write_is_a_door(image: HostImage) -> None:
    (image.root / "etc/sudoers.d").chmod(0o777)
    (door,) = image.scan().findings
    assert (door.code, door.where) == ("sudo-writable", "/etc/sudoers.d")


def test_one_of_two_equal_doors_is_closed_and_the_other_stays(image: HostImage) -> None:
    image.add("/etc/sudoers.d/ops", "bob ALL=(ALL) ALL\nada ALL=(ALL) ALL\n")
    first, second = image.found("sudo-rule")
    close(first)
    assert [one.to for one in image.found("sudo-rule")] == [second.to]


HOSTILE = "\x1b]0;owned\x07\x1b[2J' ; touch pwned; '\n$(touch pwned)"


def test_names_that_act_on_a_terminal_or_a_shell_do_neither(image: HostImage, tmp_path: Path) -> None:
    image.write(f"/opt/{HOSTILE.replace('/', '')}", Path("/bin/dash").read_bytes(), mode=0o4755)
    raw = os.fsencode(image.root) + b"/opt/\xff\xfe-x"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    Path(os.fsdecode(raw)).chmod(0o4755)
    image.write("/root/.ssh/authorized_keys", f"{KEY} \x1b[31m\u202e{HOSTILE!r}\n")
    image.write("/var/spool/cron/crontabs/ada", "* * * * * \x1b[2Jcurl x|sh\n")
    found = image.scan().findings
    assert len(found) == 4
    for one in found:
        assert all(text.isprintable() for text in (one.where, one.opens, one.to, one.close)), one
        close(one)
    assert image.scan().findings == ()
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


def test_bytes_that_no_name_has_are_findings_and_no_defect(image: HostImage) -> None:
    image.add("/etc/passwd", "x\0y:x:1005:1005::/home/\0:/bin/sh\n")
    image.write("/etc/crontab", b"* * * * * root /opt/\0x /opt/\xff\n@reboot\n* *\n")
    image.write("/root/.ssh/authorized_keys", b"\0\0 ssh-ed25519 \0\n\xff\xfe\n")
    image.add("/etc/sudoers.d/x", "bob ALL=\0ALL\n\\\n\\")
    image.add("/etc/group", "a:b:c\n:::\n")
    image.write("/etc/systemd/system/x.service", b"[Service]\nExecStart=\nExecStart\nExecStart=@\nUser=\xff\n")
    image.write("/etc/doas.conf", "permit\n{\n")
    assert {one.severity for one in image.scan().findings} <= {"unknown", "high"}
    assert image.scan().unseen >= {"accounts", "sudo", "jobs"}


def test_a_hundred_thousand_keys_are_one_finding_more_than_a_thousand(image: HostImage) -> None:
    lines = []
    for number in range(100_000):
        raw = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + number.to_bytes(4) + bytes(28)
        lines.append(f"ssh-ed25519 {base64.b64encode(raw).decode()} {number}\n")
    image.write("/root/.ssh/authorized_keys", "".join(lines))
    found = image.scan().findings
    assert len(found) == 1001 < FINDINGS_MAX
    (rest,) = (one for one in found if one.code == "ssh-keys-too-many")
    close(rest)
    assert image.scan().findings == ()


@pytest.mark.parametrize(
    ("what", "where"),
    [
        pytest.param(
            lambda image: os.mkfifo(image.root / "root/.ssh/authorized_keys"), "/root/.ssh/authorized_keys", id="a FIFO"
        ),
        pytest.param(
            lambda image: image.write("/root/.ssh/authorized_keys", b"#" * ((16 << 20) + 1)),
            "/root/.ssh/authorized_keys",
            id="too large",
        ),
        pytest.param(
            lambda image: (image.root / "root/.ssh/authorized_keys").symlink_to("authorized_keys"),
            "/root/.ssh/authorized_keys",
            id="a loop",
        ),
        pytest.param(
            lambda image: image.add("/etc/sudoers", "bob ALL ALL ALL\n"), "/etc/sudoers:4", id="what sudo cannot read"
        ),
        pytest.param(
            lambda image: image.add("/etc/ssh/sshd_config", "Nonsense yes\n"),
            "/etc/ssh/sshd_config",
            id="what sshd cannot read",
        ),
        pytest.param(lambda image: image.add("/etc/passwd", "+::::::\n"), "/etc/passwd", id="accounts of NIS"),
        pytest.param(
            lambda image: image.write("/etc/nsswitch.conf", "passwd: files sss\n"),
            "/etc/nsswitch.conf",
            id="accounts of sssd",
        ),
        pytest.param(lambda image: (image.root / "etc/passwd").unlink(), "/etc/passwd", id="no accounts at all"),
    ],
)
def test_what_could_not_be_looked_at_is_a_finding_and_never_a_pass(
    image: HostImage, what: Callable[[HostImage], object], where: str
) -> None:
    what(image)
    found = image.scan()
    assert ("could-not-look", where) in {(one.code, one.at) for one in found.findings if one.severity == "unknown"}
    assert found.unseen


def test_a_file_that_may_not_be_read_is_a_finding(image: HostImage) -> None:
    """Root reads everything, so somebody else scans."""
    for path in (image.root / "etc" / "shadow", image.root / "etc" / "sudoers"):
        path.chmod(0o600)
    for path in [image.root, *image.root.parents]:
        if path.stat().st_uid == 0 and path != Path("/") and not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        found = image.scan()
    finally:
        os.seteuid(0)
    assert {"/etc/shadow", "/etc/sudoers"} <= {one.where for one in found.findings if one.severity == "unknown"}
    assert {"accounts", "sudo"} <= found.unseen


def test_a_link_in_an_image_does_not_lead_out_of_it(image: HostImage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(f"{KEY} not-of-this-host\n")
    keys = image.root / "root/.ssh/authorized_keys"
    for target in (str(outside), f"../../../../../../../../../..{outside}", "/etc/../../../../.." + str(outside)):
        keys.unlink(missing_ok=True)
        keys.symlink_to(target)
        assert image.scan().findings == ()
    keys.unlink()
    image.write("/etc/keys", f"{KEY} of-this-host\n")
    keys.symlink_to("/etc/keys")
    assert [one.code for one in image.scan().findings] == ["ssh-key"]


def test_keys_are_looked_for_where_sshd_looks(image: HostImage) -> None:
    image.add("/etc/ssh/sshd_config", "AuthorizedKeysFile /etc/ssh/keys/%u /srv/%U/%%k none\n")
    image.write("/etc/ssh/keys/ada", KEY)
    image.write("/srv/1001/%k", OTHER)
    image.write("/root/.ssh/authorized_keys", f"{KEY} sshd does not read this\n")
    assert sorted((one.where, one.opens[:5]) for one in image.scan().findings) == [
        ("/etc/ssh/keys/ada", "`ada`"),
        ("/srv/1001/%k", "`bob`"),
    ]


def test_a_match_in_a_file_that_an_included_file_includes_is_seen(image: HostImage) -> None:
    image.add("/etc/ssh/sshd_config", "Include /opt/ssh/*.inc\n")
    image.write("/opt/ssh/a.inc", "Include /srv/more\n")
    image.write("/srv/more", "Match User bob\n  PasswordAuthentication yes\n")
    (door,) = image.scan().findings
    assert (door.code, "as bob" in door.to) == ("ssh-passwords", True)
    close(door)
    assert image.scan().findings == ()


def test_what_depends_on_a_connection_that_was_not_tried_is_a_finding(image: HostImage) -> None:
    image.add("/etc/ssh/sshd_config", "Match Host *.acme.example,,x\n  PasswordAuthentication yes\n")
    assert image.scan().unseen == {"ssh"}


def test_our_own_command_is_no_door_unless_others_may_write_it(image: HostImage) -> None:
    program = image.write("/opt/keyturn/bin/keyturn", "#!/bin/sh\n", mode=0o755)
    image.add(
        "/etc/ssh/sshd_config",
        "AuthorizedKeysCommand /opt/keyturn/bin/keyturn gate %u %k\nAuthorizedKeysCommandUser nobody\n",
    )
    assert image.scan().findings == ()
    program.chmod(0o777)
    assert [one.code for one in image.scan().findings] == ["ssh-keys-command"]


def test_a_gate_that_observes_is_a_door_and_one_that_cannot_be_read_is_unknown(image: HostImage) -> None:
    place = "/var/lib/keyturn-host/gate.toml"
    (image.root / "var/lib/keyturn-host").mkdir(parents=True, exist_ok=True)
    image.write(place, 'name = "gpu1"\nmode = "observe"\nobserve_until = 1800000000\n')
    [found] = [one for one in image.scan().findings if one.area == "gates"]
    assert (found.code, found.severity) == ("gate-observes", "high")
    assert found.close.startswith("keyturn gate host install gpu1 ")
    image.write(place, "mode = \n")
    [found] = [one for one in image.scan().findings if one.area == "gates"]
    assert found.severity == "unknown"
    image.write(place, 'name = "gpu1"\nmode = "enforce"\n')
    assert not [one for one in image.scan().findings if one.area == "gates"]
