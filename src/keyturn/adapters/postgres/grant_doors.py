"""Find what a PostgreSQL server lets people do beside a gate's grants: other ways in, and what a role can do beyond its grant.

`hba_lines` must be the first of pg_hba.conf: PostgreSQL takes the first line that matches. They let a role of a grant into the
one database, by TLS and a certificate of the gate alone, and the gate's own account by its Unix socket alone, as one user of
the operating system. `more_than_granted` asks about a role that exists already, in the transaction that made it: what PUBLIC
has, it has too.

`setting_up` is what a superuser types once. The gate itself never is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from keyturn.formats.sql_privileges import Privileges
from keyturn.standing.gate_doors import ACCOUNT, GROUP, MAP, HbaRule, rules

__all__ = ["ACCOUNT", "GROUP", "Only", "hba_lines", "ident_line", "more_than_granted", "other_ways_in", "setting_up"]

_LARGE_OBJECTS: Final = "lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea)"
"""What makes a large object: the one thing that everybody could own without CREATE anywhere. A role that owns a hundred thousand
is dropped by none, since each takes a lock, and trying it takes the locks of everybody else."""


@dataclass(frozen=True, slots=True)
class Only:
    """The tables of a schema that a grant is for, and the sequences that belong to them."""

    tables: tuple[str, ...]
    sequences: tuple[str, ...]


def hba_lines(database: str) -> tuple[str, ...]:
    """The lines that pg_hba.conf must begin with."""
    return tuple(rule.text for rule in rules(database))


def ident_line(user: str) -> str:
    """The line of pg_ident.conf: `user` of the operating system alone is the gate's account."""
    return f"{MAP} {user} {ACCOUNT}"


def setting_up(database: str, *, owner: str, ca_file: str) -> tuple[str, ...]:
    """What a superuser types in `database`, once; `owner` is the role that owns what people are let in to."""
    account, group = sql.Identifier(ACCOUNT), sql.Identifier(GROUP)
    named, owning = sql.Identifier(database), sql.Identifier(owner)
    statements = (
        sql.SQL("CREATE ROLE {} NOLOGIN").format(group),
        sql.SQL("CREATE ROLE {} LOGIN CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION PASSWORD NULL").format(account),
        sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(group, account),
        sql.SQL("GRANT pg_signal_backend, {} TO {}").format(owning, account),
        sql.SQL("GRANT SELECT ON pg_hba_file_rules, pg_ident_file_mappings TO {}").format(account),
        sql.SQL("GRANT EXECUTE ON FUNCTION pg_hba_file_rules(), pg_ident_file_mappings() TO {}").format(account),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {} WITH GRANT OPTION").format(named, account),
        sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(named),
        sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
        sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(sql.SQL(_LARGE_OBJECTS)),
        sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(_LARGE_OBJECTS), owning),
        sql.SQL("ALTER SYSTEM SET ssl_ca_file = {}").format(sql.Literal(ca_file)),
    )
    return tuple(statement.as_string(None) for statement in statements)


def other_ways_in(db: psycopg.Connection[tuple[Any, ...]], *, database: str, user: str) -> list[str]:
    """What of the server's files is not as it must be, in words; empty when all is."""
    found = []
    expected = rules(database)
    read = db.execute(
        "SELECT type, coalesce(database, '{}'), coalesce(user_name, '{}'), coalesce(address, ''), coalesce(auth_method, ''), "
        "coalesce(options, '{}') FROM pg_hba_file_rules ORDER BY line_number LIMIT %s",
        (len(expected),),
    ).fetchall()
    got = [
        HbaRule(kind, tuple(names), tuple(users), at, how, tuple(more)) for kind, names, users, at, how, more in read
    ]
    for number, rule in enumerate(expected):
        if number >= len(got) or got[number] != rule:
            found.append(f"pg_hba.conf: expected `{rule.text}` as its line {number + 1}")
    if db.execute("SELECT 1 FROM pg_hba_file_rules WHERE error IS NOT NULL LIMIT 1").fetchall():
        found.append("pg_hba.conf: a line of it is an error")
    mapped = db.execute(
        "SELECT sys_name, pg_username FROM pg_ident_file_mappings WHERE map_name = %s", (MAP,)
    ).fetchall()
    if mapped != [(user, ACCOUNT)]:
        found.append(f"pg_ident.conf: expected `{ident_line(user)}` as the only line of the map `{MAP}`")
    for setting, wanted in (("ssl", "on"), ("max_prepared_transactions", "0"), ("lo_compat_privileges", "off")):
        if db.execute("SELECT current_setting(%s)", (setting,)).fetchall() != [(wanted,)]:
            found.append(f"expected the setting {setting} = {wanted}")
    members = "SELECT pg_get_userbyid(member) FROM pg_auth_members WHERE roleid = %s::regrole"
    for (name,) in db.execute(members, (ACCOUNT,)).fetchall():
        found.append(f"role `{name}` is a member of `{ACCOUNT}`, and can be it")
    return found


def more_than_granted(
    db: psycopg.Connection[tuple[Any, ...]],
    role: str,
    schema: str,
    privileges: Privileges,
    only: Only | None,
    *,
    definers: Sequence[str],
) -> list[str]:
    """What `role` could do beyond `privileges` in `schema`, `only` on what that names, in words; empty when nothing."""
    parameters = {
        "role": role,
        "group": GROUP,
        "schema": schema,
        "tables": list(privileges.tables),
        "sequences": list(privileges.sequences),
        "definers": list(definers),
        "only_tables": None if only is None else list(only.tables),
        "only_sequences": None if only is None else list(only.sequences),
    }
    return [row[0] for row in db.execute(_MORE, parameters).fetchall()]


_MORE = """
WITH me AS (SELECT oid FROM pg_roles WHERE rolname = %(role)s),
reached AS (
  SELECT n.oid, n.nspname FROM pg_namespace n, me
  WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp_)'
    AND has_schema_privilege(me.oid, n.oid, 'USAGE')
)
SELECT p || ' in the database' FROM me, unnest(ARRAY['CREATE', 'TEMPORARY']) p
  WHERE has_database_privilege(me.oid, current_database(), p)
UNION ALL
SELECT 'CREATE in schema ' || n.nspname FROM pg_namespace n, me WHERE has_schema_privilege(me.oid, n.oid, 'CREATE')
UNION ALL
SELECT p || ' on ' || c.oid::regclass FROM me, pg_class c JOIN reached n ON n.oid = c.relnamespace,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
  WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT (n.nspname = %(schema)s AND p = ANY (%(tables)s)
      AND (%(only_tables)s::text[] IS NULL OR c.relname = ANY (%(only_tables)s::text[])))
    AND (has_table_privilege(me.oid, c.oid, p)
      OR p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(me.oid, c.oid, p))
UNION ALL
SELECT p || ' on ' || c.oid::regclass FROM me, pg_class c JOIN reached n ON n.oid = c.relnamespace,
    unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p
  WHERE c.relkind = 'S' AND NOT (n.nspname = %(schema)s AND p = ANY (%(sequences)s)
      AND (%(only_sequences)s::text[] IS NULL OR c.relname = ANY (%(only_sequences)s::text[])))
    AND has_sequence_privilege(me.oid, c.oid, p)
UNION ALL
SELECT 'the SECURITY DEFINER function ' || f.oid::regprocedure FROM me, pg_proc f JOIN reached n ON n.oid = f.pronamespace
  WHERE f.prosecdef AND has_function_privilege(me.oid, f.oid, 'EXECUTE')
    AND NOT format('%%s.%%s(%%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid)) = ANY (%(definers)s)
UNION ALL
SELECT 'the function ' || f.oid::regprocedure FROM me, pg_proc f
  WHERE f.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege(me.oid, f.oid, 'EXECUTE')
    AND f.proname IN ('pg_read_file', 'pg_read_binary_file', 'pg_stat_file', 'pg_ls_dir', 'pg_ls_logdir', 'pg_ls_waldir',
      'lo_import', 'lo_export', 'lo_create', 'lo_creat', 'lo_from_bytea',
      'pg_reload_conf', 'pg_hba_file_rules', 'pg_ident_file_mappings', 'pg_promote',
      'pg_create_restore_point', 'pg_switch_wal', 'pg_replication_origin_create')
UNION ALL
SELECT 'membership in ' || roleid::regrole FROM pg_auth_members, me
  WHERE member = me.oid AND roleid <> %(group)s::regrole OR member = %(group)s::regrole
UNION ALL
SELECT 'the foreign server ' || srvname FROM pg_foreign_server, me WHERE has_server_privilege(me.oid, srvname, 'USAGE')
UNION ALL
SELECT 'the setting ' || parname FROM pg_parameter_acl, me WHERE has_parameter_privilege(me.oid, parname, 'SET, ALTER SYSTEM')
ORDER BY 1
"""
