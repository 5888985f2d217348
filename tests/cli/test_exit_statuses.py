"""One kind of situation has one exit status, whichever command meets it: docs/cli.md has the table, and this walks every command.

0 done; 1 verified and refused; 2 usage; 3 could not find out. Commands run in this process, against real labs: one that is
founding, one that is published and does not run, one that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.labs import make_key
from support.typed_commands import COMMANDS, typed

AT = "@"
"""Where the word stands that a row is about."""
NO_ID = "00000000"

SIGNS = ("--reason", "why", "--yes")
ASK = ("request", "weights:read", "model/aurora", "--gate", "release", *SIGNS)
CRITERIA = (
    *("step", "criteria", "model/aurora", "--metric", "loss", "--comparison", "below", "--threshold", "1"),
    *SIGNS,
)

RECOVER = (
    *("recovery", "new", "weights:read", "model/aurora", "--gate", "release", "--beneficiary", "ada"),
    *("--session-key", make_key("session").public.text, "--out", "new.json", *SIGNS),
)

EVIDENCE = ("evidence", "add", "--for", "data", "--outside", "vendor", "--yes")

OPEN_SHARE = ("grant", "open-share", "req-00000000", "--holder", "carol", "--out", "new.share", "--yes")

# A file or directory that must be there: the words, and what garbage in its place is (None: nothing is wrong with it).
FILES: dict[tuple[str, str], tuple[tuple[str, ...], int | None]] = {
    ("run", "step"): (("run", AT, "--yes"), 2),
    ("release ask", "model"): (("release", "ask", AT, "--as", "model/aurora", *SIGNS), None),
    ("release check", "model"): (("release", "check", AT, "--pack", "garbage", "--root", "garbage"), None),
    ("release check", "pack"): (("release", "check", "data", "--pack", AT, "--root", "garbage"), 1),
    ("release check", "root"): (("release", "check", "data", "--pack", "garbage", "--root", AT), 1),
    ("release check", "log"): (("release", "check", "data", "--pack", "garbage", "--root", "garbage", "--log", AT), 1),
    ("release carry", "pack"): (("release", "carry", AT, "--root", "garbage"), 1),
    ("release carry", "root"): (("release", "carry", "garbage", "--root", AT), 1),
    ("release papers", "pack"): (("release", "papers", AT, "--root", "garbage"), 1),
    ("release papers", "root"): (("release", "papers", "garbage", "--root", AT), 1),
    ("release papers", "model"): (
        ("release", "papers", "garbage", "--root", "garbage", "--model", AT, "--oms-key", "garbage"),
        None,
    ),
    ("release papers", "oms_key"): (
        ("release", "papers", "garbage", "--root", "garbage", "--model", "data", "--oms-key", AT),
        1,
    ),
    ("release papers", "in_toto_key"): (
        ("release", "papers", "garbage", "--root", "garbage", "--in-toto-key", AT),
        1,
    ),
    ("release papers", "oms_certificates"): (
        ("release", "papers", "garbage", "--root", "garbage", "--oms-certificates", AT),
        2,
    ),
    ("release deployed", "pack"): (("release", "deployed", AT, "--root", "garbage", "--on", "gpu1", "--yes"), 1),
    ("release deployed", "root"): (("release", "deployed", "garbage", "--root", AT, "--on", "gpu1", "--yes"), 1),
    ("release deployed", "directory"): (
        ("release", "deployed", "garbage", "--root", "garbage", "--on", "gpu1", "--dir", AT),
        None,
    ),
    ("release ended", "directory"): (("release", "ended", "dep-00000000", "--reason", "why", "--dir", AT), 2),
    ("verify", "subject"): (("verify", AT, "--root", "garbage"), 1),
    ("verify", "root"): (("verify", "garbage", "--root", AT), 1),
    ("verify", "inputs"): (("verify", "garbage", "--root", "garbage", "--input", AT), 1),
    ("verify", "pack"): (("verify", "data", "--root", "garbage", "--pack", AT), 1),
    ("trust invite", "team"): (("trust", "invite", "--csv", AT), 2),
    ("trust accept", "invitation"): (("trust", "accept", AT), 1),
    ("trust propose", "acceptance"): (("trust", "propose", "--replace", "--acceptance", AT), 1),
    ("trust authenticator", "root"): (("trust", "authenticator", "01" * 16, "--root", AT), 1),
    ("trust authenticator", "metadata"): (
        ("trust", "authenticator", "01" * 16, "--metadata", AT, "--metadata-root", "garbage"),
        1,
    ),
    ("trust authenticator", "metadata_root"): (
        ("trust", "authenticator", "01" * 16, "--metadata", "garbage", "--metadata-root", AT),
        1,
    ),
    ("trust sign", "trust_key"): (("trust", "sign", "--yes", "--trust-key", AT), 1),
    ("recovery new", "trust_key"): ((*RECOVER, "--trust-key", AT), 1),
    ("recovery sign", "grant"): (("recovery", "sign", AT, "--yes"), 1),
    ("recovery sign", "trust_key"): (("recovery", "sign", "garbage", "--trust-key", AT, "--yes"), 1),
    ("recovery show", "grant"): (("recovery", "show", AT), 1),
    ("recovery log", "grant"): (("recovery", "log", AT), 1),
    ("grant sign-bundle", "bundle"): (("grant", "sign-bundle", AT, *SIGNS), 1),
    ("grant replay", "recording"): (("grant", "replay", AT, *SIGNS), 1),
    ("grant replay", "share"): (("grant", "replay", "garbage", "--share", AT), 1),
    ("grant open-share", "recording"): ((*OPEN_SHARE, AT, "--holder-key", "garbage"), 1),
    ("grant open-share", "holder_key"): ((*OPEN_SHARE, "garbage", "--holder-key", AT), 1),
    ("policy check", "directory"): (("policy", "check", AT), 1),
    ("policy diff", "directory"): (("policy", "diff", AT), 1),
    ("serve", "login"): (("serve", "--login", AT), 2),
    ("up", "login"): (("up", "--login", AT), 2),
    ("login", "secret_file"): (("login", "--secret-file", AT), 1),
    ("login", "certificate"): (("login", "--certificate", AT), 1),
    ("login", "certificate_key"): (("login", "--certificate", "garbage", "--certificate-key", AT), 1),
    ("gate init", "models"): (("gate", "init", "other", "--models", AT), None),
    ("gate host install", "root_json"): (
        ("gate", "host", "install", "gpu1", "--service", "http://x", "--root-sha256", "0" * 64, *("--root-json", AT)),
        1,
    ),
    ("gate answer", "question"): (("gate", "answer", AT), 1),
    ("gate host take", "files"): (("gate", "host", "take", AT, "--dir", "not-a-gate"), None),
    ("gate export", "directory"): (("gate", "export", "--dir", AT), 2),
    ("gate postgres take", "files"): (("gate", "postgres", "take", "main", AT), None),
    ("gate export", "ca"): (("gate", "export", "--to", "https://siem.example/", "--ca", AT), 2),
    ("gate export", "token_file"): (("gate", "export", "--to", "https://siem.example/", "--token-file", AT), 2),
    ("psql", "ca"): (("psql", "main/app", "--ca", AT, *SIGNS), None),
    ("witness log-key", "directory"): (("witness", "log-key", "north", "--dir", AT), 2),
    ("witness serve", "directory"): (("witness", "serve", "north", "--dir", AT), 2),
    ("builder init", "work"): (("builder", "init", "--work", AT), None),
    ("builder init", "runtime"): (("builder", "init", "--work", "data", "--runtime", AT), None),
    ("builder init", "private"): (("builder", "init", "--work", "data", "--private", AT), None),
    ("builder run-order", "order"): (("builder", "run-order", AT), 1),
    ("step digest", "path"): (("step", "digest", AT), None),
    ("dispose", "path"): (("dispose", AT, "--digest", "dirHash:" + "0" * 64, *SIGNS), None),
    ("step check", "step"): (("step", "check", AT), 2),
    ("step compare", "first"): (("step", "compare", AT, "data"), None),
    ("step compare", "second"): (("step", "compare", "data", AT), None),
    ("step reproduce", "step"): (("step", "reproduce", f"prv-{NO_ID}", AT, "--yes"), 2),
    ("step reproduce", "first"): (("step", "reproduce", f"prv-{NO_ID}", "step.toml", "--first", AT, "--yes"), None),
    ("step order", "step"): (("step", "order", AT, "new.order", "--yes"), 2),
    ("step receipt", "order"): (("step", "receipt", AT), 1),
    ("step open", "step"): (("step", "open", AT, "--yes"), 2),
    ("step resume", "earlier"): (("step", "resume", AT, "--yes"), 2),
    ("step close", "directory"): (("step", "close", AT), 2),
    ("step checkpoints", "directory"): (("step", "checkpoints", AT), 2),
    ("step import-mlflow", "store"): (("step", "import-mlflow", "0" * 32, "--mlflow", AT, "--yes"), 1),
    ("step import-mlflow", "artifacts"): (
        ("step", "import-mlflow", "0" * 32, "--mlflow", "garbage", "--artifacts", AT, "--yes"),
        None,
    ),
    ("step log", "outputs"): (("step", "log", AT), 2),
    ("step criteria", "on"): ((*CRITERIA, "--on", AT), None),
    ("evidence add", "file"): ((*EVIDENCE, AT), 1),
    ("evidence add", "trusted_root"): ((*EVIDENCE, "garbage", "--trusted-root", AT), 1),
    ("evidence add", "layout"): ((*EVIDENCE, "garbage", "--layout", AT), 1),
    ("source attest", "repo"): (("source", "attest", AT, "main", "--yes"), 2),
    ("source review", "repo"): (("source", "review", AT, "main", "--yes"), 2),
    ("source show", "repo"): (("source", "show", AT, "main"), 2),
    ("source summary", "repo"): (("source", "summary", AT, "main", "--out", "new.vsa", "--yes"), 2),
    ("lineage show", "artifact"): (("lineage", "show", AT), None),
    ("lineage affected", "bad"): (("lineage", "affected", AT), None),
    ("pack show", "pack"): (("pack", "show", AT, "--root", "garbage"), 1),
    ("pack show", "root"): (("pack", "show", "garbage", "--root", AT), 1),
    ("scan host", "root"): (("scan", "host", "--root", AT), 2),
    ("scan host", "notify"): (("scan", "host", "--root", "data", "--notify", AT), 1),
    ("scan postgres", "notify"): (("scan", "postgres", "postgresql://a@/b?host=/nowhere", "--notify", AT), 1),
    ("scan git", "repository"): (("scan", "git", AT), 2),
    ("scan git", "token_file"): (
        ("scan", "git", "a/b", "--forge", "github", "--api", "http://127.0.0.1:1", "--token-file", AT),
        1,
    ),
    ("scan take", "source"): (("scan", "take", AT), 1),
    ("scan git", "notify"): (("scan", "git", "repository.git", "--notify", AT), 1),
}
WRITTEN = {"out", "manifest", "svg", "ledger"}
MADE = {
    *((f"gate host {verb}", part) for verb in ("install", "run") for part in ("directory", "program", "socket")),
    *((f"gate bastion {verb}", "directory") for verb in ("install", "run")),
    ("gate host install", "sshd_config"),
    ("step open", "attempt"),
    ("step order", "file"),
    ("step resume", "attempt"),
    ("gate host take", "directory"),
    ("gate host ask", "directory"),
    ("init", "directory"),
    ("gate local init", "socket"),
    ("witness init", "directory"),
    ("sign-page export", "directory"),
}

# A record, named by an id of this kind.
RECORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "approve": (("approve", AT, *SIGNS), "req"),
    "deny": (("deny", AT, *SIGNS), "req"),
    "grant show": (("grant", "show", AT), "req"),
    "grant counter": (("grant", "counter", AT, "--duration", "5m", *SIGNS), "req"),
    "grant accept": (("grant", "accept", AT, "--yes"), "ofr"),
    "grant review": (("grant", "review", AT, "--finding", "fine", "--yes"), "brk"),
    "grant explain": (("grant", "explain", AT), "req"),
    "grant bundle": (("grant", "bundle", AT), "req"),
    "grant watch": (("grant", "watch", AT, "--yes"), "req"),
    "grant withdraw": (("grant", "withdraw", AT, *SIGNS), "req"),
    "grant revoke": (("grant", "revoke", AT, *SIGNS), "req"),
    "pack make": (("pack", "make", AT), "req"),
    "request": ((*ASK, "--renews", AT), "req"),
    "evidence show": (("evidence", "show", AT), "evd"),
    "evidence verify": (("evidence", "verify", AT), "evd"),
    "release ask": (("release", "ask", "data", "--request", AT), "req"),
    "release ended": (("release", "ended", AT, *SIGNS), "dep"),
    "step wait": (("step", "wait", AT), "stp"),
    "step show": (("step", "show", AT), "stp"),
    "step reproduce": (("step", "reproduce", AT, "step.toml", "--yes"), "prv"),
    "log prove": (("log", "prove", AT), "req"),
    "trust lift": (("trust", "lift", AT, *SIGNS), "sus"),
    "tombstone sign": (("tombstone", "sign", AT, "--ground", "unlawful", "--yes"), "req"),
    "run": (("run", "evaluate.toml", "--criteria", AT, "--no-sandbox", "--yes"), "crt"),
}

# What else the lab knows by name.
NAMES: dict[str, tuple[str, ...]] = {
    "an entry": ("log", "prove", "999999"),
    "a member": ("trust", "suspend", "--member", "nobody", *SIGNS),
    "an entry that is not void": ("trust", "void", "0"),
    "a member who leaves": ("trust", "remove", "nobody"),
    "a key": ("trust", "suspend", "--key-id", "0" * 64, *SIGNS),
    "a gate": ("trust", "suspend", "--gate", "nowhere", *SIGNS),
    "a permit": (*ASK, "--permit", "nope"),
    "a permit for releases": ("release", "ask", "data", "--as", "model/aurora", "--permit", "nope", *SIGNS),
    "an action": ("request", "weights:sell", "model/aurora", "--gate", "release", *SIGNS),
    "a release": ("release", "withdraw", "model/aurora", *SIGNS),
    "an artifact": ("lineage", "show", "sha256:" + "0" * 64),
    "a builder": ("run", "step.toml", "--builder", "nobody", "--yes"),
    "who answers for an agent": ("trust", "invite", "nobody+x", "--kind", "agent"),
}

# What was typed can be seen to be wrong without asking anybody.
MALFORMED: dict[str, tuple[str, ...]] = {
    "a resource": ("request", "weights:read", "Model", "--gate", "release", *SIGNS),
    "a gate": ("request", "weights:read", "model/aurora", "--gate", "A B", *SIGNS),
    "what is offered": ("grant", "counter", "req-00000000", "--duration", "soon", *SIGNS),
    "how long a recovery lasts": (*RECOVER, "--duration", "soon"),
    "a review without what was found": ("policy", "review", "--attest"),
    "a duration": (*ASK, "--duration", "soon"),
    "how long a release is open": ("release", "ask", "data", "--as", "model/aurora", "--duration", "28800", *SIGNS),
    "how long a suspension lasts": ("trust", "suspend", "--member", "bob", "--duration", "soon", *SIGNS),
    "a gate to close": ("trust", "suspend", "--gate", "A B", *SIGNS),
    "what is suspended": ("trust", "suspend", *SIGNS),
    "an authenticator": ("trust", "authenticator", "x", "--root", "garbage"),
    "a signing page": ("sign-page", "check", "sign.example"),
    "what is void": ("trust", "void", "9-8"),
    "the number of a case": ("tombstone", "sign", "req-00000000", "--ground", "unlawful", "--case", "Ada L.", "--yes"),
    "what is released": ("release", "ask", "data", "--as", "aurora", *SIGNS),
    "a model": ("step", "criteria", "Model", *CRITERIA[3:], "--on", "data"),
    "a file of a request for the log": (*ASK, "--out", "new.json"),
    "a session key": (*ASK, "--session-key", "x"),
    "a network to come from": (*ASK, "--from", "10.1"),
    "a database without a schema": ("psql", "main", *SIGNS),
    "an account": (*ASK, "--account", "A B"),
    "a table": (*ASK, "--table", "app.runs"),
    "how long a statement runs": (*ASK, "--statement-timeout", "soon"),
    "a destination": (*ASK, "--forward", "db1"),
    "what is withdrawn": ("release", "withdraw", "Model", *SIGNS),
    "a model that runs": ("release", "where", "Model"),
    "how old the log may be": ("release", "check", "m", "--pack", "p", "--root", "r", "--age", "soon"),
    "a root": ("trust", "pin", "1234"),
    "a digest": ("lineage", "show", "sha256:00"),
    "a digest of what is bad": ("lineage", "affected", "sha256:00"),
    "how a stolen key's id begins": ("lineage", "affected", "abcd"),
    "since when a key was stolen": ("lineage", "affected", "00000000", "--since", "yesterday"),
    "an interval of what is no key": ("lineage", "affected", "sha256:" + "0" * 64, "--since", "1d"),
    "a place of a forge": ("scan", "git", "a/b", "--forge", "http"),
    "an address of a forge": ("scan", "git", "a/b", "--forge", "github", "--api", "ftp://x"),
    "a server to scan": ("scan", "postgres", "mysql://x"),
    "since when": ("scan", "show", "--since", "yesterday"),
    "a finding": ("scan", "accept", "fnd-1", "--until", "3d", "--reason", "why"),
    "until when a finding is accepted": ("scan", "accept", "fnd-00000000", "--until", "soon", "--reason", "why"),
    "a witness's log": ("witness", "init", "north", "--origin", "acme.example/log"),
}

# Every other command that is about a lab, with what it needs.
OTHERS: dict[str, tuple[str, ...]] = {
    "release where": ("release", "where", "model/aurora"),
    "release withdraw": ("release", "withdraw", "req-00000000", *SIGNS),
    "up": ("up",),
    "stats": ("stats",),
    "doctor": ("doctor",),
    "trust remove": ("trust", "remove", "bob"),
    "trust invite": ("trust", "invite", "eve"),
    "trust show": ("trust", "show"),
    "trust publish": ("trust", "publish"),
    "trust suspend": ("trust", "suspend", "--member", "bob", *SIGNS),
    "trust void": ("trust", "void"),
    "trust suspended": ("trust", "suspended"),
    "trust log": ("trust", "log"),
    "trust members": ("trust", "members"),
    "trust pin": ("trust", "pin", "0" * 64),
    "grant list": ("grant", "list"),
    "grant unreviewed": ("grant", "unreviewed"),
    "policy review": ("policy", "review"),
    "gate init": ("gate", "init", "other"),
    "ssh": ("ssh", *SIGNS, "gpu1"),
    "psql": ("psql", "main/app", *SIGNS),
    "gate serve": ("gate", "serve"),
    "gate postgres init": ("gate", "postgres", "init", "main", "--service", "http://s", "--owner", "app"),
    "gate postgres end": ("gate", "postgres", "end", "main"),
    "gate postgres run": ("gate", "postgres", "run", "main"),
    "gate local init": (
        *("gate", "local", "init", "vault", "--door", "rotate", "--action", "procedure:run", "--user", "root"),
        *("--resource", "procedure/rotate"),
    ),
    "gate local run": ("gate", "local", "run", "vault"),
    "gate script init": ("gate", "script", "init", "vault"),
    "gate show": ("gate", "show"),
    "notify init": ("notify", "init"),
    "notify serve": ("notify", "serve"),
    "notify show": ("notify", "show"),
    "gate export": ("gate", "export"),
    "log show": ("log", "show"),
    "log verify": ("log", "verify"),
    "log reindex": ("log", "reindex"),
    "log recover": ("log", "recover"),
    "log new-key": ("log", "new-key"),
    "log erase": ("log", "erase"),
    "tombstone list": ("tombstone", "list"),
    "serve": ("serve",),
    "login": ("login",),
    "witness init": ("witness", "init", "south"),
    "witness log-key": ("witness", "log-key", "north"),
    "witness serve": ("witness", "serve", "south"),
    "builder serve": ("builder", "serve"),
    "builder show": ("builder", "show"),
    "builder slurm-prolog": ("builder", "slurm-prolog", "4711"),
    "builder slurm-epilog": ("builder", "slurm-epilog", "4711"),
}
ABOUT_NO_LAB = {
    "sign-page export",
    "sign-page check",
    "init",
    "verify",
    "log migrate",
    "trust accept",
    "gate bastion install",
    "gate bastion new-key",
    "gate bastion run",
    "gate host install",
    "gate host run",
    "gate host take",
    "gate host ask",
    "gate answer",
    "step digest",
    "step check",
    "step compare",
    "step resume",
    "step close",
    "step checkpoints",
    "pack show",
    "release papers",
    "scan host",
    "scan postgres",
    "scan git",
    "scan show",
    "scan accept",
    "scan assign",
    "scan take",
}

Typed = Callable[..., tuple[int, str]]


def put(words: tuple[str, ...], value: str) -> tuple[str, ...]:
    return tuple(value if word == AT else word for word in words)


def test_outputs_over_what_is_there_are_a_slip_that_nobody_signs(stopped: Path) -> None:
    for sandbox in ((), ("--no-sandbox",)):
        assert typed(stopped, "run", "step.toml", "--out", "data", *sandbox, "--yes") == (2, "destination-taken")


def test_every_command_and_every_file_that_it_takes_has_its_row() -> None:
    named = {command for command, _ in FILES} | RECORDS.keys() | OTHERS.keys() | ABOUT_NO_LAB
    assert {name.removeprefix("keyturn ") for name in COMMANDS} - named == set()
    for name, command in COMMANDS.items():
        for parameter in command.params:
            row = (name.removeprefix("keyturn "), str(parameter.name))
            if "Path" in str(parameter.type_descriptor.annotation) and parameter.name not in WRITTEN:
                assert row in FILES.keys() | MADE, f"{row} has no row"


@pytest.mark.parametrize(
    "words",
    [
        *(put(words, f"{kind}-{NO_ID}") for words, kind in RECORDS.values()),
        *(
            put(words, "data")
            for (command, _), (words, _) in FILES.items()
            if command not in ABOUT_NO_LAB
            and not {"--dir", "--log"} & set(words)  # a gate with a directory of its own needs none
        ),
        *OTHERS.values(),
    ],
    ids=" ".join,
)
def test_a_command_that_finds_no_lab_is_usage(nowhere: Path, words: tuple[str, ...]) -> None:
    status, code = typed(nowhere, *words, home="nobody")
    assert (status, code in {"lab-unknown", "person-unknown"}) == (2, True), code


@pytest.mark.parametrize("row", FILES, ids=" ".join)
def test_a_file_that_is_not_there_is_usage(live: Path, row: tuple[str, str]) -> None:
    words, _ = FILES[row]
    status, code = typed(live, *put(words, "not-there"), home="eve" if row[0] == "trust accept" else "ada")
    assert (
        status,
        code
        in {"file-missing", "artifact-missing", "attempt-unknown", "key-missing", "witness-not-set-up", "command-line"},
    ) == (2, True), code


@pytest.mark.parametrize("row", [row for row, (_, status) in FILES.items() if status is not None], ids=" ".join)
def test_a_file_that_is_garbage_is_refused_and_usage_where_one_writes_it_oneself(
    live: Path, row: tuple[str, str]
) -> None:
    words, wanted = FILES[row]
    garbage = "garbage.d" if row[1] == "directory" else "garbage"
    status, code = typed(live, *put(words, garbage), home="eve" if row[0] == "trust accept" else "ada")
    assert (status, code != "internal-error") == (wanted, True), code


@pytest.mark.parametrize("command", RECORDS)
def test_a_record_that_the_log_does_not_have_is_refused(live: Path, command: str) -> None:
    words, kind = RECORDS[command]
    status, code = typed(live, *put(words, f"{kind}-{NO_ID}"))
    known = {
        "request-unknown",
        "record-not-found",
        "suspension-unknown",
        "criteria-unknown",
        "break-glass-unknown",
        "offer-unknown",
        "deployment-unknown",
        "release-unknown",
    }
    assert (status, code in known) == (1, True), code


@pytest.mark.parametrize("what", NAMES)
def test_a_name_that_the_lab_does_not_have_is_refused(live: Path, what: str) -> None:
    status, code = typed(live, *NAMES[what])
    assert status == 1, code


FORMS = ("12345", "req-1234567", "xyz-00000000", "REQ-00000000", "req-0000000g")


@pytest.mark.parametrize(
    ("command", "text"),
    [(c, text) for c in RECORDS for text in FORMS if (c, text) != ("log prove", "12345")],  # which is an entry's index
)
def test_an_id_of_another_form_is_usage_also_in_a_lab_that_does_not_run(
    founding: Path, command: str, text: str
) -> None:
    words, _ = RECORDS[command]
    assert typed(founding, *put(words, text)) == (2, "record-id")


@pytest.mark.parametrize("what", MALFORMED)
def test_what_cannot_be_is_usage_also_in_a_lab_that_does_not_run(founding: Path, what: str) -> None:
    status, code = typed(founding, *MALFORMED[what])
    assert status == 2, code


OFFLINE = {"run", "step wait", "step show", "step reproduce", "log prove"}
"""These ask the index in the lab's own directory, or the sandbox, first."""

FOUNDED = {
    "trust invite",
    "trust remove",
    "trust show",
    "log new-key",
    "log reindex",
    "serve",
    "login",
    "builder serve",
    "builder show",
    "builder slurm-prolog",
    "builder slurm-epilog",
    "notify serve",
    "notify show",
}


@pytest.mark.parametrize(
    "words",
    [
        *(put(words, f"{kind}-{NO_ID}") for command, (words, kind) in RECORDS.items() if command != "run"),
        *(
            words
            for command, words in OTHERS.items()
            if command not in FOUNDED
            and command not in ("gate show", "gate export", "gate local run", "gate postgres run", "gate postgres end")
        ),
        ("policy", "check"),
        ("builder", "init", "--work", "data"),
    ],
    ids=" ".join,
)
def test_whatever_needs_what_people_signed_is_refused_while_the_lab_is_founding(
    founding: Path, words: tuple[str, ...]
) -> None:
    status, code = typed(founding, *words)
    assert (status, code.startswith("trust-") or code == "record-not-found") == (1, True), code


@pytest.mark.parametrize(
    "words",
    [
        *(put(words, f"{kind}-{NO_ID}") for command, (words, kind) in RECORDS.items() if command not in OFFLINE),
        *(OTHERS[command] for command in ("trust suspend", "trust suspended", "grant list", "log show", "log verify")),
    ],
    ids=" ".join,
)
def test_whatever_needs_the_log_could_not_be_found_out_when_nothing_runs(stopped: Path, words: tuple[str, ...]) -> None:
    status, code = typed(stopped, *words)
    assert status == 3, code


def test_nothing_is_signed_without_a_yes_and_that_is_usage(live: Path) -> None:
    for words in (("trust", "sign"), tuple(word for word in OTHERS["trust suspend"] if word != "--yes")):
        assert typed(live, *words) == (2, "not-confirmed")
