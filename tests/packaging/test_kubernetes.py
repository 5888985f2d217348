"""The Kubernetes manifest keeps the builder's key from whoever is not its operator, as far as a manifest can say that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from keyturn.cli.custody.builder import app

MANIFEST = Path(__file__).resolve().parents[2] / "packaging" / "kubernetes" / "step-job.yaml"


def of_kind(kind: str) -> Any:
    (found,) = [one for one in yaml.safe_load_all(MANIFEST.read_text()) if one["kind"] == kind]
    return found


def test_the_pod_has_nothing_that_a_step_could_use() -> None:
    assert of_kind("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    network = of_kind("NetworkPolicy")["spec"]
    assert (network["policyTypes"], "ingress" in network, network["podSelector"]) == (["Ingress", "Egress"], False, {})
    pod = of_kind("Job")["spec"]["template"]["spec"]
    assert (pod["automountServiceAccountToken"], pod["hostUsers"], pod["restartPolicy"]) == (False, False, "Never")
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["initContainers"], *pod["containers"]):
        tight = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == tight
        assert "@sha256:" in container["image"]


def test_the_key_is_in_memory_and_what_runs_is_a_command() -> None:
    pod = of_kind("Job")["spec"]["template"]["spec"]
    (builder,) = pod["containers"]
    assert next(v for v in pod["volumes"] if v["name"] == "key")["emptyDir"]["medium"] == "Memory"
    assert [m["name"] for m in builder["volumeMounts"] if m["name"] == "secret"] == []
    assert builder["command"][:2] == ["keyturn", "builder"]
    commands: Any = get_command(app)
    assert builder["command"][2] in commands.commands
