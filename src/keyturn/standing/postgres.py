"""Find what a PostgreSQL server lets in or allows without a grant: roles, lines of pg_hba.conf, owners, functions, defaults.

What was read of the server is a value (`Server`), which `adapters.scans.scan_postgres` collects; this judges it. The account of a
postgres gate, and its lines, are no door where the server has them as the gate demands (`standing.gate_doors`), and nobody comes
in by them but the gate. Any other gate's account is a superuser or owner like any other, and accepted by two people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyturn.standing import gate_doors
from keyturn.standing.closing import comment_out, typed
from keyturn.standing.finding import Finding, Scan, Severity, found, gathered, unseen
from keyturn.standing.gate_doors import HbaRule, IdentLine

__all__ = ["DefaultRight", "Definer", "HbaLine", "Owner", "Role", "Server", "scan_postgres", "sql_name"]

_BOOTSTRAP_OID = 10
_EVERYWHERE = frozenset({"0.0.0.0", "::", "all"})  # noqa: S104  # an address that is read, and none that is bound
_PREDEFINED: Mapping[str, tuple[str, Severity]] = {
    "pg_execute_server_program": ("programs on the server, as its own account", "high"),
    "pg_write_server_files": ("files of the server, for writing", "high"),
    "pg_read_server_files": ("files of the server, its data included", "high"),
    "pg_write_all_data": ("every table, for writing", "high"),
    "pg_read_all_data": ("every table, for reading", "medium"),
    "pg_create_subscription": ("connections to elsewhere, as the server", "medium"),
}


@dataclass(frozen=True, slots=True)
class Role:
    """One role. `password` is None when it could not be read, else whether it has one; `member_of` are its groups, directly."""

    oid: int
    name: str
    superuser: bool
    create_role: bool
    bypass_rls: bool
    replication: bool
    login: bool
    password: bool | None
    member_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HbaLine:
    """One line of pg_hba.conf as the server reads it. `error` is why it does not."""

    path: str
    number: int
    kind: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    netmask: str
    method: str
    options: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class Owner:
    """A database or schema: who owns it, and whether everybody may create in it."""

    kind: str
    database: str
    name: str
    owner: str
    everybody_creates: bool


@dataclass(frozen=True, slots=True)
class Definer:
    """A function that runs as its owner, whoever calls it. `signature` is quoted as SQL has it."""

    database: str
    signature: str
    owner: str


@dataclass(frozen=True, slots=True)
class DefaultRight:
    """What whoever creates something gives to everybody at once: as ALTER DEFAULT PRIVILEGES has it, already quoted."""

    database: str
    creator: str
    within: str
    privilege: str
    on: str


@dataclass(frozen=True, slots=True)
class Server:
    """What was read. `unread` are areas that this role may not see, with the reason and the SQL that lets it."""

    connection: str
    roles: tuple[Role, ...]
    hba: tuple[HbaLine, ...]
    owners: tuple[Owner, ...]
    definers: tuple[Definer, ...]
    defaults: tuple[DefaultRight, ...]
    unread: tuple[tuple[str, str, str], ...]
    ident: tuple[IdentLine, ...] = ()


def scan_postgres(server: Server, *, gate_user: str = "") -> Scan:
    """Judge `server`; `gate_user` of the operating system runs a postgres gate there, if any does."""
    return gathered(_findings(server, gate_user))


def sql_name(name: str) -> str:
    """An identifier as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def _findings(server: Server, gate_user: str) -> Iterator[Finding]:
    gated = bool(gate_user) and _gated(server, gate_user)
    for area, why, how in server.unread:
        yield unseen(area, area, why, close=_sql(server, how))
    superusers = frozenset(role.name for role in server.roles if role.superuser)
    logins = frozenset(role.name for role in server.roles if role.login)
    for role in server.roles:
        yield from _role(server, role, superusers, gated=gated)
    for number, line in enumerate(server.hba):
        if not (gated and number < len(gate_doors.rules(""))):
            yield from _hba(server, line)
    for one in server.owners:
        yield from _owner(server, one, logins - superusers)
    for definer in server.definers:
        if definer.owner in superusers:
            yield found(
                "pg-definer",
                "functions",
                f"{definer.database}: {definer.signature}",
                opens=f"what the function does, as the superuser `{definer.owner}`",
                to="every role that may connect",
                severity="high",
                close=_sql(
                    server, f"REVOKE EXECUTE ON FUNCTION {definer.signature} FROM PUBLIC", database=definer.database
                ),
                mark=(definer.owner,),
            )
    for right in server.defaults:
        within = f" IN SCHEMA {right.within}" if right.within else ""
        revoke = f"ALTER DEFAULT PRIVILEGES FOR ROLE {right.creator}{within} REVOKE {right.privilege} ON {right.on} FROM PUBLIC"
        yield found(
            "pg-default-right",
            "defaults",
            f"{right.database}: what {right.creator} creates{within.lower()}",
            opens=f"{right.privilege} on {right.on.lower()} to come",
            to="every role that may connect",
            severity="medium",
            close=_sql(server, revoke, database=right.database),
            mark=(right.privilege, right.on),
        )


def _gated(server: Server, user: str) -> bool:
    """Whether a gate's account and lines are there as the gate demands, and nobody is a member of the account."""
    lines = [
        HbaRule(
            one.kind, one.databases, one.users, one.address if not one.netmask else "masked", one.method, one.options
        )
        for one in server.hba
    ]
    member = any(gate_doors.ACCOUNT in role.member_of for role in server.roles)
    return not member and gate_doors.installed(lines, server.ident, user=user)


def _role(server: Server, role: Role, superusers: frozenset[str], *, gated: bool) -> Iterator[Finding]:
    if not role.login:
        return  # nobody is it, but members of it, who are found by themselves
    name = sql_name(role.name)
    first = role.oid == _BOOTSTRAP_OID
    rights: list[tuple[bool, str, str, str, Severity]] = [
        (
            role.superuser,
            "pg-superuser",
            "everything",
            f"ALTER ROLE {name} {'NOLOGIN' if first else 'NOSUPERUSER'}",
            "high",
        ),
        (
            role.create_role and not role.superuser and not (gated and role.name == gate_doors.ACCOUNT),
            "pg-create-role",
            "any role that it makes",
            f"ALTER ROLE {name} NOCREATEROLE",
            "medium",
        ),
        (
            role.replication and not role.superuser,
            "pg-replication",
            "the whole cluster, for reading",
            f"ALTER ROLE {name} NOREPLICATION",
            "high",
        ),
        (
            role.bypass_rls and not role.superuser,
            "pg-bypass-rls",
            "rows that policies hide",
            f"ALTER ROLE {name} NOBYPASSRLS",
            "medium",
        ),
        (
            role.password is True,
            "pg-password",
            "the role, by a password",
            f"ALTER ROLE {name} PASSWORD NULL",
            "high" if role.superuser else "medium",
        ),
    ]
    for there, code, opens, close, severity in rights:
        if there:
            yield found(
                code,
                "roles",
                role.name,
                opens=opens,
                to=f"whoever connects as `{role.name}`",
                severity=severity,
                close=_sql(server, close),
            )
    if role.superuser:
        return
    for group, through in _becomes(server, role).items():
        if group not in superusers | _PREDEFINED.keys():
            continue
        opens_by, level = _PREDEFINED.get(group, ("everything, by SET ROLE", "high"))
        yield found(
            "pg-member",
            "roles",
            role.name,
            opens=f"{opens_by}: a member of `{group}`",
            to=f"whoever connects as `{role.name}`",
            severity=level,
            close=_sql(server, f"REVOKE {sql_name(through)} FROM {name} CASCADE"),
            mark=(group,),
        )


def _becomes(server: Server, role: Role) -> Mapping[str, str]:
    """Each role that `role` is a member of, by groups of groups, with the group of its own that leads there."""
    groups = {one.name: one.member_of for one in server.roles}
    found_by = {name: name for name in role.member_of}
    waiting = list(role.member_of)
    while waiting:
        at = waiting.pop()
        for further in groups.get(at, ()):
            if further not in found_by:
                found_by[further] = found_by[at]
                waiting.append(further)
    return found_by


def _hba(server: Server, line: HbaLine) -> Iterator[Finding]:
    if line.error:
        yield unseen("hba", line.path, f"a line that the server does not read: {line.error}", line=line.number)
        return
    if line.method == "reject":
        return
    text = " ".join(
        (line.kind, ",".join(line.databases), ",".join(line.users), line.address, line.netmask, line.method)
    ).strip()
    everywhere = line.address in _EVERYWHERE and line.netmask in ("", "0.0.0.0", "::")  # noqa: S104  # read, and not bound
    severity: Severity
    match line.method:
        case "trust":
            severity, how = "high", "without any proof"
        case "password" | "md5" | "scram-sha-256" | "ldap" | "radius" | "pam" | "bsd":
            severity, how = "high" if everywhere else "medium", f"by a password ({line.method})"
        case "peer" | "ident":
            severity, how = "medium" if line.method == "ident" else "low", f"by the name of an account ({line.method})"
        case _:
            severity, how = "medium", f"by {line.method}"
    where = "everywhere" if everywhere else line.address or "the server's own host"
    reload = _sql(server, "SELECT pg_reload_conf()")
    yield found(
        "pg-hba",
        "hba",
        line.path,
        opens=f"{', '.join(line.databases)} as {', '.join(line.users)}, {how}",
        to=f"whoever connects from {where}",
        severity=severity,
        close=f"{comment_out(line.path, line.number, line.number)} && {reload}",
        mark=(text, *line.options),
        line=line.number,
    )


def _owner(server: Server, one: Owner, logins: frozenset[str]) -> Iterator[Finding]:
    where = one.name if one.kind == "database" else f"{one.database}: {one.name}"
    what = f"{one.kind.upper()} {sql_name(one.name)}"
    if one.owner in logins:
        to = sql_name(next(role.name for role in server.roles if role.oid == _BOOTSTRAP_OID))
        yield found(
            "pg-owner",
            "owners",
            where,
            opens=f"all of the {one.kind}, whatever is granted to others",
            to=f"whoever connects as its owner `{one.owner}`",
            severity="medium",
            close=_sql(server, f"ALTER {what} OWNER TO {to}", database=one.database),
            mark=(one.kind, one.owner),
        )
    if one.everybody_creates:
        yield found(
            "pg-everybody-creates",
            "owners",
            where,
            opens=f"the {one.kind}, for making functions and tables that others run into",
            to="every role that may connect",
            severity="medium",
            close=_sql(server, f"REVOKE CREATE ON {what} FROM PUBLIC", database=one.database),
            mark=(one.kind,),
        )


def _sql(server: Server, statement: str, *, database: str | None = None) -> str:
    connection = server.connection if database is None else f"{server.connection} dbname={_conninfo_value(database)}"
    return typed("psql", connection, "--command", statement)


def _conninfo_value(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
