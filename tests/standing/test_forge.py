"""What a forge lets in is found in the documents of its API. No forge can be installed here: GitHub's documents are the examples
of its published OpenAPI description (github.json, from the npm package @octokit/openapi 23.0.2, MIT), served by a real HTTP
server; GitLab's are made by its documentation. The commands that close are typed, with curl, against the same server.
"""

from __future__ import annotations

import copy
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.scans.forge_http import ForgeOverHttp
from keyturn.errors import Usage
from keyturn.standing.finding import Finding, Scan
from keyturn.standing.github import scan_github
from keyturn.standing.gitlab import scan_gitlab

EXAMPLES: dict[str, Any] = json.loads(Path(__file__).with_name("github.json").read_text())
BASE = "/repos/octocat/Hello-World"
BRANCH = f"{BASE}/branches/master"
TOKEN = "of-three-words"


@dataclass
class Served:
    """Documents by path; a status instead of one. What is written is kept, and a DELETE removes."""

    documents: dict[str, Any]
    api: str = ""
    tokens: set[str] = field(default_factory=set)
    written: list[tuple[str, str, Any]] = field(default_factory=list)

    def forge(self) -> ForgeOverHttp:
        return ForgeOverHttp(self.api, token=TOKEN)

    def close(self, finding: Finding) -> None:
        done = subprocess.run(
            ["bash", "-euc", finding.close],
            env={"PATH": "/usr/bin:/bin", "FORGE_TOKEN": "closing"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (finding.close, done.stderr)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served({})

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            found.tokens.add(self.headers.get("Authorization", ""))
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if self.command != "GET":
                found.written.append((self.command, path, json.loads(body) if body else None))
                self.send_response(204)
                self.end_headers()
                return
            document = found.documents.get(path, 404)
            status = document if isinstance(document, int) else 200
            if isinstance(document, list):
                page = int(query.rpartition("page=")[2] or 1)
                document = document[(page - 1) * 100 : page * 100]
            raw = (
                document
                if isinstance(document, bytes)
                else json.dumps({} if isinstance(document, int) else document).encode()
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.api = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def github(served: Served) -> Served:
    """GitHub's own examples, with the two doors closed that stand open in them."""
    kept = copy.deepcopy(EXAMPLES)
    for open_there in ("allow_force_pushes", "allow_deletions"):
        kept["protection"][open_there]["enabled"] = False
    served.documents = {
        BASE: kept["repository"],
        f"{BASE}/branches": kept["branches"],
        f"{BRANCH}/protection": kept["protection"],
        f"{BASE}/rules/branches/master": [],
        f"{BASE}/keys": [],
        f"{BASE}/collaborators": kept["collaborators"],
    }
    return served


def scanned(served: Served) -> Scan:
    return scan_github(served.forge(), "octocat/Hello-World")


def test_a_protected_repository_as_github_documents_it_has_no_finding(github: Served) -> None:
    assert scanned(github).findings == ()
    assert github.tokens == {f"Bearer {TOKEN}"}


def protection(github: Served) -> Any:
    return github.documents[f"{BRANCH}/protection"]


DOORS: dict[str, tuple[Any, str, str, tuple[str, str]]] = {
    "no protection": (
        lambda g: (g.documents.pop(f"{BRANCH}/protection"), g.documents[f"{BASE}/branches"][0].update(protected=False)),
        "git-unprotected",
        "high",
        ("PUT", f"{BRANCH}/protection"),
    ),
    "no review": (
        lambda g: protection(g).pop("required_pull_request_reviews"),
        "git-unreviewed",
        "high",
        ("PUT", f"{BRANCH}/protection"),
    ),
    "reviews by nobody": (
        lambda g: protection(g)["required_pull_request_reviews"].update(required_approving_review_count=0),
        "git-unreviewed",
        "high",
        ("PUT", f"{BRANCH}/protection"),
    ),
    "administrators": (
        lambda g: protection(g)["enforce_admins"].update(enabled=False),
        "git-admins-bypass",
        "high",
        ("POST", f"{BRANCH}/protection/enforce_admins"),
    ),
    "who needs no review": (
        lambda g: protection(g)["required_pull_request_reviews"].update(
            bypass_pull_request_allowances={"users": [{"login": "eve"}], "teams": [], "apps": [{"slug": "bot"}]}
        ),
        "git-bypass",
        "high",
        ("PATCH", f"{BRANCH}/protection/required_pull_request_reviews"),
    ),
    "rewriting": (
        lambda g: protection(g)["allow_force_pushes"].update(enabled=True),
        "git-rewritable",
        "medium",
        ("PUT", f"{BRANCH}/protection"),
    ),
    "deleting": (
        lambda g: protection(g)["allow_deletions"].update(enabled=True),
        "git-deletable",
        "medium",
        ("PUT", f"{BRANCH}/protection"),
    ),
    "another branch": (
        lambda g: g.documents[f"{BASE}/branches"].append({"name": "a/b c", "protected": False}),
        "git-unprotected",
        "low",
        ("PUT", f"{BASE}/branches/a%2Fb%20c/protection"),
    ),
    "a deploy key that writes": (
        lambda g: g.documents.update({f"{BASE}/keys": [{**EXAMPLES["keys"][0], "read_only": False}]}),
        "git-deploy-key",
        "high",
        ("DELETE", f"{BASE}/keys/1"),
    ),
    "a deploy key that reads": (
        lambda g: g.documents.update({f"{BASE}/keys": EXAMPLES["keys"]}),
        "git-deploy-key",
        "low",
        ("DELETE", f"{BASE}/keys/1"),
    ),
    "an administrator": (
        lambda g: g.documents[f"{BASE}/collaborators"][0]["permissions"].update(admin=True),
        "git-admin",
        "medium",
        ("DELETE", f"{BASE}/collaborators/octocat"),
    ),
    "who bypasses a ruleset": (
        lambda g: g.documents.update(
            {
                f"{BASE}/rules/branches/master": [{"type": "deletion", "ruleset_id": 42}],
                f"{BASE}/rulesets/42": EXAMPLES["ruleset"],
            }
        ),
        "git-bypass",
        "high",
        ("PUT", f"{BASE}/rulesets/42"),
    ),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_door_is_found_and_its_command_asks_the_forge_to_close_it(github: Served, name: str) -> None:
    opens, code, severity, (method, path) = DOORS[name]
    opens(github)
    (door,) = scanned(github).findings
    assert (door.code, door.severity) == (code, severity)
    github.close(door)
    assert [written[:2] for written in github.written] == [(method, path)]
    assert "Bearer closing" in github.tokens


def test_a_ruleset_that_asks_for_a_review_protects_as_well(github: Served) -> None:
    github.documents.pop(f"{BRANCH}/protection")
    rule = {"type": "pull_request", "ruleset_id": 7, "parameters": {"required_approving_review_count": 1}}
    github.documents |= {
        f"{BASE}/rules/branches/master": [rule],
        f"{BASE}/rulesets/7": {"name": "r", "bypass_actors": []},
    }
    assert scanned(github).findings == ()


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (BASE, 404),
        (BASE, b"[]"),
        (f"{BRANCH}/protection", 403),
        (f"{BRANCH}/protection", 500),
        (f"{BRANCH}/protection", b"<html>"),
        (f"{BRANCH}/protection", 404),
        (f"{BASE}/keys", 401),
        (f"{BASE}/keys", b'[{"id": "x"}]'),
        (f"{BASE}/collaborators", b"\xff"),
        (f"{BASE}/rules/branches/master", b"[" * 5000),
        (f"{BASE}/rules/branches/master", [{"type": "deletion", "ruleset_id": 9}]),
    ],
    ids=str,
)
def test_what_the_forge_does_not_say_is_a_finding_and_never_a_pass(github: Served, path: str, document: Any) -> None:
    github.documents[path] = document
    found = scanned(github)
    assert "unknown" in {one.severity for one in found.findings}
    assert TOKEN not in repr(found)


def test_every_page_is_read(github: Served) -> None:
    github.documents[f"{BASE}/keys"] = [
        {**EXAMPLES["keys"][0], "id": number, "key": f"k{number}"} for number in range(250)
    ]
    assert len(scanned(github).findings) == 250


def test_a_forge_that_is_away_is_a_finding_and_a_token_goes_nowhere_in_the_clear() -> None:
    found = scan_github(ForgeOverHttp("http://127.0.0.1:1", token=TOKEN), "a/b")
    assert [one.severity for one in found.findings] == ["unknown"]
    with pytest.raises(Usage, match="scan-forge-url"):
        ForgeOverHttp("http://git.acme.example", token=TOKEN)


PROJECT = "/projects/acme%2Fmodel"


def gitlab(served: Served, branches: list[Any], *, keys: tuple[Any, ...] = (), level: int = 30) -> Scan:
    served.documents = {
        PROJECT: {"id": 3, "default_branch": "main", "path_with_namespace": "acme/model"},
        f"{PROJECT}/protected_branches": branches,
        f"{PROJECT}/deploy_keys": list(keys),
        f"{PROJECT}/members/all": [{"id": 2, "username": "eve", "state": "active", "access_level": level}],
    }
    return scan_gitlab(served.forge(), "acme/model")


def branch(name: str = "main", *, push: int = 0, force: bool = False) -> dict[str, Any]:
    who = {0: "No one", 40: "Maintainers"}[push]
    levels = [{"id": 1, "access_level": push, "access_level_description": who, "user_id": None, "group_id": None}]
    return {
        "id": 1,
        "name": name,
        "push_access_levels": levels,
        "merge_access_levels": levels,
        "allow_force_push": force,
    }


def test_gitlab(served: Served) -> None:
    assert gitlab(served, [branch()]).findings == ()
    assert gitlab(served, [branch("m*n")]).findings == ()
    key = {"id": 9, "title": "ci", "key": "ssh-rsa AAAA", "can_push": True}
    cases = [
        (gitlab(served, []), "git-unprotected", ["POST"]),
        (gitlab(served, [branch("release/*")]), "git-unprotected", ["POST"]),
        (gitlab(served, [branch(push=40)]), "git-unreviewed", ["DELETE", "POST"]),
        (gitlab(served, [branch(force=True)]), "git-rewritable", ["PATCH"]),
        (gitlab(served, [branch()], keys=(key,)), "git-deploy-key", ["DELETE"]),
        (gitlab(served, [branch()], level=50), "git-admin", ["DELETE"]),
    ]
    for scan, code, methods in cases:
        (door,) = scan.findings
        assert door.code == code
        served.written.clear()
        served.close(door)
        assert [method for method, _, _ in served.written] == methods
    served.documents[f"{PROJECT}/protected_branches"] = 403
    assert scan_gitlab(served.forge(), "acme/model").unseen == {"forge"}
    served.documents.pop(PROJECT)
    assert scan_gitlab(served.forge(), "acme/model").unseen == {"forge"}
