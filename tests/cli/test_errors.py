"""Whatever was typed wrongly, refused or not allowed ends in one form: a code, what to type next, and the right status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn import __version__
from support import commands
from support.members import People


def keyturn(place: Path, *words: str, home: str = "home") -> subprocess.CompletedProcess[str]:
    return commands.keyturn(*words, place=place, home=place / home)


@pytest.fixture(scope="module")
def founding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("with a space")
    done = keyturn(place, "init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada")
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize(
    ("words", "said", "next_words"),
    [
        pytest.param(("nonsense",), "no such command `nonsense`", "keyturn --help", id="a command that is none"),
        pytest.param(("grant", "nonsense"), "no such command `nonsense`", "keyturn grant --help", id="a verb"),
        pytest.param(
            ("deny", "req-00000000"), "missing option `--reason`", "keyturn deny --help", id="an option is missing"
        ),
        pytest.param(("grant", "show"), "missing argument `REQUEST`", "keyturn grant show --help", id="an argument"),
        pytest.param(("request",), "missing argument `ACTION`", "keyturn request --help", id="the first of two"),
        pytest.param(("init", "--profile", "x"), "`x` is not one of", "keyturn init --help", id="not one of"),
        pytest.param(("log", "show", "--last", "x"), "valid integer", "keyturn log show --help", id="no number"),
        pytest.param(("grant", "list", "--nope"), "no such option", "keyturn grant list --help", id="an option"),
    ],
)
def test_what_was_typed_wrongly_is_usage_and_json_when_asked(
    tmp_path: Path, words: tuple[str, ...], said: str, next_words: str
) -> None:
    plain, asked = keyturn(tmp_path, *words), keyturn(tmp_path, *words, "--json")
    assert (plain.returncode, asked.returncode) == (2, 2)
    assert said in plain.stderr
    assert f"[command-line]\n  try: {next_words}" in plain.stderr
    assert (plain.stdout, asked.stdout) == ("", "")
    error = json.loads(asked.stderr)["error"]
    assert (error["code"], error["hint"].startswith(next_words)) == ("command-line", True)
    assert ("; as in: keyturn " in error["hint"]) is said.startswith("missing"), "an example has what else is missing"


def test_a_file_that_is_there_is_never_overwritten_and_that_is_usage(founding: Path) -> None:
    assert keyturn(founding, "trust", "invite", "bob").returncode == 0
    again = keyturn(founding, "trust", "invite", "bob")
    assert again.returncode == 2
    assert "[file-exists]\n  try: " in again.stderr


@pytest.mark.parametrize(
    ("words", "status", "code", "said"),
    [
        pytest.param(("grant", "list"), 1, "trust-founding", "its log is empty", id="a founding lab has no requests"),
        pytest.param(
            ("grant", "list"),
            1,
            "trust-founding",
            "try: keyturn trust propose, unless",
            id="nor grants, and says what next",
        ),
        pytest.param(
            ("trust", "show"),
            1,
            "trust-nothing-staged",
            "nothing was proposed yet [trust",
            id="nothing was proposed yet",
        ),
        pytest.param(("trust", "show"), 1, "trust-nothing-staged", "`keyturn trust propose`", id="and what comes next"),
        pytest.param(
            ("trust", "log"), 1, "trust-founding", "try: keyturn trust propose", id="nothing is published yet"
        ),
        pytest.param(("up",), 1, "trust-founding", "then keyturn trust publish", id="nor processes, and says why"),
        pytest.param(("builder", "init", "--work", "no where"), 2, "file-missing", "mkdir -p 'no where'", id="work"),
        pytest.param(("verify", ".", "--root", "x"), 2, "pack-missing", "--pack PACK", id="a model without its pack"),
        pytest.param(("init", "a", "--name", "A B", "--member", "x"), 2, "lab-name", "`acme.example`", id="name"),
        pytest.param(
            ("init", "a", "--name", "acme", "--member", "x"), 2, "lab-name", "--name acme.example", id="one label"
        ),
        pytest.param(("init", "a", "--name", "a.b", "--member", "A B"), 2, "option-invalid", "as `ada`", id="member"),
        pytest.param(("init", "a", "--name", "a.b", "--member", "x"), 2, "file-exists", "KEYTURN_HOME=DIR", id="taken"),
        pytest.param(
            ("trust", "accept", "lab/keyturn.toml"), 1, "json-invalid", "JSON is malformed", id="no invitation"
        ),
        pytest.param(
            ("trust", "propose", "--lab", "lab", "--acceptance", "lab/keyturn.toml"),
            1,
            "acceptance-none",
            "MEMBER.acceptance.json",
            id="another file than an acceptance",
        ),
        pytest.param(
            ("trust", "pin", "abc", "--lab", "lab"), 2, "digest-invalid", "as the message says", id="no digest"
        ),
        pytest.param(
            ("sign-page", "check", "http://127.0.0.1:1"),
            3,
            "no-answer",
            "ask whoever serves the page",
            id="a page away",
        ),
        pytest.param(("grant", "list", "--lab", "/nonexistent"), 2, "lab-unknown", "--lab PATH", id="no lab there"),
        pytest.param(("grant", "list", "--lab", "htp://x"), 2, "lab-unknown", "https://keyturn", id="no address"),
        pytest.param(
            ("policy", "check", ".", "--lab", "lab"), 1, "trust-founding", "keyturn trust propose checks", id="a draft"
        ),
        pytest.param(("grant", "list", "--lab", "http://127.0.0.1:1"), 3, "no-answer", "keyturn up", id="service down"),
    ],
)
def test_an_error_says_what_to_type_next(
    founding: Path, words: tuple[str, ...], status: int, code: str, said: str
) -> None:
    done = keyturn(founding, *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert f"[{code}]" in done.stderr
    assert said in done.stderr
    assert "\\A" not in done.stderr, "a pattern is no explanation"


def test_what_a_founding_lab_is_told_to_do_next_works_in_each_state_that_it_is_in(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")

    def told(*words: str) -> str:
        done = people.run("ada", *words, "--json")
        error = json.loads(done.stderr.splitlines()[-1])["error"]
        assert (done.returncode, error["code"]) == (1, "trust-founding")
        return str(error["hint"])

    for words in (("up",), ("trust", "pin", "00" * 32), ("log", "recover")):
        assert "`keyturn trust invite` who is missing, then keyturn trust propose, keyturn trust sign" in told(*words)
    people.by("ada", "trust", "propose", "--acceptance", "bob.acceptance.json")
    assert told("up").startswith("keyturn trust show says what awaits signatures, and whose; keyturn trust sign")
    assert people.run("ada", "trust", "show").returncode == 0
    for member in ("ada", "bob"):
        people.by(member, "trust", "sign", "--yes")
    assert told("up").endswith("then keyturn trust publish"), "it works when everybody signed, too"
    people.by("ada", "trust", "publish")


def test_whoever_stands_beside_a_lab_is_told_its_name_and_not_to_found_another(founding: Path) -> None:
    done = keyturn(founding, "grant", "list", home="nobody")
    assert done.returncode == 2
    assert "try: --lab lab, or for good: export KEYTURN_LAB=" in done.stderr
    assert "keyturn init" not in done.stderr
    assert "keyturn init" in keyturn(founding / "lab" / "trust", "grant", "list", "--lab", "x", home="nobody").stderr


def test_a_permission_that_is_missing_is_said_with_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    from keyturn.cli import main as border

    def deny(_names: object) -> object:
        raise PermissionError(13, "Permission denied", "/lab/keys/log")

    with pytest.raises(SystemExit) as ended:
        border.ending(lambda: deny(()), border.Invocation())
    assert ended.value.code == 3
    assert "this user may not use `/lab/keys/log`: Permission denied [permission-denied]" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_refusal(founding: Path) -> None:
    """`keyturn verify ... | head -1` must not say 1, which means that the model was refused."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "KEYTURN_HOME": str(founding / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "keyturn", "step", "digest", "lab"], cwd=founding, env=environment, stdout=writing
    )
    os.close(writing)
    assert done.returncode == 141


def test_a_full_disk_is_no_defect(founding: Path) -> None:
    environment = {**os.environ, "KEYTURN_HOME": str(founding / "home")}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "keyturn", "step", "digest", "lab", "--json"],
            cwd=founding,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert (done.returncode, json.loads(done.stderr)["error"]["code"]) == (3, "disk-full")


def test_an_init_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("--profile", "demo", "--name", "acme.example", "--member", "ada")
    assert keyturn(tmp_path, "init", "file/lab", *words).returncode == 3
    assert not (tmp_path / "home").exists()
    assert keyturn(tmp_path, "init", "lab", *words).returncode == 0


def test_the_version_is_json_when_asked(tmp_path: Path) -> None:
    assert json.loads(keyturn(tmp_path, "--version", "--json").stdout) == {"version": __version__}
    assert keyturn(tmp_path, "--version").stdout == f"keyturn {__version__}\n"
    misplaced = keyturn(tmp_path, "--json", "grant", "list")
    assert (misplaced.returncode, json.loads(misplaced.stderr)["error"]["code"]) == (2, "command-line")


def test_with_json_each_line_of_standard_error_is_json(founding: Path) -> None:
    """What is shown before it is signed is a note, so a script finds the error on its own line."""
    (founding / "data").mkdir()
    (founding / "data" / "file").write_text("x")
    done = keyturn(founding, "trust", "propose", "--json")
    assert done.returncode in (0, 1)
    asked = keyturn(founding, "trust", "suspend", "--member", "bob", "--reason", "x", "--json")
    for line in (done.stderr + asked.stderr).splitlines():
        assert json.loads(line).keys() <= {"note", "error"}, line


def test_a_ledger_in_which_no_scan_is_says_nothing_about_doors(tmp_path: Path) -> None:
    for words in (("scan", "show"), ("scan", "show", "--place", "host:gpu1")):
        shown = keyturn(tmp_path, *words)
        assert (shown.returncode, shown.stdout) == (3, "")
        assert "[scan-never]\n  try: keyturn scan host" in shown.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("Bob Smith",), "a member's id in lower-case letters, digits and `._-`, as `bob`", id="a member"),
        pytest.param(("cyd", "--group", "Weights Owners"), "a group's name in lower-case letters", id="a group"),
    ],
)
def test_who_is_invited_by_an_id_that_cannot_be_is_told_how_ids_look(
    founding: Path, words: tuple[str, ...], said: str
) -> None:
    typed = keyturn(founding, "trust", "invite", *words, "--lab", "lab")
    assert (typed.returncode, said in typed.stderr, "regex" in typed.stderr) == (2, True, False), typed.stderr
