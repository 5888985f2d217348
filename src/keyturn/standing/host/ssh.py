"""Find what sshd lets in without a grant: by keys in files, by passwords, by authorities, by what other hosts say.

sshd itself says what its configuration means (`sshd -T`), for each account where `Match` tells accounts apart, from everywhere
and from each address that a `Match` names. Nothing here reads the configuration but for where a line came from.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from keyturn.errors import KeyturnError
from keyturn.standing.closing import give_to_root, typed
from keyturn.standing.finding import Finding, found, unseen
from keyturn.standing.host.accounts import Account, Accounts, lines_of
from keyturn.standing.host.ssh_keys import keys_in
from keyturn.standing.host.tree import HostTools, HostTree, look, look_at, look_into

__all__ = ["AREA", "scan_ssh"]

AREA = "ssh"
CONFIG = "/etc/ssh/sshd_config"
FILES_MAX, QUESTIONS_MAX, ADDRESSES_MAX = 200, 5000, 32
_ANYWHERE = "192.0.2.1"
"""An address for documentation (RFC 5737), which no `Match` names: from anywhere."""

_OURS = re.compile(r"\A(?:/\S*/)?keyturn(?:-host)?\Z")
_NOT_ASKED = frozenset({"host", "localaddress", "localport", "rdomain", "invalid-user"})
_NONE = frozenset({"", "none", "no"})


@dataclass(frozen=True, slots=True)
class _Door:
    """A setting that opens when it is not one of `shut`; `close` is the value that shuts it."""

    keyword: str
    code: str
    opens: str
    to: str
    severity: str
    close: str = "no"
    shut: frozenset[str] = _NONE


_DOORS = (
    _Door(
        "passwordauthentication", "ssh-passwords", "accounts by their passwords, by ssh", "whoever knows one", "medium"
    ),
    _Door(
        "kbdinteractiveauthentication",
        "ssh-passwords",
        "accounts by what PAM asks, as a rule a password",
        "whoever knows one",
        "medium",
    ),
    _Door(
        "permitemptypasswords",
        "ssh-empty-passwords",
        "accounts without a password",
        "everybody who reaches the host",
        "high",
    ),
    _Door("permitrootlogin", "ssh-root", "root, by ssh", "whoever has a key or a password of root", "medium"),
    _Door(
        "hostbasedauthentication",
        "ssh-host-based",
        "accounts by what another host says",
        "root on a host in shosts.equiv",
        "high",
    ),
    _Door(
        "gssapiauthentication",
        "ssh-kerberos",
        "accounts by a Kerberos ticket",
        "whoever has one, and the realm's operators",
        "medium",
    ),
    _Door(
        "kerberosauthentication",
        "ssh-kerberos",
        "accounts by a Kerberos password",
        "whoever has one, and the realm's operators",
        "medium",
    ),
    _Door(
        "trustedusercakeys",
        "ssh-authority",
        "every account by a certificate",
        "whoever holds the authority's key",
        "high",
        "none",
    ),
    _Door(
        "authorizedprincipalscommand",
        "ssh-principals",
        "whom a program names",
        "whoever may change it",
        "medium",
        "none",
    ),
    _Door(
        "permituserenvironment",
        "ssh-environment",
        "what LD_PRELOAD in ~/.ssh/environment makes of a forced command",
        "whoever has a key",
        "low",
    ),
)


def scan_ssh(tree: HostTree, tools: HostTools, accounts: Accounts) -> Iterator[Finding]:
    """Look at sshd's configuration and at every file with keys that it names, for every account."""
    main = yield from look(tree, AREA, CONFIG)
    settings: dict[tuple[str, str], Mapping[str, str]] = {}
    if main is not None:
        files = yield from _configuration(tree, main)
        everyone = Account("", "x", 1, 1, "/", "/bin/sh")
        divided = any(words[0] == "match" for _, words in _directives(files))
        users = accounts.users if divided else ()
        addresses = (_ANYWHERE, *_addresses(files))
        if len(users) * len(addresses) > QUESTIONS_MAX:
            yield unseen(AREA, CONFIG, f"`Match` tells more than {QUESTIONS_MAX} cases apart: not all were looked at")
            users = users[: QUESTIONS_MAX // len(addresses)]
        for kind in sorted(_criteria(files) & _NOT_ASKED):
            yield unseen(AREA, CONFIG, f"what `Match {kind}` says was not looked at: it depends on the connection")
        for address in addresses:
            for user in (everyone, *users):
                try:
                    said = tools.sshd(user=user.name or "keyturn-nobody", address=address)
                except KeyturnError as err:
                    yield unseen(AREA, CONFIG, err.message, close=err.hint)
                    break
                settings[(user.name, address)] = _settings(said)
        yield from _doors(tree, settings, files)
    for user in accounts.users:
        yield from _keys(tree, user, accounts, [one for (name, _), one in settings.items() if name in ("", user.name)])


def _configuration(tree: HostTree, main: bytes) -> Generator[Finding, None, Mapping[str, Sequence[str]]]:
    """Every file that the configuration is made of, with its lines: which cases there are, and where a line is."""
    files: dict[str, list[str]] = {}
    wanted: list[tuple[str, bytes | None]] = [(CONFIG, main)]
    while wanted:
        path, raw = wanted.pop(0)
        if path in files:
            continue
        if len(files) >= FILES_MAX:
            yield unseen(AREA, path, f"the configuration has more than {FILES_MAX} files")
            break
        content = raw if raw is not None else (yield from look(tree, AREA, path))
        files[path] = lines_of(content or b"")
        for _, words in _directives({path: files[path]}):
            for name in words[1:] if words[0] == "include" else ():
                directory, _, pattern = (name if name.startswith("/") else f"/etc/ssh/{name}").rpartition("/")
                if any(c in pattern for c in "*?["):
                    inside = yield from look_into(tree, AREA, directory)
                    wanted += [(one, None) for one in inside if fnmatchcase(one.rpartition("/")[2], pattern)]
                else:
                    wanted.append((f"{directory}/{pattern}", None))
    return files


def _criteria(files: Mapping[str, Sequence[str]]) -> frozenset[str]:
    return frozenset(word.lower() for _, words in _directives(files) if words[0] == "match" for word in words[1:])


def _directives(files: Mapping[str, Sequence[str]]) -> Iterator[tuple[tuple[str, int], list[str]]]:
    for path, lines in files.items():
        for number, line in enumerate(lines, 1):
            words = line.strip().replace("=", " ", 1).replace('"', " ").split()
            if words and not words[0].startswith("#"):
                yield (path, number), [words[0].lower(), *words[1:]]


def _addresses(files: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """An address of each pattern that a `Match Address` names."""
    named = []
    for _, words in _directives(files):
        if words[0] != "match":
            continue
        for kind, value in pairwise(words[1:]):
            if kind.lower() == "address":
                named += [one.partition("/")[0] for one in value.split(",") if not one.startswith("!")]
    plain = [re.sub("[*?]", "1", one) + (".1" * (3 - one.count(".")) if one.endswith("*") else "") for one in named]
    return tuple(dict.fromkeys(one for one in plain if re.match(r"[0-9a-fA-F:.]{2,45}\Z", one)))[:ADDRESSES_MAX]


def _settings(said: str) -> Mapping[str, str]:
    pairs = (line.partition(" ") for line in said.splitlines())
    return {keyword: value.strip() for keyword, _, value in pairs}


def _doors(
    tree: HostTree, settings: Mapping[tuple[str, str], Mapping[str, str]], files: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    doors = [*_DOORS]
    commands = {one.get("authorizedkeyscommand", "none").split(" ")[0] for one in settings.values()}
    for command in sorted(commands - _NONE):
        if not (_OURS.match(command) and (yield from _is_roots(tree, command))):
            doors.append(_keys_command(command))
    for door in doors:
        open_for = [who for who, one in settings.items() if one.get(door.keyword, "no").lower() not in door.shut]
        if not open_for:
            continue
        whole = ("", _ANYWHERE) in open_for
        names = sorted({name for name, _ in open_for if name})
        yield found(
            door.code,
            AREA,
            CONFIG,
            opens=f"{door.opens}: `{door.keyword} {settings[open_for[0]][door.keyword]}`",
            to=door.to if whole else f"{door.to}, as {', '.join(names) or 'somebody from an address that Match names'}",
            severity="high" if door.severity == "high" else "low" if door.severity == "low" else "medium",
            close=_close(tree, door, files, whole=whole),
            mark=(door.keyword, *sorted({settings[who][door.keyword] for who in open_for}), *([] if whole else names)),
        )


def _is_roots(tree: HostTree, path: str) -> Generator[Finding, None, bool]:
    status = yield from look_at(tree, AREA, path)
    if status is None:
        return False
    return status.uid == 0 and not status.mode & 0o022


def _keys_command(command: str) -> _Door:
    return _Door(
        "authorizedkeyscommand",
        "ssh-keys-command",
        f"whom `{command}` names",
        "whoever may change what it answers",
        "medium",
        "none",
        _NONE | {"keyturn"},
    )


def _close(tree: HostTree, door: _Door, files: Mapping[str, Sequence[str]], *, whole: bool) -> str:
    """For everybody, the first value wins: it is put before all others. What a Match says for some is taken out where it is."""
    steps = []
    numbers: dict[str, list[int]] = {}
    within: dict[str, bool] = {}
    for (path, number), words in _directives(files):
        within[path] = within.get(path, False) or words[0] == "match"
        if within[path] and words[0] == door.keyword and words[1:] != [door.close]:
            numbers.setdefault(path, []).append(number)
    for path, found_at in numbers.items():
        steps.append(typed("sed", "-i", "".join(f"{number}s/^/# /;" for number in found_at), tree.typed(path)))
    if whole:
        steps.append(typed("sed", "-i", f"1i {door.keyword} {door.close}", tree.typed(CONFIG)))
    return " && ".join([*steps, *(["systemctl reload ssh"] if tree.live else [])])


def _keys(
    tree: HostTree, user: Account, accounts: Accounts, settings: Sequence[Mapping[str, str]]
) -> Iterator[Finding]:
    named = [one.get("authorizedkeysfile", "") for one in settings] or [".ssh/authorized_keys .ssh/authorized_keys2"]
    authorities = {path for one in settings for path in one.get("trustedusercakeys", "none").split() if path != "none"}
    paths = dict.fromkeys(_expanded(pattern, user) for one in named for pattern in one.split() if pattern != "none")
    for path in paths:
        raw = yield from look(tree, AREA, path)
        if raw is None:
            continue
        yield from keys_in(raw, where=path, file=tree.typed(path), user=user.name, root=user.uid == 0, area=AREA)
        yield from _writable(tree, path, user, accounts)
    if user.uid == 0:
        for path in sorted(authorities):
            yield from look(tree, AREA, path)


def _writable(tree: HostTree, path: str, user: Account, accounts: Accounts) -> Iterator[Finding]:
    status = yield from look_at(tree, AREA, path)
    if status is None:
        return
    others = [one for one in accounts.writers(status) if one not in accounts.names(user.uid)]
    if others:
        yield found(
            "ssh-keys-writable",
            AREA,
            path,
            opens=f"`{user.name}`, by adding a key to this file",
            to=", ".join(others),
            severity="high" if user.uid == 0 else "medium",
            close=typed("chmod", "go-w", "--", tree.typed(path, followed=True))
            if status.uid in (0, user.uid)
            else give_to_root(tree.typed(path, followed=True)),  # and not to the user, who may have linked to another's
            mark=others,
        )


def _expanded(pattern: str, user: Account) -> str:
    names = {"%%": "%", "%h": user.home, "%u": user.name, "%U": str(user.uid)}
    path = re.sub(r"%[%huU]", lambda match: names[match[0]], pattern)
    return path if path.startswith("/") else f"{user.home.rstrip('/')}/{path}"
