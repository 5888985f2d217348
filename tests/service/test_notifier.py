"""A real lab, its notifier as a process, and receivers that answer, refuse and hang."""

from __future__ import annotations

import resource
import shutil
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.adapters.apprise_receiver import AppriseReceiver
from keyturn.adapters.files.run_files import find
from keyturn.errors import Unavailable, Usage
from support.commands import KEYTURN
from support.members import People
from support.processes import Process, running, wait_for
from support.receivers import Inbox, inbox

# apprise imports a module that Python 3.13 drops, and has its own where it is gone
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Told(People):
    """People whose lab has a notifier; `receivers` by name: of whom, and whether it pages."""

    def configure(self, box: Inbox, receivers: dict[str, str], more: str = "") -> None:
        for name in receivers:
            place = self.lab / "notify" / f"{name}.url"
            place.write_text(box.url(name) + "\n")
            place.chmod(0o600)
        text = (self.lab / "notify" / "notify.toml").read_text()
        for name, of in receivers.items():
            text += f'[[receivers]]\nname = "{name}"\n{of}\nurl_file = "{name}.url"\n'
        (self.lab / "notify" / "notify.toml").write_text(text + more)

    @contextmanager
    def notifier(self) -> Iterator[Process]:
        environment = {"KEYTURN_HOME": str(self.place / "nobody")}
        with running([*KEYTURN, "notify", "serve", "--lab", self.lab], environment=environment) as process:
            wait_for("the notifier", lambda: find(self.lab / "run", "notify"), process)
            yield process

    def metric(self, name: str) -> float:
        url = find(self.lab / "run", "notify")
        assert url is not None
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def has_looked(self, process: Process) -> None:
        wait_for("a first look", lambda: self.metric("keyturn_notify_looked_seconds") or None, process)


@pytest.fixture
def box() -> Iterator[Inbox]:
    with inbox() as box:
        yield box


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = Told(tmp_path_factory.mktemp("founded"))
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    people.by("ada", "notify", "init")
    return people.place


@pytest.fixture
def people(founded: Path, tmp_path: Path) -> Told:
    return Told(shutil.copytree(founded, tmp_path / "people"))


def test_people_are_told_what_waits_what_became_of_it_and_nothing_of_before(people: Told, box: Inbox) -> None:
    people.configure(
        box,
        {"ada": 'member = "ada"', "bob": 'member = "bob"', "page": 'group = "security"\npaging = true'},
    )
    with people.served():
        old = people.ask()
        with people.notifier() as process:
            people.has_looked(process)
            asked = people.ask()
            seen = box.wait_for("bob", "ada asks")
            assert f"keyturn grant show {asked}" in seen["message"]
            assert "a look" in seen["message"]
            people.by("bob", "approve", asked, "--yes")
            box.wait_for("ada", "bob approved")
            box.wait_for("ada", "granted")
            assert box.titles("page") == [], "nothing of this is urgent"
            urgent = people.ask("--urgent")
            box.wait_for("page", "ada asks urgently")
            denied = people.by("bob", "deny", urgent, "--reason", "not <b>now</b>", "--yes")["id"]
            assert '"not ?b?now?/b?"' in box.wait_for("ada", "bob denied")["message"]
            people.by("ada", "tombstone", "sign", denied, "--ground", "objection", "--yes")
            process.wait_for_line("/signed:1")  # read by its digest; besides bob, whose it is, there is nobody to tell
            people.by("bob", "trust", "suspend", "--member", "ada", "--reason", "laptop lost", "--yes")
            for name in ("ada", "bob", "page"):
                box.wait_for(name, "bob suspended member ada")
        assert len([title for title in box.titles("bob") if "asks" in title]) == 2, old


def test_a_dead_receiver_delays_nobody_and_a_crash_loses_nothing(people: Told, box: Inbox) -> None:
    people.configure(
        box, {"ada": 'member = "ada"', "dead": 'member = "bob"', "hung": 'member = "bob"', "bob": 'member = "bob"'}
    )
    box.status |= {"dead": 500, "hung": 0}
    with people.served():
        with people.notifier() as process:
            people.has_looked(process)
            people.ask()
            box.wait_for("bob", "ada asks")
            wait_for("a try", lambda: box.tries.get("dead") and box.tries.get("hung"), process)
            process.wait_for_line("receiver `dead` took no notification")
            wait_for(
                "what is for Bob to be put down as taken",
                lambda: people.metric("keyturn_notify_waiting") == 2 or None,
                process,
            )
            process.kill()
        shown = people.by("ada", "notify", "show")["receivers"]
        assert {one["name"]: one["waiting"] for one in shown} == {"ada": 0, "dead": 1, "hung": 1, "bob": 0}
        asked = people.ask()  # while nobody follows
        box.status.clear()
        with people.notifier() as process:
            for name in ("dead", "hung"):
                wait_for("both", lambda: len(box.titles(name)) == 2 or None, process)
            wait_for("the second", lambda: len(box.titles("bob")) == 2 or None, process)
            people.by("ada", "grant", "withdraw", asked, "--yes")
            box.wait_for("ada", "ada withdrew")
        assert len(box.titles("bob")) == 2, "what was told before the crash is not told again"


def test_who_is_away_has_a_deputy_and_who_waits_long_is_told_to_more(people: Told, box: Inbox) -> None:
    people.configure(
        box,
        {"ada": 'member = "ada"', "bob": 'member = "bob"', "wider": 'group = "research"'},
        '[[escalation]]\nafter_s = 1\ngroup = "research"\n'
        '[[away]]\nmember = "bob"\ndeputy = "ada"\nuntil = 2199-01-01T00:00:00Z\n',
    )
    with people.served(), people.notifier() as process:
        people.has_looked(process)
        asked = people.ask()
        assert "for bob, who is away until" in box.wait_for("ada", "ada asks")["message"]
        box.wait_for("wider", "ada waits since 1s")
        assert people.refused("ada", "approve", asked, "--yes") == "approver-concerned", "a deputy does not vote"
        assert box.titles("bob") == []


def test_keyturn_up_starts_it_and_one_process_has_it(people: Told, box: Inbox) -> None:
    people.configure(box, {"bob": 'member = "bob"'})
    (people.place / "work").mkdir()
    people.by("ada", "builder", "init", "--work", str(people.place / "work"))
    environment = {"KEYTURN_HOME": str(people.place / "ada"), "KEYTURN_LAB": str(people.lab)}
    with running([*KEYTURN, "up"], cwd=people.place, environment=environment) as process:
        process.wait_for_line("ready; Ctrl-C")
        people.has_looked(process)
        done = people.run("ada", "notify", "serve")
        assert (done.returncode, "already-running" in done.stderr) == (3, True)
        people.ask()
        box.wait_for("bob", "ada asks")
        process.signal(signal.SIGINT)
        assert process.wait(deadline_s=30) == 0


def test_a_secret_that_others_can_read_is_refused_and_never_shown(people: Told, box: Inbox) -> None:
    people.configure(box, {"bob": 'member = "bob"'})
    secret = people.lab / "notify" / "bob.url"
    secret.chmod(0o644)
    for verb in ("serve", "show"):
        done = people.run("ada", "notify", verb)
        assert (done.returncode, "receiver-secret-exposed" in done.stderr) == (1, True), verb
    secret.write_text("nosuchservice://hunter2@host")
    secret.chmod(0o600)
    for verb in ("serve", "show"):
        done = people.run("ada", "notify", verb)
        assert (done.returncode, "receiver-url" in done.stderr, "hunter2" in done.stderr) == (2, True, False), verb
    text = (people.lab / "notify" / "notify.toml").read_text().replace('url_file = "bob.url"', 'url_env = "NOT_THERE"')
    (people.lab / "notify" / "notify.toml").write_text(text)
    done = people.run("ada", "notify", "serve")
    assert (done.returncode, "receiver-secret" in done.stderr) == (2, True)


def test_whom_the_lab_does_not_have_is_said_by_show_and_by_serve(people: Told, box: Inbox) -> None:
    people.configure(
        box,
        {"bob": 'member = "bob"', "typo": 'member = "bbo"', "group": 'group = "secuirty"'},
        '[[escalation]]\nafter_s = 9\ngroup = "on-call"\n'
        '[[away]]\nmember = "bob"\ndeputy = "carol"\nuntil = 2199-01-01T00:00:00Z\n',
    )
    done = people.run("ada", "notify", "show")
    assert (done.returncode, "[receiver-unknown]" in done.stderr) == (1, True)
    assert "bob" in done.stdout, "the rest is shown"
    for name in ("`bbo`", "`secuirty`", "`on-call`", "`carol`"):
        assert name in done.stderr
    assert "no member `bob`" not in done.stderr
    with people.served(), people.notifier() as process:
        process.wait_for_line("lists no member `bbo`")
        people.ask()
        box.wait_for("bob", "ada asks")  # the others are told all the same


def test_a_notifier_believes_the_root_that_it_pins_alone(people: Told, box: Inbox) -> None:
    people.configure(box, {"bob": 'member = "bob"'})
    path = people.lab / "notify" / "notify.toml"
    text = path.read_text()
    path.write_text(text.replace(text.split('root = "')[1][:8], "0" * 8))
    with people.served(), people.notifier() as process:
        process.wait_for_line("trust-root-not-pinned")
        people.ask()
        assert people.metric("keyturn_notify_looked_seconds") == 0
        assert box.titles("bob") == []


@pytest.mark.parametrize("url", ["", "json://a, json://b", "json://a json://b", "nosuch://a", "http//x"])
def test_a_receiver_is_one_url_of_a_known_service(url: str) -> None:
    with pytest.raises(Usage, match="receiver-url"):
        AppriseReceiver("bob", url)


def test_what_apprise_sends_is_the_plain_text_that_it_was_given(box: Inbox) -> None:
    receiver = AppriseReceiver("bob", box.url("bob"))
    receiver.give("a :smile: \\n title", "one\n:tada: \\t {{two}} &amp;")
    got = box.wait_for("bob", "title")
    assert (got["title"], got["message"]) == ("a :smile: \\n title", "one\n:tada: \\t {{two}} &amp;")
    box.status["bob"] = 302
    with pytest.raises(Unavailable, match="receiver-failed"):
        receiver.give("t", "b")


@pytest.mark.parametrize("answer", [pytest.param(1, id="without end"), pytest.param(2, id="a byte now and then")])
def test_a_receiver_whose_answer_never_ends_costs_nobody_memory_or_a_thread(box: Inbox, answer: int) -> None:
    box.status["bob"] = answer
    threads, before = threading.active_count(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unavailable, match="receiver-failed"):
        AppriseReceiver("bob", box.url("bob"), within_s=6).give("t", "b")
    assert box.tries["bob"] == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB; it sends gigabytes
    wait_for("the connection to end", lambda: threading.active_count() <= threads or None)
