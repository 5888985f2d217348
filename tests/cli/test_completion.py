"""A shell completes ids and names from a lab's directory or service: real bash, zsh and fish, at once, and silently if not."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.commands import KEYTURN
from support.members import People

GOAL_S = 0.200
"""A start of the program, and one look at the lab's directory: 100 to 125 ms were measured, of the processor's time."""
SOON_S = 10.0
"""Two questions of 0.4 s, and a start of the program on a busy machine; a client that waits as long as others takes 30 s."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    found = People(tmp_path_factory.mktemp("completion"))
    found.found()
    found.by("bob", "trust", "accept", "bob.invitation.json")
    found.publish()
    with found.served():
        found.environment["REQUEST"] = found.ask()
    return found


def environment(people: People, **more: str) -> dict[str, str]:
    names = {"KEYTURN_HOME": str(people.place / "ada"), "KEYTURN_LAB": str(people.lab)}
    return {**os.environ, **names, **more, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def offered(people: People, line: str, **more: str) -> list[str]:
    """What is offered for the word at the end of `line`, by bash's protocol; nothing is ever said beside it."""
    asked = environment(
        people, _KEYTURN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")), **more
    )
    done = subprocess.run([*KEYTURN], env=asked, cwd=people.place, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout.split()


@pytest.mark.parametrize(
    "line",
    [
        "keyturn approve ",
        "keyturn approve re",
        "keyturn deny --reason no req-",
        "keyturn grant show req-",
        "keyturn grant withdraw ",
        "keyturn pack make ",
        "keyturn release model --request ",
        "keyturn request weights:read model/aurora --renews ",
    ],
)
def test_requests_are_offered_by_their_ids(people: People, line: str) -> None:
    assert offered(people, line) == [people.environment["REQUEST"]]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        pytest.param("keyturn trust suspend --member ", ["ada", "bob"], id="members"),
        pytest.param("keyturn trust suspend --member b", ["bob"], id="members that begin so"),
        pytest.param("keyturn trust invite eve --group ", ["research", "security"], id="groups"),
        pytest.param("keyturn request --permit ", ["weights-read"], id="permits"),
        pytest.param("keyturn request action mod", ["model/aurora"], id="resources"),
        pytest.param("keyturn step criteria ", ["model/aurora"], id="models"),
        pytest.param("keyturn trust suspend --gate ", ["release"], id="gates"),
        pytest.param("keyturn run STEP.toml --builder ", ["builder"], id="builders"),
        pytest.param("keyturn witness serve ", ["north"], id="witnesses"),
        pytest.param("keyturn trust lift ", [], id="no suspension stands"),
        pytest.param("keyturn run STEP.toml --criteria ", [], id="no criteria are logged"),
        pytest.param("keyturn lin", ["lineage"], id="commands"),
        pytest.param("keyturn trust sus", ["suspend", "suspended"], id="verbs"),
        pytest.param("keyturn no-such-command x", [], id="of no command"),
    ],
)
def test_names_are_offered_as_the_targets_list_them(people: People, line: str, names: list[str]) -> None:
    assert offered(people, line) == names


def test_any_record_is_offered_where_any_is_taken_the_newest_first(people: People) -> None:
    found = offered(people, "keyturn log prove ")
    assert found[0] == people.environment["REQUEST"]
    assert [one[:4] for one in found[1:]] == ["tgt-", "rot-"]


def test_a_request_that_is_over_is_not_offered(people: People, tmp_path: Path) -> None:
    from keyturn.adapters.files.names_on_disk import record_ids

    assert record_ids(people.lab, ["req"], begins="", now=0) == [people.environment["REQUEST"]]
    assert record_ids(people.lab, ["req"], begins="", now=1 << 40) == []


def test_bash_itself_completes_with_the_script_that_is_installed(people: People) -> None:
    script = """
        eval "$(_KEYTURN_COMPLETE=source_bash keyturn)"
        complete -p keyturn
        COMP_WORDS=(keyturn approve re) COMP_CWORD=2
        _keyturn_completion keyturn re approve
        echo "${COMPREPLY[@]}"
    """
    said = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment(people),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines()[-1] == people.environment["REQUEST"], said.stderr
    assert "_keyturn_completion" in said.stdout


def test_zsh_itself_completes_options_verbs_and_ids_with_the_script_that_is_installed(people: People) -> None:
    lines = {
        "keyturn serve --behi": "keyturn serve --behind-proxy",
        "keyturn trust propo": "keyturn trust propose",
        "keyturn trust suspend --member b": "keyturn trust suspend --member bob",
        "keyturn approve re": f"keyturn approve {people.environment['REQUEST']}",
    }
    with in_zsh(environment(people)) as (typed, until):
        typed(
            'autoload -Uz compinit; compinit -D -u; eval "$(_KEYTURN_COMPLETE=source_zsh keyturn)"; print -r -- "re"ady\n'
        )
        until("ready")
        for line, whole in lines.items():
            typed(f"{line}\t\x01print -r -- GOT: \n")  # TAB; then to the line's begin, to have it printed as it is now
            assert until("\nGOT: ").split() == whole.split()


def test_fish_itself_completes_options_verbs_and_ids_with_the_script_that_is_installed(
    people: People, tmp_path: Path
) -> None:
    fish = shutil.which("fish")
    assert fish is not None, "apt-get install fish, as ./bootstrap --tests does"
    lines = {
        "keyturn serve --behi": ["--behind-proxy"],
        "keyturn trust propo": ["propose"],
        "keyturn trust suspend --member b": ["bob"],
        "keyturn approve re": [people.environment["REQUEST"]],
        "keyturn approve den-": [],
    }
    asked = "".join(f"complete -C '{line}'; echo END\n" for line in lines)
    done = subprocess.run(
        [fish, "--no-config", "-c", f"_KEYTURN_COMPLETE=source_fish keyturn | source\n{asked}"],
        env=environment(people)
        | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    offered_of_each = [part.splitlines() for part in done.stdout.split("END\n")[:-1]]
    assert [[line.partition("\t")[0] for line in part] for part in offered_of_each] == list(lines.values()), done.stderr


@contextmanager
def in_zsh(env: dict[str, str]) -> Iterator[tuple[Callable[[str], object], Callable[[str], str]]]:
    """An interactive zsh without anybody's settings: what types into it, and what gives the rest of the line behind a text."""
    zsh = shutil.which("zsh")
    assert zsh is not None, "apt-get install zsh, as ./bootstrap --tests does"
    ours, its = pty.openpty()
    words = [zsh, "-f", "-i"]
    with subprocess.Popen(
        words, stdin=its, stdout=its, stderr=its, env=env | {"TERM": "dumb"}, start_new_session=True
    ) as shell:
        os.close(its)

        def until(text: str) -> str:
            said, end = "", time.monotonic() + 60
            while "\n" not in said.partition(text)[2]:
                left = end - time.monotonic()
                assert left > 0, said
                if select.select([ours], [], [], left)[0]:
                    said += os.read(ours, 1 << 16).decode("utf-8", "replace").replace("\r", "")
            return said.partition(text)[2].splitlines()[0]

        try:
            yield lambda text: os.write(ours, text.encode()), until
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            os.close(ours)


@pytest.mark.parametrize("line", ["keyturn approve ", "keyturn trust suspend --member ", "keyturn request --permit "])
def test_whatever_cannot_be_read_is_silence(people: People, tmp_path: Path, line: str) -> None:
    broken = tmp_path / "lab"
    broken.mkdir()
    (broken / "keyturn.toml").write_bytes((people.lab / "keyturn.toml").read_bytes())
    assert offered(people, line, KEYTURN_LAB=str(broken)) == []
    (broken / "index.sqlite").write_bytes(b"\x00garbage")
    (broken / "trust" / "metadata").mkdir(parents=True)
    (broken / "trust" / "metadata" / "1.targets.json").write_bytes(b"\xff[")
    assert offered(people, line, KEYTURN_LAB=str(broken)) == []
    assert offered(people, line, KEYTURN_LAB=str(tmp_path / "nowhere")) == []
    assert offered(people, line, KEYTURN_LAB="http://127.0.0.1:1") == []
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture(scope="module")
def url(people: People) -> Iterator[str]:
    with people.served():
        yield str(json.loads((people.lab / "run" / "service.json").read_bytes())["url"])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("keyturn approve ", id="requests"),
        pytest.param("keyturn deny --reason no req-", id="requests that begin so"),
        pytest.param("keyturn approve den-", id="no request"),
        pytest.param("keyturn trust lift ", id="suspensions"),
        pytest.param("keyturn trust suspend --member ", id="members"),
        pytest.param("keyturn trust suspend --member b", id="members that begin so"),
        pytest.param("keyturn request --permit ", id="permits"),
        pytest.param("keyturn request action mod", id="resources"),
        pytest.param("keyturn trust suspend --gate ", id="gates"),
        pytest.param("keyturn witness serve ", id="witnesses"),
    ],
)
def test_by_a_labs_address_alone_the_same_is_offered_as_in_its_directory(people: People, url: str, line: str) -> None:
    assert offered(people, line, KEYTURN_LAB=url) == offered(people, line)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.1 401 No\r\n\r\n"])
@pytest.mark.parametrize("line", ["keyturn approve ", "keyturn trust suspend --member "])
def test_a_service_that_does_not_answer_or_answers_nonsense_is_silence_soon(
    people: People, line: str, answer: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(listening.accept()[0])
                    taken[-1].sendall(answer)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        begun = time.monotonic()
        assert offered(people, line, KEYTURN_LAB=f"http://127.0.0.1:{listening.getsockname()[1]}") == []
        assert taken
        assert time.monotonic() - begun < SOON_S
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for one in taken:
            one.close()


def test_a_name_that_a_shell_would_take_for_more_is_not_offered(tmp_path: Path) -> None:
    from keyturn.adapters.files.names_on_disk import names

    folder = tmp_path / "trust"
    (folder / "metadata").mkdir(parents=True)
    (folder / "targets").mkdir()
    (folder / "metadata" / "9.targets.json").write_text("{}")
    (folder / "metadata" / "10.targets.json").write_text(
        '{"signed":{"targets":{"roster.toml":{"hashes":{"sha256":"00"}}}}}'
    )
    rows = "".join(f'[[members]]\nid = "{one}"\n' for one in ("bob", "$(reboot)", "a b", "\\u001b[31m", "-rf", "ada"))
    (folder / "targets" / "00.roster.toml").write_text(rows)
    assert names(tmp_path, "members", begins="") == ["ada", "bob"]


@pytest.mark.parametrize(
    "line", ["keyturn approve ", "keyturn trust suspend --member a --duration 2h --gate ", "keyturn l"]
)
def test_no_values_are_made_of_words_that_no_command_is_run_by(people: People, line: str) -> None:
    asked = environment(people, _KEYTURN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))
    words = [sys.executable, "-X", "importtime", "-m", "keyturn"]
    done = subprocess.run(words, env=asked, cwd=people.place, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip()
    assert "typer.core" in done.stderr
    assert "pydantic" not in done.stderr, "it takes as long as all the rest"


@pytest.mark.alone
@pytest.mark.parametrize("line", ["keyturn approve ", "keyturn trust suspend --member "])
def test_a_shell_waits_for_a_fifth_of_a_second_at_most(people: People, line: str) -> None:
    asked = environment(people, _KEYTURN_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))
    taken = []
    for _ in range(7):
        child = subprocess.Popen([*KEYTURN], env=asked, cwd=people.place, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        taken.append(used.ru_utime + used.ru_stime)
    assert min(taken) <= GOAL_S
