"""Lay out the demo's input: real source text, and four steps whose STEP.toml says exactly what goes in.

The text is the Python standard library of the interpreter that runs this, without its tests: data that is on every machine.
A STEP.toml in demo/steps/ is whole but for what differs between machines and runs, written `$name`: the digests of the code
and of the source, the runtime's paths, the criteria's record.
"""

from __future__ import annotations

import shutil
import string
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

__all__ = ["STEPS", "copy_source", "copy_step", "fill", "runtime_paths"]

STEPS = Path(__file__).resolve().parent / "steps"
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "ensurepip", "lib2to3"}


def copy_source(target: Path) -> int:
    """Copy the standard library's source text below `target`, and give the number of files."""
    root = Path(sysconfig.get_path("stdlib"))
    count = 0
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if _LEFT_OUT & set(inside.parts) or not path.is_file():
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / inside)
        count += 1
    return count


def copy_step(name: str, target: Path) -> None:
    """Copy the step `name`, its code and its parameters, to `target/name`; its STEP.toml is filled in later."""
    shutil.copytree(STEPS / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))


def fill(template: str, *, runtime: Sequence[str], **values: str) -> str:
    """Put `values` for their `$names`, and a list for `["$runtime"]`; a name without a value is a KeyError."""
    return string.Template(template).substitute(values, runtime='", "'.join(runtime))


def runtime_paths() -> tuple[str, ...]:
    """Give the directories that Python steps need of this machine: the interpreter, its libraries, and this .venv."""
    base = Path(sys.base_prefix)
    wanted = [
        Path("/usr/lib64"),
        Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"),
        base / "bin",
        base / "lib",
        Path(sys.prefix),
    ]
    there = [path for path in dict.fromkeys(wanted) if path.is_dir()]
    return tuple(str(path) for path in there if not any(other in path.parents for other in there))
