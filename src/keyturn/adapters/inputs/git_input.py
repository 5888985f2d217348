"""Hold the tree of one git commit: from a repository on this machine, or fetched by its id over HTTPS.

No checkout: no filter, attribute, hook or configuration of the repository has a word (`adapters.git_objects`), and every object
from the commit down is hashed again. A repository on this machine is read whole where it lies: its objects are regular files
below its own directory, before and after. One that borrows objects from another place (`alternates`), or links to them, is
refused: it could name what the builder may read and the member may not.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from keyturn.adapters.git_objects import export_revision
from keyturn.adapters.git_refs import ENVIRONMENT, repository_parts
from keyturn.bulk import manifest
from keyturn.errors import Refused, Unavailable
from keyturn.formats.input_source import GitCommitSource
from keyturn.formats.provenance import Origin

__all__ = ["fetch", "hold"]

_FETCH_WITHIN_S = 3600


def hold(source: GitCommitSource, repository: Path, into: Path, *, check: Callable[[Path], Path]) -> Origin:
    """Write the tree that `source` names out of the `repository` on this machine."""
    for place in repository_parts(check(repository)):
        check(place)
    objects = check(repository_parts(repository)[1] / "objects")
    for name in ("alternates", "http-alternates"):
        if (objects / "info" / name).exists():
            raise Refused(
                "source-borrows",
                f"`{repository}` borrows objects from elsewhere (`{objects / 'info' / name}`)",
                hint="make it whole: git repack -a -d, then remove that file",
            )
    before = manifest.look(objects)  # refuses links, which could lead anywhere
    export_revision(repository, source.commit, into, part=source.part)
    if manifest.look(objects) != before:
        raise Refused("file-changed", f"`{repository}` changed while it was read", hint="run it again")
    return Origin(source.uri, source.commit)


def fetch(source: GitCommitSource, into: Path) -> Origin:
    """Write the tree that `source` names, fetched by the commit's id into a repository that is thrown away."""
    with TemporaryDirectory(prefix="keyturn-git-", dir=into.parent) as place:
        own = Path(place)
        form = "sha256" if len(source.commit) == 64 else "sha1"
        _run("init", "--quiet", "--bare", "--template=", f"--object-format={form}", str(own), what=source.repository)
        _run(
            f"--git-dir={own}",
            *("-c", "http.followRedirects=false"),  # to where the operator did not list
            *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--", source.repository, source.commit),
            what=source.repository,
        )
        export_revision(own, source.commit, into, part=source.part)
    return Origin(source.uri, source.commit)


def _of_the_operator() -> dict[str, str]:
    """What whoever runs the builder says about its network: his own authorities, and a proxy."""
    return {name: os.environ[name] for name in ("GIT_SSL_CAINFO", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}


def _run(*words: str, what: str) -> None:
    try:
        done = subprocess.run(
            ["git", *words],
            env=ENVIRONMENT | {"GIT_ALLOW_PROTOCOL": "https"} | _of_the_operator(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=_FETCH_WITHIN_S,
            check=False,
        )
    except FileNotFoundError as err:
        raise Unavailable("source-git", "`git` fetches, and is not installed here", hint="apt-get install git") from err
    except subprocess.TimeoutExpired as err:
        raise Unavailable("source-fetch", f"`{what}` did not answer within an hour", hint="try again") from err
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:].encode("unicode_escape").decode()
        raise Unavailable(
            "source-fetch",
            f"cannot fetch that commit from `{what}`: {said}",
            hint="a server gives commits that its branches or tags lead to; clone what needs a password, and use git+file:",
            detail=said,
        )
