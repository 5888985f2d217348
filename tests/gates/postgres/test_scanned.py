"""What a gate puts into its server is no door to a scan, where it is exactly what the gate demands; and it is one otherwise."""

from __future__ import annotations

import getpass

import pytest

from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.scans.scan_postgres import read_server
from keyturn.standing.postgres import scan_postgres
from support.databases import DatabaseLab


def doors(place: DatabaseLab, *, gate_user: str) -> list[tuple[str, str]]:
    """Code and what it opens, of the gate's account and of lines that ask for a proof: the cluster has others."""
    url = f"postgresql://admin@/main?host={place.cluster.directory}&port={place.port}"
    found = scan_postgres(read_server(StorePlace.parse(url)), gate_user=gate_user).findings
    lines = [one for one in found if one.code == "pg-hba" and not one.opens.endswith("without any proof")]
    return [
        (one.code, one.opens) for one in (*lines, *(one for one in found if one.where.startswith(("keyturn", "kt_"))))
    ]


def test_what_the_gate_demands_is_no_door_and_its_account_is_one_for_any_other_user(place: DatabaseLab) -> None:
    place.connect(place.granted())  # a role of a grant is there
    assert doors(place, gate_user=getpass.getuser()) == []
    for user in ("somebody", ""):
        assert {code for code, _ in doors(place, gate_user=user)} == {"pg-create-role", "pg-hba"}


CHANGES = {
    "a line before the gate's": ("pg_hba.conf", lambda text: "local all friend peer\n" + text),
    "a line of the gate's that is another": (
        "pg_hba.conf",
        lambda text: text.replace("clientcert=verify-full", "map=x"),
    ),
    "every database": ("pg_hba.conf", lambda text: text.replace("hostssl main", "hostssl all")),
    "another account that is the gate's": ("pg_ident.conf", lambda text: text + "keyturn nobody keyturn_gate\n"),
    "no such map": ("pg_ident.conf", lambda text: ""),
}


@pytest.mark.parametrize("what", CHANGES)
def test_anything_else_there_is_a_door(place: DatabaseLab, what: str) -> None:
    name, change = CHANGES[what]
    path = place.cluster.directory / "data" / name
    before = path.read_text()
    path.write_text(change(before))
    try:
        found = {code for code, _ in doors(place, gate_user=getpass.getuser())}
        assert found == {"pg-create-role", "pg-hba"}
    finally:
        path.write_text(before)


def test_a_member_of_the_gates_account_is_a_door_and_so_is_a_password_of_it(place: DatabaseLab) -> None:
    admin = place.admin()
    admin.execute("CREATE ROLE friend LOGIN; GRANT keyturn_gate TO friend")
    try:
        assert "pg-create-role" in {code for code, _ in doors(place, gate_user=getpass.getuser())}
    finally:
        admin.execute("DROP ROLE friend")
    admin.execute("ALTER ROLE keyturn_gate PASSWORD 'of three words'")
    try:
        assert [code for code, _ in doors(place, gate_user=getpass.getuser())] == ["pg-password"]
    finally:
        admin.execute("ALTER ROLE keyturn_gate PASSWORD NULL")
