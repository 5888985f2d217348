"""A builder with a real sandbox, a real lab's trust and a log in memory; and a step to run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.files.job_files import JobFiles
from keyturn.adapters.files.outbox_files import OutboxFiles
from keyturn.adapters.files.runtime_memory import RuntimeMemory
from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.over_http.builder_over_http import About, JobState, Order
from keyturn.adapters.sandbox_bwrap import BubblewrapSandbox
from keyturn.app.custody.follow_as_builder import TrustNow
from keyturn.app.custody.run_step import Signer
from keyturn.bulk import manifest
from keyturn.config import step as step_config
from keyturn.crypto import dsse_signing
from keyturn.errors import KeyturnError
from keyturn.formats.provenance import BuilderId
from keyturn.service.builder_service import BuilderService
from keyturn.wiring.custody.builder import BuilderParts
from keyturn.wiring.custody.steps import declared_inputs, make_request, sign_request
from support.labs import NOW, Lab


def _small_runtime() -> str:
    """The files that sh and a few tools are, as a STEP.toml lists them: quick to digest."""
    tools = [
        f"/usr/bin/{t}"
        for t in ("sh", "cat", "ln", "touch", "chmod", "mkdir", "mkfifo", "sleep", "env", "ls", "truncate")
    ]
    said = subprocess.run(["ldd", *tools], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(/\S+) \(0x", said)
    libraries = sorted({f"/usr{path}" if not path.startswith("/usr/") else path for path in found})
    return "[" + ", ".join(f'"{path}"' for path in (*tools, *libraries)) + "]"


RUNTIME = _small_runtime()


__all__ = ["RUNTIME", "Place", "Run", "failed", "finish", "refused"]


class FixedClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> int:
        return self.time


@dataclass
class Place:
    """Where a test's files are: a lab that is private, and a work directory."""

    root: Path
    lab: Lab
    log: LogInMemory = field(default_factory=LogInMemory)
    clock: FixedClock = field(default_factory=FixedClock)
    trust_now: TrustNow = field(init=False)
    nonce: int = 0

    def __post_init__(self) -> None:
        self.trust_now = TrustNow(self.lab.state, lambda member, keyid: None)
        self.key_file.parent.mkdir(parents=True, exist_ok=True)
        self.key_file.write_bytes(self.lab.builder_keys["builder"].render(passphrase=None))
        self.key_file.chmod(0o600)
        self.work.mkdir(exist_ok=True)

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def key_file(self) -> Path:
        return self.root / "lab" / "builder" / "key"

    @property
    def outbox(self) -> Path:
        return self.root / "lab" / "builder" / "outbox"

    @property
    def out(self) -> Path:
        return self.work / "made"

    def parts(self, **changes: Any) -> BuilderParts:
        key = self.lab.builder_keys["builder"]
        parts = BuilderParts(
            about=About(
                name="builder",
                lab=self.lab.name,
                key=key.public.text,
                level=1,
                work=(str(self.work),),
                runtime=("/usr",),
                queue_max=2,
                trust_version=0,
            ),
            signer=Signer(BuilderId(self.lab.name, "builder", "builder"), 1, lambda p: dsse_signing.sign(p, key)),
            trust_now=lambda: self.trust_now,
            allowed=Allowed((self.work,), (Path("/usr"), Path(sys.base_prefix)), (self.root / "lab",)),
            sources=(),
            memory=RuntimeMemory(self.root / "lab" / "builder" / "runtime", key.sign),
            sandbox=BubblewrapSandbox(),
            probe=lambda: None,
            log=self.log,
            clock=self.clock,
            jobs=JobFiles(self.root / "lab" / "builder"),
            outbox=OutboxFiles(self.outbox, self.log),
        )
        return replace(parts, **changes)

    def data(self) -> Path:
        place = self.work / "data"
        if not place.exists():
            place.mkdir()
            (place / "a.txt").write_text("hello\n")
        return place

    def step_file(
        self, script: str = "cat /in/data/a.txt > /out/model", *, build: str = "ingest", **more: object
    ) -> bytes:
        """A STEP.toml that runs `script` with sh; `digest`, `source`, `check`, `runtime`, `timeout_s`, `outputs` change it."""
        values: dict[str, object] = {
            "digest": str(manifest.make(self.data()).identity),
            "source": "data",
            "check": "full",
            "runtime": RUNTIME,
            "timeout_s": 20,
            "outputs": ("model",),
            "name": "data",
            "resume": None,
        } | more
        outputs = "".join(f'[[outputs]]\nname = "{o}"\npath = "/out/{o}"\n' for o in values["outputs"])  # type: ignore[attr-defined]
        return (
            f'version = 1\nname = "first"\nbuild_type = "{build}"\ncommand = ["sh", "-c", """{script}"""]\n'
            + (f'resume = "{values["resume"]}"\n' if values["resume"] else "")
            + f'[[inputs]]\nname = "{values["name"]}"\nsource = "{values["source"]}"\ndigest = "{values["digest"]}"\n'
            f'mount = "/in/data"\ncheck = "{values["check"]}"\n{outputs}'
            f"[sandbox]\nruntime = {values['runtime']}\ntimeout_s = {values['timeout_s']}\n"
        ).encode()

    def order(
        self,
        raw: bytes,
        *,
        member: str = "ada",
        builder: str | None = "builder",
        criteria: bytes | None = None,
        **more: Any,
    ) -> Order:
        self.nonce += 1
        step = step_config.parse(raw)
        key = self.lab.member_keys[member]
        request = make_request(
            step,
            declared_inputs(raw, step, self.work),
            trust=self.lab.state,
            member=member,
            key=key,
            builder=builder,
            criteria=more.pop("criteria_digest", None),
            places=(str(more.get("base", self.work)), str(more.get("destination", self.out))),
            nonce=f"{self.nonce:032x}",
            now=self.clock.time,
        )
        if more.pop("unbound", False):
            request = msgspec.structs.replace(request, places=None)
        values: dict[str, Any] = {
            "request": sign_request(request, more.pop("key", key)),
            "step_file": raw,
            "base": str(self.work),
            "destination": str(self.out),
            "criteria": criteria,
        }
        return Order(**(values | more))


Run = Callable[[Order], JobState]


def finish(service: BuilderService, job: str) -> JobState:
    return service.state(job, wait_s=60)


def failed(state: JobState, code: str) -> str:
    assert state.state == "failed", state
    assert state.error is not None
    assert state.error.code == code, state.error
    return state.error.detail


def refused(place: Any, order: Order, code: str) -> None:
    service = BuilderService(place.parts())
    with pytest.raises(KeyturnError) as caught:
        service.order(order)
    assert caught.value.code == code
    assert place.log._leaves == []
    assert not (place.root / "lab" / "builder" / "ran").exists()
