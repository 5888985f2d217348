"""Who calls whom: each module that opens a connection, and by whose word it knows the address. None is a caller's.

A request, a name or a justification names no address that anything of ours goes to, so nobody has a service reach inside (SSRF).
"""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "keyturn"
LIBRARIES = {
    "urllib3",
    "requests",
    "httpx",
    "aiohttp",
    "apprise",
    "asyncssh",
    "obstore",
    "socket",
    "http.client",
    "urllib.request",
}
CLIENTS = {"HttpClient", "BoundedHttp"}

LAB = "the lab that the person or the operator named: its directory, its keyturn.toml, or its service's address"
NAMED = "the lab's service, which may lie: what is sent there is signed, is about the lab, and holds no secret"
TYPED = "whoever types the command"
OPERATOR = "a file of whoever runs the process"
NOWHERE = "nowhere: it listens, or speaks to a program of this machine"
WHOSE_WORD = {
    "adapters/over_http/addresses_over_http.py": LAB,
    "adapters/apprise_receiver.py": OPERATOR,
    "adapters/bastion/__init__.py": "nowhere: it looks whether there is a library",
    "adapters/bastion/forwarding.py": "its callers, which are here",
    "adapters/bastion/relay.py": "its callers, which are here",
    "adapters/bastion/side.py": "its callers, which are here",
    "adapters/bastion/watching.py": NOWHERE,
    "adapters/bastion/ssh_server.py": OPERATOR,
    "adapters/over_http/bastion_over_http.py": NAMED,
    "adapters/over_http/bounded_http.py": "its callers, which are here",
    "adapters/event_sinks.py": TYPED,
    "adapters/over_http/database_gate_over_http.py": NAMED,
    "adapters/scans/forge_http.py": TYPED,
    "adapters/over_http/gates_at_once.py": NAMED,
    "adapters/scans/host_tools.py": NOWHERE,
    "adapters/over_http/http_client.py": "its callers, which are here",
    "adapters/over_http/index_over_http.py": LAB,
    "adapters/inputs/oci_registry.py": OPERATOR,
    "adapters/inputs/s3_input.py": OPERATOR,
    "adapters/over_http/log_over_http.py": LAB,
    "adapters/hosts/host_socket.py": NOWHERE,
    "adapters/hosts/sshd_helper.py": NOWHERE,
    "adapters/login/openid_provider.py": OPERATOR,
    "adapters/over_http/release_over_http.py": NAMED,
    "adapters/sign_page/here.py": NOWHERE,
    "adapters/keys/ssh_agent.py": NOWHERE,
    "adapters/over_http/witness_over_http.py": OPERATOR,
    "cli/lab/sign_page.py": TYPED,
    "service/local_peers.py": NOWHERE,
    "service/shell.py": NOWHERE,
    "wiring/lab/check_up.py": NAMED,
    "wiring/custody/run_command.py": NAMED,
    "wiring/gates/scan.py": TYPED,
}


def _connecting() -> set[str]:
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLIENTS
            if called or LIBRARIES.intersection(names):
                found.add(str(path.relative_to(SOURCE)))
    return found


def test_no_module_opens_a_connection_without_a_word_for_where_its_address_comes_from() -> None:
    assert _connecting() == WHOSE_WORD.keys()
