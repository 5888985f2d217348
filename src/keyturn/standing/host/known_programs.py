"""The programs that Debian installs with a setuid or setgid bit or with capabilities: dpkg keeps no modes of its own.

A path is known together with its bits. Whatever else has such a bit is a finding, although its file is a package's: `chmod u+s`
on a packaged shell is the oldest door of all.
"""

from __future__ import annotations

__all__ = ["KNOWN", "merged"]

_SETUID = """
/usr/bin/chfn /usr/bin/chsh /usr/bin/gpasswd /usr/bin/newgrp /usr/bin/passwd /usr/bin/su /usr/bin/mount /usr/bin/umount
/usr/bin/sudo /usr/bin/pkexec /usr/bin/doas /usr/bin/fusermount /usr/bin/fusermount3 /usr/bin/ntfs-3g /usr/bin/newuidmap
/usr/bin/newgidmap /usr/bin/at /usr/bin/procmail /usr/bin/ping /usr/bin/traceroute6.iputils /usr/sbin/exim4
/usr/sbin/pppd /usr/sbin/mount.cifs /usr/sbin/mount.nfs /usr/sbin/pam_extrausers_chkpwd /usr/bin/bwrap /usr/bin/firejail
/usr/lib/dbus-1.0/dbus-daemon-launch-helper /usr/lib/openssh/ssh-keysign /usr/lib/policykit-1/polkit-agent-helper-1
/usr/lib/polkit-1/polkit-agent-helper-1 /usr/lib/xorg/Xorg.wrap /usr/lib/snapd/snap-confine
/usr/lib/chromium/chrome-sandbox /usr/lib/eject/dmcrypt-get-device /usr/lib/spice-gtk/spice-client-glib-usb-acl-helper
/usr/libexec/lxc/lxc-user-nic /usr/libexec/spice-gtk/spice-client-glib-usb-acl-helper /usr/libexec/camel-lock-helper-1.2
"""
_SETGID = """
/usr/bin/chage /usr/bin/expiry /usr/bin/crontab /usr/bin/ssh-agent /usr/bin/wall /usr/bin/write /usr/bin/bsd-write
/usr/bin/write.ul /usr/bin/dotlockfile /usr/bin/mlocate /usr/bin/plocate /usr/bin/locate /usr/bin/at /usr/bin/screen
/usr/bin/mail-lock /usr/bin/mail-unlock /usr/bin/mail-touchlock /usr/bin/procmail /usr/bin/lockfile
/usr/sbin/unix_chkpwd /usr/sbin/pam_extrausers_chkpwd /usr/sbin/postdrop /usr/sbin/postqueue
/usr/lib/x86_64-linux-gnu/utempter/utempter /usr/lib/aarch64-linux-gnu/utempter/utempter /usr/lib/xorg/Xorg.wrap
/usr/libexec/camel-lock-helper-1.2
"""
_CAPABLE = """
/usr/bin/ping /usr/bin/mtr-packet /usr/bin/dumpcap /usr/bin/newuidmap /usr/bin/newgidmap /usr/bin/arping /usr/bin/fping
/usr/bin/clockdiff /usr/lib/x86_64-linux-gnu/gstreamer1.0/gstreamer-1.0/gst-ptp-helper
/usr/lib/aarch64-linux-gnu/gstreamer1.0/gstreamer-1.0/gst-ptp-helper /usr/bin/kwin_wayland /usr/bin/gnome-keyring-daemon
"""

KNOWN: dict[str, frozenset[str]] = {
    "setuid": frozenset(_SETUID.split()),
    "setgid": frozenset(_SETGID.split()),
    "capabilities": frozenset(_CAPABLE.split()),
}


def merged(path: str) -> str:
    """The path as a merged /usr has it.

    >>> merged("/bin/su"), merged("/usr/bin/su"), merged("/srv/bin")
    ('/usr/bin/su', '/usr/bin/su', '/srv/bin')
    """
    first = path.split("/", 2)[1] if path.count("/") > 1 else ""
    return f"/usr{path}" if first in ("bin", "sbin", "lib", "lib64") else path
