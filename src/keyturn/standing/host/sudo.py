"""Find what sudo and doas give: each rule by which somebody acts as another user without a grant.

A rule is what sudo's own parser makes of a line (`cvtsudoers -f json`); this file only joins continued lines and follows
includes, as sudoers(5) has them, so that each rule keeps its file and line. A line that sudo cannot read is a finding: another
version may read it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from keyturn.errors import KeyturnError
from keyturn.standing.closing import comment_out, give_to_root
from keyturn.standing.finding import Finding, found, unseen
from keyturn.standing.host.accounts import Accounts, lines_of
from keyturn.standing.host.tree import HostTools, HostTree, look, look_at, look_into

__all__ = ["AREA", "scan_doas", "scan_sudo"]

AREA = "sudo"
_FILES_MAX, _RULES_MAX = 200, 5000
_SHELLS = frozenset(
    {
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "fish",
        "su",
        "sudo",
        "env",
        "vi",
        "vim",
        "less",
        "more",
        "find",
        "awk",
        "python3",
        "perl",
        "tar",
        "docker",
        "systemctl",
    }
)
"""Programs that give a shell to whoever runs them as another user, or are one."""

_Item = dict[str, object]


class _CommandSpec(msgspec.Struct, frozen=True):
    Commands: tuple[_Item, ...] = ()
    Options: tuple[_Item, ...] = ()
    runasusers: tuple[_Item, ...] = ()
    runasgroups: tuple[_Item, ...] = ()


class _UserSpec(msgspec.Struct, frozen=True):
    User_List: tuple[_Item, ...] = ()
    Cmnd_Specs: tuple[_CommandSpec, ...] = ()


class _Default(msgspec.Struct, frozen=True):
    Binding: tuple[_Item, ...] = ()
    Options: tuple[_Item, ...] = ()


class _Line(msgspec.Struct, frozen=True):
    User_Specs: tuple[_UserSpec, ...] = ()
    Defaults: tuple[_Default, ...] = ()
    User_Aliases: dict[str, tuple[_Item, ...]] = {}
    Command_Aliases: dict[str, tuple[_Item, ...]] = {}


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of sudoers with its continuations: its first and last number, and what sudo reads there."""

    path: str
    first: int
    last: int
    text: str
    line: _Line


def scan_sudo(tree: HostTree, tools: HostTools, accounts: Accounts) -> Iterator[Finding]:
    """Look at sudoers and all that it includes."""
    rules: list[_Rule] = []
    lines, paths = yield from _lines(tree)
    for path, first, last, text in lines:
        if len(rules) >= _RULES_MAX:
            yield unseen(AREA, path, f"more than {_RULES_MAX} rules")
            break
        try:
            said = tools.sudoers(text.encode("utf-8", "surrogateescape") + b"\n")
            rules.append(
                _Rule(path, first, last, text, msgspec.json.decode(said, type=_Line) if said.strip() else _Line())
            )
        except (KeyturnError, msgspec.MsgspecError, UnicodeError, RecursionError) as err:
            why = err.message if isinstance(err, KeyturnError) else "what cvtsudoers says of it cannot be read"
            yield unseen(
                AREA,
                path,
                why,
                close=getattr(err, "hint", "") or comment_out(tree.typed(path), first, last),
                line=first,
            )
            if isinstance(err, KeyturnError) and err.code == "scan-tool-missing":
                break
    users = {name: items for rule in rules for name, items in rule.line.User_Aliases.items()}
    commands = {name: items for rule in rules for name, items in rule.line.Command_Aliases.items()}
    for rule in rules:
        for spec in rule.line.User_Specs:
            yield from _rule(tree, rule, spec, users, commands)
        for default in rule.line.Defaults:
            yield from _defaults(tree, rule, default)
    for path in paths:
        status = yield from look_at(tree, AREA, path)
        if status is not None and (others := accounts.writers(status)):
            yield found(
                "sudo-writable",
                AREA,
                path,
                opens="root, by adding a rule",
                to=", ".join(others),
                severity="high",
                close=give_to_root(tree.typed(path, followed=True)),
                mark=others,
            )


def _lines(tree: HostTree) -> Generator[Finding, None, tuple[list[tuple[str, int, int, str]], list[str]]]:
    """Every logical line of sudoers and what it includes, in sudo's order; and the files and directories that they are in."""
    wanted, known, lines = ["/etc/sudoers"], dict[str, None](), []
    while wanted:
        path = wanted.pop(0)
        if path in known:
            continue
        known[path] = None
        if len(known) > _FILES_MAX:
            yield unseen(AREA, path, f"more than {_FILES_MAX} files are included")
            break
        raw = yield from look(tree, AREA, path)
        for first, last, text in _joined(lines_of(raw or b"")):
            words = text.split(None, 1)
            match words:
                case ["@include" | "#include", name]:
                    wanted.append(_beside(path, name))
                case ["@includedir" | "#includedir", name]:
                    known[_beside(path, name)] = None
                    inside = yield from look_into(tree, AREA, _beside(path, name))
                    # sudo passes over names with a dot or a tilde at the end.
                    wanted += [one for one in inside if "." not in one.rpartition("/")[2] and not one.endswith("~")]
                case [] | [str()] | [str(), str()] if not words or (
                    words[0].startswith("#") and not words[0][1:2].isdigit()
                ):
                    pass
                case _:
                    lines.append((path, first, last, text))
    return lines, list(known)


def _joined(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    first, text = 1, ""
    for number, line in enumerate(lines, 1):
        if line.endswith("\\"):
            text += line[:-1] + " "
            continue
        yield first, number, (text + line).strip()
        first, text = number + 1, ""
    if text:
        yield first, len(lines), text.strip()


def _beside(path: str, name: str) -> str:
    name = name.strip().strip('"').replace("\\ ", " ")
    return name if name.startswith("/") else f"{path.rpartition('/')[0]}/{name}"


def _names(items: Sequence[_Item], aliases: Mapping[str, Sequence[_Item]], depth: int = 0) -> Iterator[str]:
    """Who or what a list says, aliases in their place; `!` before whatever it leaves out."""
    signs = {
        "usergroup": "%",
        "nonunixgroup": "%:",
        "netgroup": "+",
        "userid": "#",
        "usergid": "%#",
        "nonunixgid": "%:#",
    }
    for item in items:
        kind, value = next(
            (
                (key, value)
                for key, value in item.items()
                if key not in ("negated", "sha224", "sha256", "sha384", "sha512")
            ),
            ("", ""),
        )
        sign = "!" if item.get("negated") else ""
        if kind in ("useralias", "cmndalias", "runasalias") and str(value) in aliases and depth < 8:
            yield from (sign + one for one in _names(aliases[str(value)], aliases, depth + 1))
        else:
            yield f"{sign}{signs.get(kind, '')}{value}"


def _rule(
    tree: HostTree,
    rule: _Rule,
    spec: _UserSpec,
    users: Mapping[str, Sequence[_Item]],
    commands: Mapping[str, Sequence[_Item]],
) -> Iterator[Finding]:
    who = list(_names(spec.User_List, users))
    if set(who) == {"root"}:
        return  # root may do all of it already
    for part in spec.Cmnd_Specs:
        named = list(_names(part.Commands, commands))
        programs = {one.split()[0].rpartition("/")[2] for one in named if one and one[0] != "!"}
        runas = list(_names(part.runasusers, users)) or ([] if part.runasgroups else ["root"])
        asked = not any(option.get("authenticate") is False for option in part.Options)
        all_of_it = "ALL" in named or bool(programs & _SHELLS)
        as_root = bool({"root", "ALL", "#0"} & set(runas))
        groups = list(_names(part.runasgroups, {}))
        target = ", ".join(runas + [f"group {one}" for one in groups]) or "himself"
        yield found(
            "sudo-rule" if asked else "sudo-no-password",
            AREA,
            rule.path,
            opens=f"{target}, by {', '.join(named[:20])}" + ("" if asked else ", without a password"),
            to=", ".join(who[:50]),
            severity="high" if as_root and all_of_it else "medium",
            close=comment_out(tree.typed(rule.path), rule.first, rule.last),
            mark=(rule.text, *named, *runas),
            line=rule.first,
        )


def _defaults(tree: HostTree, rule: _Rule, default: _Default) -> Iterator[Finding]:
    for option in default.Options:
        if option.get("authenticate") is False or option.get("timestamp_timeout") == "-1":
            yield found(
                "sudo-no-password",
                AREA,
                rule.path,
                opens="what rules give, without a password",
                to=", ".join(_names(default.Binding, {})) or "everybody with a rule",
                severity="medium",
                close=comment_out(tree.typed(rule.path), rule.first, rule.last),
                mark=(rule.text,),
                line=rule.first,
            )


def scan_doas(tree: HostTree) -> Iterator[Finding]:
    """Look at doas.conf(5): every `permit` is a door."""
    path = "/etc/doas.conf"
    raw = yield from look(tree, AREA, path)
    for first, last, text in _joined(lines_of(raw or b"")):
        words = text.split()
        if not words or words[0] != "permit":
            continue
        who = next(
            (
                word
                for word in words[1:]
                if word not in ("nopass", "persist", "keepenv", "nolog") and word[0] not in "{}" and "=" not in word
            ),
            "",
        )
        yield found(
            "doas-rule",
            AREA,
            path,
            opens=f"another user: `{text}`",
            to=who,
            severity="medium" if "cmd" in words else "high",
            close=comment_out(tree.typed(path), first, last),
            mark=(text,),
            line=first,
        )
