"""docs/guide/inputs.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.other_lab import write_release
from support.pages import run_page
from support.registries import serve_registry
from support.s3 import serve_s3

pytestmark = pytest.mark.timeout(600)


AWS = f"""#!{sys.executable}
import os, sys
from pathlib import Path
import boto3
_, s3, cp, recursive, source, target = sys.argv
assert (s3, cp, recursive) == ("s3", "cp", "--recursive")
bucket, _, prefix = target.removeprefix("s3://").partition("/")
client = boto3.client("s3", region_name="us-east-1")
for path in Path(source).rglob("*"):
    client.upload_file(str(path), bucket, prefix + str(path.relative_to(source)))
"""
"""Stands for AWS's own command, as far as the page uses it."""


SKOPEO = f"""#!{sys.executable}
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.registries import push
_, copy, preserve, layout, image = sys.argv
assert (copy, preserve) == ("copy", "--preserve-digests")
host, _, repository = image.removeprefix("docker://").partition("/")
push("http://" + host, repository.partition(":")[0], Path(layout.split(":")[1]))
"""
"""Stands for skopeo, as far as the page uses it."""


RSYNC = """#!/bin/sh
test "$2" = other.example:releases/aurora/ && cp -R "$(dirname "$0")/../released" "$3"
"""
"""Stands for rsync and another lab's host."""


def test_inputs_are_taken_from_where_they_are_kept_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, program in (("aws", AWS), ("skopeo", SKOPEO), ("rsync", RSYNC)):
        (programs / name).write_text(program)
        (programs / name).chmod(0o755)
    (tmp_path / "released" / "model").mkdir(parents=True)
    (tmp_path / "released" / "model" / "weights").write_text("of another lab\n")
    lab, pack = write_release(tmp_path / "released" / "model", monkeypatch, name="other.example")
    (tmp_path / "released" / "model.pack").write_bytes(pack)
    (tmp_path / "released" / "root.json").write_bytes(lab.root_json)
    with serve_s3() as s3, serve_registry(tmp_path / "registry") as registry:
        s3.put("acme-data", {})
        s3.write_credentials(tmp_path / ".aws" / "credentials")  # below what is HOME there
        with s3.ask_for_keys():
            changed = {"https://s3.acme.example": s3.endpoint, "registry.acme.example": registry.host}
            said = run_page("guide/inputs.md", tmp_path, programs=programs, changed=changed, timeout_s=500)
    for line in (
        "exit status 2: branches and tags move",
        "git -C train rev-parse main",
        "exit status 1: the tag was refused",
        "exit status 1: this is not what was digested",
        "exit status 1: the pack is of another model",
        "exit status 1: nor is it for a cluster",
    ):
        assert line in said, said
