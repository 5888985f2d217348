"""Found the demo's lab: three humans, an AI agent, a policy, and a root that two humans signed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from demo import prepare
from demo.people import Person, say

__all__ = ["DemoLab", "found"]

DRAFT = Path(__file__).resolve().parent / "lab"


@dataclass(frozen=True, slots=True)
class DemoLab:
    """The lab and its people. `out` holds lab/, work/, homes/, and in the end model/, model.pack and root.json."""

    out: Path
    ada: Person
    bob: Person
    carol: Person
    coder: Person


def found(out: Path) -> DemoLab:
    """Found the lab in `out/lab`, and give its people."""
    ada, bob, carol, coder = (
        Person(name, out / "homes" / name.replace("+", "-"), out) for name in ("ada", "bob", "carol", "ada+coder")
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
    ada.does("init", "lab", *words)
    for name, group in (("bob", "weights-owners"), ("carol", "security")):
        ada.does("trust", "invite", name, "--group", group, "--lab", "lab", shown=0)
    agent = ("--kind", "agent", "--responsible", "ada", "--group", "security", "--out", "coder.invitation.json")
    ada.does("trust", "invite", "ada+coder", *agent, "--lab", "lab", shown=0)
    bob.does("trust", "accept", "bob.invitation.json", "--full-name", "Bob", "--lab", "lab", shown=2)
    carol.does("trust", "accept", "carol.invitation.json", "--full-name", "Carol", "--lab", "lab", shown=2)
    coder.does("trust", "accept", "coder.invitation.json", "--out", "coder.acceptance.json", "--lab", "lab", shown=2)

    say("\nThe policy: who may ask, under which facts, and who must agree.")
    draft = out / "lab" / "trust" / "draft"
    (draft / "policy").mkdir(exist_ok=True)
    shutil.copyfile(DRAFT / "release.cedar", draft / "policy" / "release.cedar")
    shutil.copyfile(DRAFT / "resources.toml", draft / "resources.toml")
    for line in (DRAFT / "release.cedar").read_text(encoding="utf-8").splitlines():
        say(f"    {line}")

    files = [f"{name}.acceptance.json" for name in ("bob", "carol", "coder")]
    ada.does("trust", "propose", *(word for file in files for word in ("--acceptance", file)), "--lab", "lab", shown=10)
    ada.does("trust", "sign", "--yes", "--lab", "lab", shown=0)
    bob.does("trust", "sign", "--yes", "--lab", "lab", shown=0)
    root = ada.asks("trust", "publish", "--lab", "lab")["root_sha256"]
    say("    The root is in force. Each compares its SHA-256 with the others by another way, and pins it:")
    shutil.copyfile(out / "lab" / "trust" / "root.json", out / "root.json")
    for person in (ada, bob, carol, coder):
        person.does("trust", "pin", root, "--lab", "lab", shown=0)

    work = out / "work"
    work.mkdir()
    runtimes = [word for path in prepare.runtime_paths() for word in ("--runtime", path)]
    ada.asks("builder", "init", "--work", work, *runtimes, "--private", out / "homes", "--lab", "lab", shown=False)
    for name in ("bob", "carol", "coder"):
        for kind in ("invitation", "acceptance"):
            (out / f"{name}.{kind}.json").unlink()
    return DemoLab(out, ada, bob, carol, coder)
