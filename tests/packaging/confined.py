"""Run a command under a unit's confinement, as far as a process can lay it on itself: `confined.py UNIT COMMAND...`.

Another user than root (through a user namespace: files of whoever runs this are that user's), unless the unit says User=root; no
new privileges, no capability but those in its CapabilityBoundingSet, its SystemCallFilter, and MemoryDenyWriteExecute as systemd
does it: through libseccomp, with EPERM for what is forbidden.
Not here: mounts, devices and networks, which are for systemd itself to make.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
MASKED_EQUAL = 7
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
CLONE_NEWUSER = 0x10000000
USER = 1000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
UNKNOWN = -1
CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SYS_PTRACE": 19}
"""Those that a unit of ours keeps, by number (linux/capability.h)."""


class Argument(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64)]


seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
seccomp.seccomp_init.restype = ctypes.c_void_p
seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
seccomp.seccomp_rule_add_array.argtypes = [
    *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument))
]
seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
libc = ctypes.CDLL(None, use_errno=True)


def calls(group: str) -> Iterator[str]:
    if not group.startswith("@"):
        yield group
        return
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    for name in re.findall(r"^    ([@\w-]+)$", said, re.MULTILINE):
        yield from calls(name)


def add(context: int, action: int, name: str, *arguments: Argument) -> None:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number != UNKNOWN:  # not of this machine
        given = (Argument * len(arguments))(*arguments)
        done = seccomp.seccomp_rule_add_array(context, action, number, len(arguments), given)
        assert done in (0, -errno.EACCES), (name, done)  # EACCES: the default action already


def lay_on(unit: str) -> None:
    listed = re.findall(r"^SystemCallFilter=(~?)(.+)$", unit, re.MULTILINE)
    assert listed, "the unit filters nothing"
    allowed: set[str] = set()
    refused: set[str] = set()
    for tilde, groups in listed:
        named = {call for group in groups.split() for call in calls(group)}
        if tilde:
            refused |= named
            allowed -= named
        else:
            allowed |= named
    refuse = ERRNO | errno.EPERM
    if "\nMemoryDenyWriteExecute=yes\n" in unit:  # first: the other filter lets no further one be loaded
        context = seccomp.seccomp_init(ALLOW)
        both = PROT_WRITE | PROT_EXEC
        add(context, refuse, "mmap", Argument(2, MASKED_EQUAL, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            add(context, refuse, name, Argument(2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
        add(context, refuse, "shmat", Argument(2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
        load(context)
    context = seccomp.seccomp_init(refuse if allowed else ALLOW)
    for name in allowed or refused:
        add(context, ALLOW if allowed else refuse, name)
    load(context)


def load(context: int) -> None:
    assert seccomp.seccomp_load(context) == 0, "the filter was not loaded"


def become_another_user() -> None:
    user, group = os.getuid(), os.getgid()
    assert libc.unshare(CLONE_NEWUSER) == 0, "user namespaces are needed, as for bubblewrap"
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{USER} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{USER} {group} 1")


def main() -> None:
    unit = Path(sys.argv[1]).read_text(encoding="ascii")
    kept: set[int] = set()
    if "\nUser=root\n" in unit:
        [named] = re.findall(r"^CapabilityBoundingSet=(.+)$", unit, re.MULTILINE)
        kept = {CAPABILITIES[name] for name in named.split()}
    else:
        become_another_user()
    for number in set(range(64)) - kept:
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    lay_on(unit)
    os.execvp(sys.argv[2], sys.argv[2:])


main()
