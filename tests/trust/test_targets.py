"""Target files: round trips, and every file that says too much, too little or two things is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Malformed
from keyturn.trust.render import render_contents
from keyturn.trust.roster import Witness
from keyturn.trust.target_files import FILES
from keyturn.trust.targets import parse_contents, parse_targets
from support.labs import NOW, Lab, make_key, make_lab


def _parse(lab: Lab, files: dict[str, bytes]) -> None:
    parse_targets(files, root=lab.history.root, targets_version=1, targets_expires_at=NOW)


def _code(lab: Lab, files: dict[str, bytes]) -> str:
    with pytest.raises(KeyturnError) as caught:
        _parse(lab, files)
    return caught.value.code


def test_target_files_round_trip(lab: Lab) -> None:
    files = render_contents(lab.contents)
    contents = parse_contents(files, lab=lab.name)
    assert contents == lab.contents
    assert render_contents(contents) == files


@given(
    humans=st.lists(st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z"), min_size=2, max_size=5, unique=True),
    policy=st.dictionaries(st.from_regex(r"\A[a-z]{1,9}\Z"), st.sampled_from(["", "// é\n", "permit;\n"]), max_size=3),
    witnesses=st.lists(st.from_regex(r"\A[a-z]{1,9}\Z"), min_size=1, max_size=4, unique=True),
)
def test_any_lab_round_trips(humans: list[str], policy: dict[str, str], witnesses: list[str]) -> None:
    lab = make_lab(humans=tuple(humans), policy=policy, witnesses=tuple(witnesses), groups={"all": tuple(humans)})
    assert parse_contents(render_contents(lab.contents), lab=lab.name) == lab.contents
    assert lab.state.policy == tuple(sorted((f"policy/{name}.cedar", text) for name, text in policy.items()))


@pytest.mark.parametrize("name", FILES)
def test_each_file_must_be_there(lab: Lab, name: str) -> None:
    files = render_contents(lab.contents)
    del files[name]
    assert _code(lab, files) == "targets-file-missing"


@pytest.mark.parametrize(
    "name",
    ["admins.toml", "policy/x.txt", "policy/../x.cedar", "policy/x.cedar\n", "policy/UP.cedar", "policy/a/b.cedar"],
)
def test_no_other_file_may_be_there(lab: Lab, name: str) -> None:
    assert _code(lab, render_contents(lab.contents) | {name: b""}) == "targets-file-unknown"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda raw: raw + b"\nsurprise = 1\n", "targets-file-invalid", id="an unknown key"),
        pytest.param(
            lambda raw: raw.replace(b"version = 1", b"version = 2"), "targets-file-invalid", id="another version"
        ),
        pytest.param(lambda raw: raw.replace(b"version = 1", b""), "targets-file-invalid", id="no version"),
        pytest.param(lambda raw: b"version = 1\n" + raw, "targets-file-invalid", id="a key twice"),
        pytest.param(lambda raw: b"\xff" + raw, "targets-file-invalid", id="no UTF-8"),
        pytest.param(lambda raw: raw + b"#" * 300_000, "targets-file-too-large", id="oversize"),
        pytest.param(lambda raw: raw + b"\nx = " + b"[" * 5000, "targets-file-invalid", id="deep nesting"),
        pytest.param(lambda raw: raw + b"# \x1b[2J\n", "text-control-character", id="a terminal escape"),
        pytest.param(lambda raw: raw + "# \u202e\n".encode(), "text-control-character", id="text turned around"),
    ],
)
def test_each_file_is_parsed_strictly(lab: Lab, name: str, change: Callable[[bytes], bytes], code: str) -> None:
    files = render_contents(lab.contents)
    assert _code(lab, files | {name: change(files[name])}) == code


def test_a_policy_is_text(lab: Lab) -> None:
    files = render_contents(lab.contents)
    assert _code(lab, files | {"policy/x.cedar": b"\xff"}) == "targets-file-invalid"
    assert _code(lab, files | {"policy/x.cedar": b"permit\x00"}) == "text-control-character"
    _parse(lab, files | {"policy/x.cedar": b"\tpermit\n"})


ADA, BOB, CYD = (make_key(f"targets test {name}").public.text for name in ("ada", "bob", "cyd"))
P256 = SoftwareKey(ec.derive_private_key(77, ec.SECP256R1())).public.text


def _member(name: str, key: str, kind: str = "human", more: str = "") -> str:
    return f'[[members]]\nid = "{name}"\nkind = "{kind}"\nname = "x"\nkeys = [{{kind="software", public="{key}"}}]\n{more}\n'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(_member("ada", ADA) + _member("ada", BOB), "targets-duplicate", id="an id twice"),
        pytest.param(_member("ada", ADA) + _member("bob", ADA), "key-shared", id="one key for two humans"),
        pytest.param(_member("Ada", ADA), "targets-file-invalid", id="an id in capitals"),
        pytest.param(_member("ada", "AAAA"), "key-invalid", id="a key that is none"),
        pytest.param(
            _member("ada", ADA).replace("software", "admin"), "targets-file-invalid", id="an unknown kind of key"
        ),
        pytest.param(_member("ada", ADA, "robot"), "targets-file-invalid", id="an unknown kind of member"),
        pytest.param(_member("ada+x", ADA), "member-id", id="a human with an agent's id"),
        pytest.param(
            _member("ada", ADA) + _member("bob", BOB) + _member("bob+x", CYD, "agent", 'responsible=["ada"]'),
            "member-id",
            id="an agent under somebody else's name",
        ),
        pytest.param(_member("bot", ADA, "agent"), "member-responsible", id="an agent for whom nobody answers"),
        pytest.param(
            _member("ada", ADA, more='responsible=["bob"]'), "member-responsible", id="a human for whom others answer"
        ),
        pytest.param(
            _member("bot", ADA, "workload", 'responsible=["bot"]'),
            "member-responsible",
            id="a workload that answers for itself",
        ),
        pytest.param('[[groups]]\nname = "g"\nmembers = ["eve"]\n', "group-member", id="a group of strangers"),
        pytest.param('[[groups]]\nname = "g"\ngroups = ["h"]\n', "group-member", id="a group of an unknown group"),
        pytest.param('[[groups]]\nname = "g"\n[[groups]]\nname = "g"\n', "targets-duplicate", id="a group twice"),
        pytest.param(
            _member("ada", ADA) + '[[groups]]\nname = "g"\nmembers = ["ada", "ada"]\n',
            "targets-duplicate",
            id="a member twice",
        ),
        pytest.param(
            '[[groups]]\nname = "g"\ngroups = ["g", "g"]\n', "targets-duplicate", id="a group in a group twice"
        ),
    ],
)
def test_a_roster_that_contradicts_itself_is_refused(lab: Lab, text: str, code: str) -> None:
    files = render_contents(lab.contents) | {"roster.toml": b"version = 1\n" + text.encode()}
    assert _code(lab, files) == code


def _resource(uri: str, parents: str = "[]") -> str:
    return f'[[resources]]\nuri = "{uri}"\nparents = {parents}\n'


A, B = "keyturn://acme.example/model/a", "keyturn://acme.example/model/b"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(_resource("keyturn://other.example/model/a"), "uri-foreign", id="another lab's resource"),
        pytest.param(_resource("model/a"), "uri-invalid", id="no URI"),
        pytest.param(_resource(A) + _resource(A), "targets-duplicate", id="a resource twice"),
        pytest.param(_resource(A, f'["{B}"]'), "resource-parent", id="an unknown parent"),
        pytest.param(_resource(A, f'["{A}"]'), "resource-parent", id="its own parent"),
        pytest.param(_resource(A, f'["{B}"]') + _resource(B, f'["{A}"]'), "resource-parent", id="a circle of parents"),
        pytest.param(_resource(A, '["keyturn://other.example/model/b"]'), "uri-foreign", id="another lab's parent"),
    ],
)
def test_resources_that_contradict_themselves_are_refused(lab: Lab, text: str, code: str) -> None:
    assert _code(lab, render_contents(lab.contents) | {"resources.toml": b"version = 1\n" + text.encode()}) == code


def test_a_gate_is_a_gate_of_this_lab_under_a_key_of_its_own(lab: Lab) -> None:
    files = render_contents(lab.contents)
    gate = '[[gates]]\nuri = "{}"\nkind = "release"\npublic = "{}"\noperator = "op"\n'
    one = "keyturn://acme.example/gate/one"
    for text, code in (
        (gate.format("keyturn://acme.example/model/a", ADA), "uri-foreign"),
        (gate.format("keyturn://other.example/gate/a", ADA), "uri-foreign"),
        (gate.format(one, ADA) + gate.format(one, BOB), "targets-duplicate"),
        (gate.format(one, lab.member_keys["ada"].public.text), "key-purpose"),
        (gate.format(one, lab.trust_keys["ada"].public.text), "key-purpose"),
        (gate.format(one, lab.online_key.public.text), "key-purpose"),
        (gate.format(one, lab.log_key.public.text), "key-purpose"),
        (gate.format(one, lab.builder_keys["builder"].public.text), "key-purpose"),
        (gate.format(one, lab.witness_keys["north"].public.text), "key-purpose"),
    ):
        assert _code(lab, files | {"gates.toml": b"version = 1\n" + text.encode()}) == code


def test_a_builder_has_a_printable_id_and_a_level(lab: Lab) -> None:
    files = render_contents(lab.contents)
    builder = '[[builders]]\nid = "{}"\npublic = "{}"\nlevel_max = {}\noperator = "op"\n'
    for text, code in (
        (builder.format("b", ADA, 4), "targets-file-invalid"),
        (builder.format("b", ADA, 0), "targets-file-invalid"),
        (builder.format("a b", ADA, 1), "builder-id"),
        (builder.format("", ADA, 1), "builder-id"),
        (builder.format("b", ADA, 1) + builder.format("b", BOB, 1), "targets-duplicate"),
    ):
        assert _code(lab, files | {"builders.toml": b"version = 1\n" + text.encode()}) == code


def test_a_log_without_witnesses_or_with_shared_keys_is_refused(lab: Lab) -> None:
    files = render_contents(lab.contents)
    log = files["log.toml"].decode()
    head, _, witness = log.partition("[[witnesses]]")
    for text, code in (
        (head, "witness-none"),
        (head + "[[witnesses]]" + witness + "[[witnesses]]" + witness, "witness-key-shared"),
        (log.replace("lying_max = 0", "lying_max = 1"), "witness-quorum"),
        (log.replace(lab.log_key.public.text, P256), "log-key-scheme"),
        (log.replace('origin = "log.acme.example"', 'origin = "https://log"'), "targets-file-invalid"),
    ):
        assert _code(lab, files | {"log.toml": text.encode()}) == code


def test_limits_are_all_said_and_bounded(lab: Lab) -> None:
    files = render_contents(lab.contents)
    limits = files["limits.toml"].decode()
    for text in (
        limits.replace("clock_skew_max_s = 60", "clock_skew_max_s = 61"),
        limits.replace("suspension_max_s = 86400", "suspension_max_s = 0"),
        limits.replace("suspension_max_s = 86400", ""),
        limits.replace("suspension_max_s = 86400", "suspension_max_s = 86400.0"),
    ):
        assert _code(lab, files | {"limits.toml": text.encode()}) == "targets-file-invalid"


def test_who_says_nothing_of_break_glass_gets_no_older_view_for_it(lab: Lab) -> None:
    files = render_contents(lab.contents)
    limits = files["limits.toml"].decode()
    assert "breakglass_view_age_max_s = 14400" in limits
    for said, age_s in (("", 3600), ("breakglass_view_age_max_s = 7200", 7200), ("breakglass_view_age_max_s = 1", 1)):
        text = limits.replace("breakglass_view_age_max_s = 14400", said)
        parsed = parse_contents(files | {"limits.toml": text.encode()}, lab=lab.name)
        assert parsed.limits.breakglass_view_age_max_s == age_s
    for said in ("0", "604801"):
        text = limits.replace("= 14400", f"= {said}")
        assert _code(lab, files | {"limits.toml": text.encode()}) == "targets-file-invalid"


def test_it_takes_two_humans_to_erase_or_as_many_more_as_targets_say(lab: Lab) -> None:
    files = render_contents(lab.contents)
    limits = files["limits.toml"].decode()
    assert "tombstone_signers" not in limits
    for said, humans in (("", 2), ("tombstone_signers = 3\n", 3)):
        parsed = parse_contents(files | {"limits.toml": f"{limits}{said}".encode()}, lab=lab.name)
        assert parsed.limits.tombstone_signers == humans
        assert parse_contents(render_contents(parsed), lab=lab.name) == parsed
    for said in ("1", "0", "17"):
        assert (
            _code(lab, files | {"limits.toml": f"{limits}tombstone_signers = {said}\n".encode()})
            == "targets-file-invalid"
        )


def test_a_lab_says_which_version_its_processes_have_at_least_or_nothing_of_it(lab: Lab) -> None:
    files = render_contents(lab.contents)
    limits = files["limits.toml"].decode()
    assert "version_min" not in limits
    for said, least in (("", None), ('version_min = "0.10.2"\n', "0.10.2")):
        parsed = parse_contents(files | {"limits.toml": f"{limits}{said}".encode()}, lab=lab.name)
        assert parsed.limits.version_min == least
        assert parse_contents(render_contents(parsed), lab=lab.name) == parsed
    for said in ('"1"', '"1.0"', '"1.0.0rc1"', '"1.0.0\\n"', '"01.0.0"', "1", '""', '"1.0.0.0"'):
        assert _code(lab, files | {"limits.toml": f"{limits}version_min = {said}\n".encode()}) == "targets-file-invalid"


def test_in_production_no_operator_alone_makes_a_quorum_and_the_service_runs_no_witness(production: Lab) -> None:
    log = production.contents.log

    def code(*operators: str) -> str:
        witnesses = tuple(replace(w, operator=op) for w, op in zip(log.witnesses, operators, strict=True))
        contents = replace(production.contents, log=replace(log, witnesses=witnesses))
        return _code(production, render_contents(contents))

    assert code("a", "b", "op-service") == "production-witness-operator"
    assert code("a", "a", "b") == "production-witness-operators"
    assert code("a", "a", "a") == "production-witness-operators"
    _parse(production, render_contents(production.contents))
    one = replace(production.contents, log=replace(log, witnesses=(Witness("n", log.witnesses[0].key, "a"),)))
    assert _code(production, render_contents(one)) == "production-witness-operators"


def test_a_demo_lab_may_run_its_own_witness(lab: Lab) -> None:
    contents = replace(lab.contents, log_operator="op-north")
    _parse(lab, render_contents(contents))


def test_errors_name_the_file_and_show_no_terminal_escape(lab: Lab) -> None:
    files = render_contents(lab.contents) | {"roster.toml": b"version = 1\nmembers = 3\n"}
    with pytest.raises(Malformed, match=r"`roster\.toml`: expected `array`"):
        _parse(lab, files)


VOID = tuple(range(first, last + 1) for first, last in ((3, 3), (5, 9), (10, 10)))


def test_void_entries_round_trip(lab: Lab) -> None:
    contents = replace(lab.contents, void=VOID)
    assert parse_contents(render_contents(contents), lab=lab.name) == contents
    assert lab.publish(void=VOID).state.void == VOID


@pytest.mark.parametrize(
    "void",
    [
        pytest.param((range(5, 6), range(3, 4)), id="out of order"),
        pytest.param((range(3, 6), range(5, 7)), id="one twice"),
        pytest.param((range(5, 4),), id="the last before the first"),
    ],
)
def test_void_entries_are_in_order_each_once(lab: Lab, void: tuple[range, ...]) -> None:
    assert _code(lab, render_contents(replace(lab.contents, void=void))) == "log-void"
