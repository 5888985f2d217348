"""What sshd runs on a host with a gate: asks the resident verifier for a key, and starts what a session asked for.

    keyturn-host ask ACCOUNT TYPE KEY     AuthorizedKeysCommand, as its own user: prints the verifier's line, or nothing
    keyturn-host session WORDS            the forced command of every such line, as the account that was let in

`keyturn gate host install` copies this file to a place that root alone writes, with the interpreter in its first line and the
socket's path at SOCKET below. Standard library alone, and little of it: it is started for each login. It decides nothing: without
an answer it prints nothing, and sshd refuses. What a session may not do, sshd holds up (`restrict`); this holds up sftp and
the one command of a grant, for as long as the account's own start-up files run nothing else (docs/decisions/0100).
"""

from __future__ import annotations

import os
import sys

SOCKET = "/run/keyturn-host/ask"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
_ANSWER_WITHIN_S = 20.0
_ANSWER_BYTES_MAX = 64 * 1024
_SFTP_BYTES_MAX = 256 * 1024
_SFTP_ANSWERS = 16
_SFTP_INIT, _SFTP_VERSION, _SFTP_STATUS, _SFTP_DENIED = 1, 2, 101, 3


def ask(account: str, kind: str, key: str) -> int:
    """Print what the verifier answers, and nothing when it has no answer."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(_ANSWER_WITHIN_S)
            asked.connect(SOCKET)
            asked.sendall(f"{account}\n{kind} {key}\n".encode())
            asked.shutdown(socket.SHUT_WR)
            answer = b""
            while len(answer) <= _ANSWER_BYTES_MAX and (chunk := asked.recv(4096)):
                answer += chunk
    except OSError as err:
        sys.stderr.write(f"keyturn: the host's verifier does not answer: {err}\n")
        return 1
    if not answer.endswith(b"\n"):  # nothing, or cut off when the verifier ended: half a line lets nobody in
        return 1
    sys.stdout.write(answer.decode())
    return 0


def session(words: str) -> None:
    """Run what the session asked for, as far as its grant has it; does not return when it runs."""
    import base64
    import json
    import pwd
    import time

    said = json.loads(base64.urlsafe_b64decode(words))
    wanted = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    until = time.strftime("%H:%M:%S UTC", time.gmtime(said["until"]))
    name = shell.rpartition("/")[2]
    program = wanted.partition(" ")[0]
    if said["command"] is not None:
        os.execv(shell, [name, "-c", said["command"]])  # noqa: S606  # what the account's own shell is for
    elif program == "internal-sftp" or program.rpartition("/")[2] == "sftp-server":
        if not said["sftp"]:
            why = f"keyturn: {said['grant']} is without file transfer (sftp, scp): ask again by keyturn ssh --sftp"
            sys.stderr.write(f"{why}\n")
            refuse_sftp(why)
            sys.exit(1)
        server = next((path for path in SFTP_SERVERS if os.access(path, os.X_OK)), SFTP_SERVERS[0])
        os.execv(server, [server])  # noqa: S606  # a program of OpenSSH, without words of the session's
    elif wanted:
        os.execv(shell, [name, "-c", wanted])  # noqa: S606  # as sshd itself would
    if sys.stderr.isatty():
        sys.stderr.write(f"keyturn: {said['grant']}, granted by {', '.join(said['by'])}, ends at {until}\n")
    os.execv(shell, [f"-{name}"])  # noqa: S606  # a login shell


def refuse_sftp(why: str) -> None:
    """Tell a client of sftp `why` in its own protocol: what a subsystem writes to stderr, sshd throws away.

    It opens nothing: to its first message the answer is a version, to each of the few that follow a status with `why`, and that
    was all. draft-ietf-secsh-filexfer-02, sections 3, 4 and 7.
    """
    said = why.encode()
    for _ in range(_SFTP_ANSWERS):  # scp asks for what is there first, and sftp where it is
        head = sys.stdin.buffer.read(5)
        size = int.from_bytes(head[:4], "big") - 1
        if len(head) < 5 or not 4 <= size <= _SFTP_BYTES_MAX:
            return
        number = sys.stdin.buffer.read(size)[:4]
        if head[4] == _SFTP_INIT:
            answer = bytes((_SFTP_VERSION, 0, 0, 0, 3))
        else:
            answer = bytes((_SFTP_STATUS,)) + number + _SFTP_DENIED.to_bytes(4, "big")
            answer += len(said).to_bytes(4, "big") + said + b"\0\0\0\2en"
        sys.stdout.buffer.write(len(answer).to_bytes(4, "big") + answer)
        sys.stdout.buffer.flush()


def main() -> int:
    """Do what the first word says."""
    match sys.argv[1:]:
        case ["ask", account, kind, key]:
            return ask(account, kind, key)
        case ["session", words]:
            session(words)
            return 1
        case _:
            sys.stderr.write("keyturn-host: run by sshd, see `keyturn gate host install`\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
