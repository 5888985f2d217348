"""Read of a PostgreSQL server what `standing.postgres` judges: roles, pg_hba.conf, owners, functions and default privileges.

Every statement reads, in a transaction that cannot write. What the role may not see is named in `unread`, with the grants that
let it: none of them lets it change anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keyturn.adapters.postgres.place import StorePlace
from keyturn.errors import Unavailable
from keyturn.standing.gate_doors import IdentLine
from keyturn.standing.postgres import DefaultRight, Definer, HbaLine, Owner, Role, Server, sql_name

try:
    import psycopg
    from psycopg.conninfo import make_conninfo
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "store-not-installed", "what speaks to PostgreSQL is not installed here", hint="pip install 'keyturn[server]'"
    ) from err

__all__ = ["read_server"]

_SESSION = "-c search_path=pg_catalog -c statement_timeout=30s -c lock_timeout=5s -c default_transaction_read_only=on"
_ROLES = """
SELECT r.oid::int8, r.rolname, r.rolsuper, r.rolcreaterole, r.rolbypassrls, r.rolreplication, r.rolcanlogin,
  ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1)
FROM pg_roles r ORDER BY r.rolname
"""
_PASSWORDS = "SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL"
_HBA = """
SELECT {file}, line_number, coalesce(type, ''), coalesce(database, '{{}}'), coalesce(user_name, '{{}}'), coalesce(address, ''),
  coalesce(netmask, ''), coalesce(auth_method, ''), coalesce(options, '{{}}'), coalesce(error, '')
FROM pg_hba_file_rules ORDER BY 1, 2
"""
_IDENT = "SELECT coalesce(map_name, ''), coalesce(sys_name, ''), coalesce(pg_username, '') FROM pg_ident_file_mappings"
_DATABASES = """
SELECT datname, pg_get_userbyid(datdba), datallowconn,
  EXISTS(SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
FROM pg_database WHERE datname <> 'template0' ORDER BY datname
"""
_SCHEMAS = """
SELECT nspname, pg_get_userbyid(nspowner),
  EXISTS(SELECT FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
    WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname
"""
_DEFINERS = """
SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND EXISTS(SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
ORDER BY 1
"""
_DEFAULTS = """
SELECT quote_ident(pg_get_userbyid(d.defaclrole)), coalesce(quote_ident(n.nspname), ''), a.privilege_type,
  CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
    ELSE 'SCHEMAS' END
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
WHERE a.grantee = 0 AND (d.defaclobjtype NOT IN ('f', 'T') OR d.defaclnamespace <> 0) ORDER BY 1, 2, 3
"""


def read_server(place: StorePlace) -> Server:
    """Read what the role of `place` may see; `Unavailable` when the server does not answer."""
    unread: list[tuple[str, str, str]] = []
    me = sql_name(place.user)
    with _connected(place.parameters) as db:
        with_password: frozenset[str] | None = None
        try:
            with_password = frozenset(name for (name,) in db.execute(_PASSWORDS).fetchall())
        except psycopg.errors.InsufficientPrivilege:
            why = f"`{place.user}` may not see who has a password"
            unread.append(("roles", why, f"GRANT SELECT (rolname, rolpassword) ON pg_authid TO {me}"))
        roles = tuple(
            Role(oid, name, super_, makes, bypasses, replicates, login, _has(with_password, name), tuple(groups))
            for oid, name, super_, makes, bypasses, replicates, login, groups in db.execute(_ROLES).fetchall()
        )
        hba: tuple[HbaLine, ...] = ()
        try:
            hba = tuple(_hba_lines(db))
        except psycopg.errors.InsufficientPrivilege:
            how = f"GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO {me}; GRANT SELECT ON pg_hba_file_rules TO {me}"
            why = f"`{place.user}` may not see pg_hba.conf"
            unread.append(("hba", why, f"{how}; GRANT pg_read_all_settings TO {me}"))
        ident: tuple[IdentLine, ...] = ()
        try:
            ident = tuple(IdentLine(*row) for row in db.execute(_IDENT).fetchall())
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            pass  # then a gate's account is found, as any: nobody can say that the gate alone comes in by it
        databases = db.execute(_DATABASES).fetchall()
    owners = [Owner("database", name, name, owner, creates) for name, owner, _, creates in databases]
    definers: list[Definer] = []
    defaults: list[DefaultRight] = []
    for name, _, connects, _ in databases:
        if not connects:
            continue
        try:
            with _connected({**place.parameters, "dbname": name}) as db:
                schemas = db.execute(_SCHEMAS).fetchall()
                owners += [Owner("schema", name, schema, owner, creates) for schema, owner, creates in schemas]
                definers += [Definer(name, *row) for row in db.execute(_DEFINERS).fetchall()]
                defaults += [DefaultRight(name, *row) for row in db.execute(_DEFAULTS).fetchall()]
        except Unavailable as err:
            for area in ("owners", "functions", "defaults"):
                why = f"database `{name}`: {err.message}"
                unread.append((area, why, f"GRANT CONNECT ON DATABASE {sql_name(name)} TO {me}"))
    shown = {key: value for key, value in place.parameters.items() if key != "password"}
    return Server(
        make_conninfo("", **shown), roles, hba, tuple(owners), tuple(definers), tuple(defaults), tuple(unread), ident
    )


def _has(names: frozenset[str] | None, name: str) -> bool | None:
    return None if names is None else name in names


def _hba_lines(db: psycopg.Connection[tuple[Any, ...]]) -> Iterator[HbaLine]:
    file = "file_name" if db.info.server_version >= 160000 else "current_setting('hba_file')"
    rows = db.execute(_HBA.format(file=file)).fetchall()
    for path, number, kind, names, users, address, mask, method, options, error in rows:
        yield HbaLine(path, number, kind, tuple(names), tuple(users), address, mask, method, tuple(options), error)


@contextmanager
def _connected(parameters: Mapping[str, str]) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    more = {"application_name": "keyturn scan", "options": _SESSION, "connect_timeout": "10"}
    try:
        with psycopg.connect(make_conninfo("", **{**parameters, **more}), autocommit=True) as db:
            yield db
    except psycopg.errors.InsufficientPrivilege:
        raise
    except psycopg.Error as err:
        said = (str(err).splitlines() or [type(err).__name__])[0].rpartition("failed: ")[2]
        raise Unavailable(
            "scan-postgres",
            f"the server does not answer as this role: {said[:200]}",
            hint="try the same URL with psql",
            detail=str(err),
        ) from err
