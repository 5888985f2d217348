"""A lab whose service asks for a login, run as real processes on machines of their own: whatever follows the log logs in.

The service stands behind a real proxy. Gate, builder and notifier each have a directory and a home of their own, and nothing but
the proxy's address; people have that and a home. Once everybody shows certificates, once tokens of a real OpenID provider.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.files import run_files
from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.config import lab as lab_config
from keyturn.formats.digest import sha256
from support import taken_lab
from support.commands import KEYTURN, environment_of, error_of, keyturn, said_by
from support.logins import logs_in, tokens
from support.openid import OpenIdProvider
from support.processes import Process, running, wait_for
from support.receivers import Inbox, inbox
from support.taken_lab import MODEL, TakenLab, code_of
from support.tls_proxy import PROXY_SECRET, Authority, digest_of, free_port, tls_proxy

pytestmark = [pytest.mark.xdist_group("closed"), pytest.mark.timeout(300)]

PEOPLE = ("ada", "bob", "carol", "dan")
MACHINES = {"gate": "gate-release", "builder": "builder", "notifier": "notify"}
"""What each is called at the provider and in certificates, and as a process."""
WORDS = {"gate": ("gate", "serve", "release"), "builder": ("builder", "serve"), "notifier": ("notify", "serve")}


@dataclass
class Closed:
    """The lab, whose service is at `url` for whoever logs in."""

    lab: TakenLab
    place: Path
    authority: Authority
    url: str
    ports: Mapping[str, int]
    box: Inbox

    def environment(self, who: str) -> dict[str, str]:
        return environment_of(self.home(who)) | {"SSL_CERT_FILE": str(self.authority.pem)}

    def home(self, who: str) -> Path:
        return self.place / "homes" / who

    def run(self, who: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Type a command as `who`, who has the service's address alone."""
        trusting = {"SSL_CERT_FILE": str(self.authority.pem)}
        return keyturn(*words, place=self.place, home=self.home(who), lab=self.url, environment=trusting)

    def by(self, who: str, *words: str | Path) -> Any:
        return said_by(self.run(who, *words, "--json"))

    def error(self, who: str, *words: str | Path, status: int) -> dict[str, Any]:
        return error_of(self.run(who, *words, "--json"), status=status)

    @contextmanager
    def machine(self, name: str) -> Iterator[Process]:
        """Run the machine `name`, which finds the log at the proxy alone."""
        lab = self.place / name / "lab"
        words = [*KEYTURN, *WORDS[name], "--lab", str(lab), "--port", str(self.ports[name])]
        with running(words, environment=self.environment(name)) as process:
            wait_for(f"`{name}`", lambda: run_files.find(lab / "run", MACHINES[name]), process)
            yield process

    def asks(self, reason: str) -> str:
        words = ("release", self.lab.place / "model", "--as", str(MODEL), "--reason", reason, "--yes")
        return str(self.by("ada", *words)["request"])

    def granted(self, out: str) -> tuple[str | Path, ...]:
        """What Ada types to have the model released, as two people agreed."""
        request = self.asks("it is good")
        for who in ("bob", "carol"):
            self.by(who, "approve", request, "--yes", "--reason", "agreed")
        return ("release", self.lab.place / "model", "--request", request, "--out", out)

    def step(self) -> tuple[str | Path, ...]:
        """What Ada types to have a step run that never ran before."""
        work = self.lab.place / "work"
        there = work / f"{self.place.name}-{len(list(work.iterdir()))}"
        shutil.copytree(work / "ingest", there, ignore=shutil.ignore_patterns("out"))
        return ("run", there / "STEP.toml", "--yes")

    def releases(self, request: str, out: str) -> Path:
        self.by("ada", "release", self.lab.place / "model", "--request", request, "--out", out)
        return self.place / out


def machines_of(lab: TakenLab, place: Path, url: str, box: Inbox) -> None:
    """Lay out what each machine has: the trust, the lab's addresses, what is its own, and no key of the lab's."""
    config = lab_config.parse((lab.lab / "keyturn.toml").read_bytes())
    for name, own in (("gate", "gates"), ("builder", "builder"), ("notifier", "notify")):
        there = place / name / "lab"
        there.mkdir(parents=True)
        (there / "keyturn.toml").write_bytes(lab_config.render(replace(config, service=url)))
        shutil.copytree(lab.lab / "trust", there / "trust")
        if (lab.lab / own).exists():
            shutil.copytree(lab.lab / own, there / own)
    notify = place / "notifier" / "lab" / "notify"
    notify.mkdir()
    (notify / "bob.url").write_text(box.url("bob"))
    (notify / "bob.url").chmod(0o600)
    (notify / "notify.toml").write_text(
        f'version = 1\nroot = "{sha256(lab.root_json)}"\n[[receivers]]\nname = "bob"\nmember = "bob"\nurl_file = "bob.url"\n'
    )
    for who in (*PEOPLE, *MACHINES):
        home = place / "homes" / who
        if who in PEOPLE:
            shutil.copytree(lab.home(who), home)
            home.joinpath("config.toml").write_text(
                f'version = 1\nmember = "{who}"\n[pins]\n"acme.example" = "{sha256(lab.root_json)}"\n'
            )
        else:
            home.mkdir()


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    from support.openid import running_provider

    with running_provider() as found:
        yield found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> TakenLab:
    return taken_lab.found(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module", params=["certificates", "tokens"])
def closed(
    request: pytest.FixtureRequest, lab: TakenLab, provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Closed]:
    """The lab, served to who is logged in by the way of `request.param`, with everybody logged in but Dan."""
    way = request.param
    place = tmp_path_factory.mktemp(way)
    authority = Authority(place / "ca")
    ports = {name: free_port() for name in ("service", "proxy", *MACHINES)}
    shown = {who: authority.issue(who) for who in (*PEOPLE, *MACHINES)}
    (lab.lab / "proxy.secret").write_text(PROXY_SECRET)
    (lab.lab / "proxy.secret").chmod(0o600)
    listed = "\n".join(f'{who} = "{digest_of(pem)}"' for who, pem in shown.items() if who != "dan")
    by_certificate = f'version = 1\n[certificates]\n{listed}\n[proxy]\nsecret_file = "proxy.secret"\n'
    login = lab.lab / "login.toml"
    login.write_text(by_certificate if way == "certificates" else tokens(provider))
    config = lab_config.parse((lab.lab / "keyturn.toml").read_bytes())
    addresses = {process: f"http://127.0.0.1:{ports[name]}" for name, process in MACHINES.items() if name != "notifier"}
    (lab.lab / "keyturn.toml").write_bytes(lab_config.render(replace(config, processes=addresses)))
    at = ("--lab", str(lab.lab))
    serve = (*KEYTURN, "serve", *at, "--port", str(ports["service"]), "--behind-proxy", "--login", str(login))
    with ExitStack() as stack:
        box = stack.enter_context(inbox())
        for key in sorted(lab.lab.glob("witness/*/key")):
            name = key.parent.name
            witness = stack.enter_context(running([*KEYTURN, "witness", "serve", name, *at]))
            wait_for("the witness", lambda: run_files.find(lab.lab / "run", f"witness-{name}"), witness)  # noqa: B023
        service = stack.enter_context(running(serve))
        wait_for("the service", lambda: run_files.find(lab.lab / "run", "service"), service)
        found = f"http://127.0.0.1:{ports['service']}"
        url = stack.enter_context(tls_proxy(found, authority, place, port=ports["proxy"]))
        machines_of(lab, place, url, box)
        made = Closed(lab, place, authority, url, ports, box)
        for who in (*PEOPLE, *MACHINES):
            if who == "dan":
                continue
            if way == "certificates":
                words = ("login", "--certificate", shown[who])
                assert made.by(who, *words) == {"service": url, "certificate_sha256": digest_of(shown[who])}
            elif who in MACHINES:
                secret = made.home(who) / "secret"
                secret.write_text(f"{who}-secret\n")
                secret.chmod(0o600)
                logs_in(made.environment(who), provider, url, "--client", who, "--secret-file", str(secret), name=None)
            else:
                logs_in(made.environment(who), provider, url, name=who)
        yield made


def test_a_lab_whose_service_is_closed_builds_and_releases_and_hears_a_denial(closed: Closed) -> None:
    lab = closed.lab
    with ExitStack() as stack:
        processes = [stack.enter_context(closed.machine(name)) for name in MACHINES]
        if not (lab.place / "model").exists():
            taken_lab.build(lab, by=closed.by)
        closed.by("ada", *closed.step())
        request = closed.asks("it is good")
        closed.box.wait_for("bob", "ada asks")  # the notifier reads
        closed.by("bob", "approve", request, "--yes", "--reason", "agreed")
        early = closed.error("ada", "release", lab.place / "model", "--request", request, "--out", "early", status=1)
        assert early["code"] == "quorum-not-met"
        closed.by("carol", "approve", request, "--yes", "--reason", "agreed")
        pack = closed.releases(request, "good.pack")
        assert lab.judged(pack.read_bytes()) == set()
        # A denial is signed by one, and the gate, which follows the log through the proxy, obeys it.
        denied = closed.asks("once more")
        for who in ("bob", "carol"):
            closed.by(who, "approve", denied, "--yes", "--reason", "agreed")
        said = closed.by("bob", "deny", denied, "--reason", "no", "--yes")
        assert said["witnessed_at"] > 0
        assert [one["in_force"] for one in said["gates"]] == [True]
        late = closed.error("ada", "release", lab.place / "model", "--request", denied, "--out", "late", status=1)
        assert late["code"] in {"request-denied", "request-ended"}, late
        assert not (closed.place / "late").exists()
        for words in (("grant", "list"), ("log", "verify"), ("log", "show"), ("trust", "log"), ("doctor",)):
            closed.by("ada", *words)
        assert all(process.alive for process in processes)
        # The gate itself asks nobody for a login: what it is given is signed, or it is refused.
        assert code_of(lambda: ReleaseOverHttp(f"http://127.0.0.1:{closed.ports['gate']}").release(b"{}"))


def test_who_is_not_logged_in_is_told_what_to_type(closed: Closed, request: pytest.FixtureRequest) -> None:
    hint = {
        "certificates": "keyturn login --certificate FILE --certificate-key FILE",
        "tokens": "keyturn login",
    }[request.node.callspec.params["closed"]]
    for words in (("grant", "list"), ("log", "show"), ("trust", "log"), ("doctor",)):
        said = closed.error("dan", *words, status=3)
        assert (said["code"], said["hint"]) == ("login-needed", hint), words


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_that_is_not_logged_in_says_so_and_opens_nothing(closed: Closed, name: str) -> None:
    if not (closed.lab.place / "model").exists():  # whichever test comes first
        with closed.machine("builder"):
            taken_lab.build(closed.lab, by=closed.by)
    home = closed.home(name)
    logins = home / "logins"
    logins.rename(home / "away")
    try:
        with closed.machine(name) as process:
            if name == "notifier":
                process.wait_for_line("process-not-logged-in")
            else:
                order = closed.granted("before") if name == "gate" else closed.step()
                said = closed.error("ada", *order, status=3)
                assert said["code"] == "process-not-logged-in"
                assert said["hint"].startswith("whoever runs the process, with its KEYTURN_HOME: keyturn login")
            assert process.alive
            logins_again(home)
            if name != "notifier":  # it needs no other start: what it shows is looked up for each exchange
                closed.by("ada", *order)
    finally:
        logins_again(home)


def logins_again(home: Path) -> None:
    if (home / "away").exists():
        (home / "away").rename(home / "logins")
