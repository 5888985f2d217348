"""Found the demo's lab: three humans, an AI agent, a policy, and a root that two humans signed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from demo import prepare
from demo.people import Person, Teller

__all__ = ["DemoLab", "found"]

DRAFT = Path(__file__).resolve().parent / "lab"


@dataclass(frozen=True, slots=True)
class DemoLab:
    """The lab and its people. `teller.out` holds lab/, work/, homes/, and in the end model/, model.pack and root.json."""

    teller: Teller
    ada: Person
    bob: Person
    carol: Person
    coder: Person

    @property
    def out(self) -> Path:
        return self.teller.out


def found(teller: Teller) -> DemoLab:
    """Found the lab in `teller.out/lab`, and give its people."""
    out = teller.out
    ada, bob, carol, coder = (
        Person(name, out / "homes" / name.replace("+", "-"), teller) for name in ("ada", "bob", "carol", "ada+coder")
    )
    words = (
        "--profile",
        "demo",
        "--name",
        "acme.example",
        "--member",
        "ada",
        "--full-name",
        "Ada",
        "--group",
        "research",
    )
    ada.does("init", "lab", *words, shown=1)
    ada.does("trust", "invite", "bob", "--new-group", "weights-owners", shown=1)
    bob.does("trust", "accept", "bob.invitation.json", "--full-name", "Bob", "--lab", "lab", shown=1)
    ada.does("trust", "invite", "carol", "--new-group", "security", shown=1)
    carol.does("trust", "accept", "carol.invitation.json", "--full-name", "Carol", "--lab", "lab", shown=1)
    agent = ("--kind", "agent", "--responsible", "ada", "--group", "security", "--out", "coder.invitation.json")
    ada.does("trust", "invite", "ada+coder", *agent, shown=1)
    coder.does("trust", "accept", "coder.invitation.json", "--out", "coder.acceptance.json", "--lab", "lab", shown=1)

    teller.say("\nThe policy: who may ask, under which facts, and who must agree.")
    draft = out / "lab" / "trust" / "draft"
    (draft / "policy").mkdir(exist_ok=True)
    shutil.copyfile(DRAFT / "release.cedar", draft / "policy" / "release.cedar")
    shutil.copyfile(DRAFT / "resources.toml", draft / "resources.toml")
    for line in (DRAFT / "release.cedar").read_text(encoding="utf-8").splitlines():
        teller.say(f"    {line}")

    files = [f"{name}.acceptance.json" for name in ("bob", "carol", "coder")]
    ada.does("trust", "propose", *(word for file in files for word in ("--acceptance", file)), shown=10)
    ada.does("trust", "sign", "--yes", shown=0)
    bob.does("trust", "sign", "--yes", "--lab", "lab", shown=0)
    root = ada.asks("trust", "publish")["root_sha256"]
    teller.say(f"    The root's SHA-256 is {root}.")
    teller.say("    Each compares it with the others by another way, and pins it.")
    shutil.copyfile(out / "lab" / "trust" / "root.json", out / "root.json")
    for person in (ada, bob, carol, coder):
        person.asks("trust", "pin", root, "--lab", "lab", shown=person is bob)
    for name in ("bob", "carol", "coder"):
        for kind in ("invitation", "acceptance"):
            (out / f"{name}.{kind}.json").unlink()
    work = out / "work"
    work.mkdir()
    runtimes = [word for path in prepare.runtime_paths() for word in ("--runtime", path)]
    ada.asks("builder", "init", "--work", work, *runtimes, "--private", out / "homes", shown=False)
    return DemoLab(teller, ada, bob, carol, coder)
