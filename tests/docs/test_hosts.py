"""The page about hosts: the policy that it shows loads, its commands are ones that can be typed, and do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from keyturn.formats.session_terms import SessionTerms
from keyturn.grants import bundle as bundles
from support.host_people import Person, approve
from support.hosts import KEYTURN, hosts_lab
from support.page_words import require_known_options, require_publishable
from support.processes import running, wait_for

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "hosts.md").read_text(encoding="utf-8")


def test_its_policy_can_be_published() -> None:
    require_publishable(PAGE, {"hosts/gpu": (), "host/gpu1": ("hosts/gpu",)})


def test_its_commands_take_the_words_that_it_gives_them() -> None:
    require_known_options(PAGE, count=13)


def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    """Each command of the page, in its order, with the places of this test: nothing of this machine's own sshd is touched."""
    typed = re.findall(r"^    ((?:keyturn|scp|rsync) .+)$", PAGE, re.MULTILINE)
    left = list(typed)

    def page(begin: str) -> list[str]:
        """The next command of the page that begins so; each is asked for once."""
        line = next(line for line in left if line.startswith(begin))
        left.remove(line)
        return shlex.split(line.split(" > ")[0])[1:]

    with hosts_lab(tmp_path) as lab:
        pinned = {"https://keyturn.acme.example": lab.url, "SHA256": lab.lab.root_sha256, "14d": "14d"}
        pinned["root.json"] = str(lab.disk.path / "trust" / "root.json")

        def keyturn(words: list[str], *more: str) -> None:
            done = bob.run(*KEYTURN, *(pinned.get(word, word) for word in words), *more)
            assert done.returncode == 0, (words, done.stderr)

        host = lab.install("gpu1")
        ada, bob = (Person(lab, host, tmp_path, member) for member in ("ktada", "bob"))
        here = lab.where(host)[: lab.where(host).index("--service")]
        at = ("--dir", str(host.directory))
        fragment = host.place / "sshd_config.d" / "10-keyturn.conf"
        fragment.unlink()
        keyturn(page("keyturn gate host install gpu1 --service"), *here)
        assert not fragment.exists(), "a dry run"
        installing = page("keyturn gate host install gpu1 --service")
        observing = page("keyturn gate host install gpu1 --service")
        keyturn(observing, *here, "--yes")
        assert "NO DOOR IS CLOSED" in fragment.read_text()
        keyturn(installing, *here, "--yes")
        assert "PasswordAuthentication no" in fragment.read_text()
        lab.start_gate(host)
        lab.start_sshd(host)

        def ssh(begin: str, *, until: str | None, more: tuple[str, ...] = ()) -> str:
            """Ask as Ada by the page's words, approve as Bob, and stay until it says `until`."""
            with running(ada.ssh("--yes", *page(begin)[1:], *more), environment=ada.environment) as asking:
                approve(bob, asking)
                if until is None:
                    assert asking.wait() == 0, asking.describe()
                    return asking.output
                asking.wait_for_line(until)
                carry_out()
                asking.stop()
            return ""

        def carry_out() -> None:
            config = tmp_path / "gpu1.conf"
            config.write_text(ada.run(*ada.ssh(*page("keyturn ssh --print-config gpu1")[1:])).stdout)
            scp = [
                {"/tmp/gpu1.conf": str(config), "gpu1:/var/log/syslog": "gpu1:/etc/passwd"}.get(w, w)
                for w in page("scp")
            ]
            done = ada.run("scp", *scp[:-1], str(tmp_path))
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "passwd").read_bytes() == Path("/etc/passwd").read_bytes()
            changed = {
                "keyturn ssh": " ".join(ada.ssh()),
                "gpu1:/var/log/": "gpu1:/etc/cron.d/",
                "logs/": f"{tmp_path}/logs/",
            }
            done = ada.run("rsync", "-r", *(changed.get(word, word) for word in page("rsync")))
            assert done.returncode == 0, done.stderr
            assert list((tmp_path / "logs").iterdir())

        assert "ktada" in ssh("keyturn ssh --reason 'disk full' gpu1", until=None, more=("id", "-un")).splitlines()
        assert "root" in ssh("keyturn ssh --reason 'disk full' --as-root", until=None, more=("id", "-un")).splitlines()
        ssh("keyturn ssh --reason 'copy the logs'", until="held until")

        # Emergencies, and what it decided.
        now = lab.now
        glass = {"permit": "repair", "break_glass_at": now, "start_by": now + 1200, "not_after": now + 2400}
        asked = lab.ask(submit=False, requester="dan", session=SessionTerms(account="ktdeploy"), **glass)
        approval = lab.say(asked, "bob", submit=False)
        pinned["glass.json"] = str(tmp_path / "glass.json")
        (tmp_path / "glass.json").write_bytes(bundles.render(bundles.make(asked.envelope, (approval,))))
        keyturn(page("keyturn gate host take glass.json"), *at)
        assert host.opens(asked, "ktdeploy")
        exporting = [{"/var/lib/keyturn-host": str(host.directory)}.get(w, w) for w in page("keyturn gate export")]
        said = bob.run(*KEYTURN, *exporting)
        assert said.returncode == 0, said.stderr
        assert '"event_code":"granted"' in said.stdout

        # The host that does not reach the log.
        far = lab.install("gpu2", more=("--root-json", pinned["root.json"]))
        pinned |= {f"gpu1.{kind}.json": str(tmp_path / f"{kind}.json") for kind in ("question", "answer")}
        pinned["gpu1"] = "gpu2"
        keyturn(page("keyturn gate host install gpu1 --root-json"), *lab.where(far)[: len(here)], "--yes")
        lab.start_gate(far)
        lab.start_sshd(far)
        wait_for("its question", lambda: (far.directory / "question").exists() or None, far.gate)
        granted = lab.granted("gpu2")
        keyturn(page("keyturn gate host ask"), "--dir", str(far.directory))
        keyturn(page("keyturn gate answer"))
        keyturn(page("keyturn gate host take gpu1"), "--dir", str(far.directory))
        assert far.opens(granted, "ktada")
    assert left == [], "a command of the page that nothing ran"
