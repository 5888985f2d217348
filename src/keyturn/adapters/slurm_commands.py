"""Ask Slurm's controller about a job, and end one: `squeue`, `scontrol` and `scancel` of /usr/bin, one field to a question.

A job's name, comment and paths are its user's own words, so a listing of `name=value` can be forged by whoever submits; each
question here is for one field, and what comes back is that field. This is NOT the right to ask: it runs as SlurmUser.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from keyturn.errors import Unavailable
from keyturn.formats.digest import Sha256, sha256

__all__ = ["SlurmCommands"]

_WITHIN_S = 30.0
_FORGOTTEN = b"Invalid job id specified"


class SlurmCommands:
    """One job of the cluster whose slurm.conf the environment names, by its number."""

    def __init__(self, job: str) -> None:
        self._job = job

    def state(self) -> str:
        """`COMPLETED`, `CANCELLED`, `COMPLETING` while anything of it may still run, ..."""
        return self._field("%T")

    def user(self) -> tuple[str, int]:
        """The user's name, and his number."""
        return self._field("%u"), int(self._field("%U"))

    def command(self) -> str:
        """The batch script's path as it was typed, and its arguments, with one space between any two."""
        return self._field("%o")

    def restarts(self) -> int:
        """How often it was queued again."""
        return int(self._long_field("RestartCnt:20"))

    def container(self) -> str | None:
        return None if (found := self._long_field("Container:1024")) in ("", "(null)", "N/A") else found

    @staticmethod
    def runs_containers() -> bool:
        """Whether Slurm is told how to run one: else it takes `--container`, and runs the job without."""
        return Path(os.environ.get("SLURM_CONF") or "/etc/slurm/slurm.conf").with_name("oci.conf").exists()

    def exit_codes(self) -> tuple[str, str]:
        """How the batch script ended, and the highest of the job's own steps, as `code:signal`; `0:0` of both while it runs."""
        return _exit_code(self._long_field("exit_code:20")), _exit_code(self._long_field("DerivedEC:20"))

    def script(self) -> Sha256:
        """The SHA-256 of the batch script that Slurm keeps, and runs."""
        return sha256(self._ask("scontrol", "write", "batch_script", self._job, "-"))

    def cancel(self, why: str) -> None:
        """End the job before it starts, with `why` where its user finds it: `AdminComment` of `scontrol show job`."""
        self._ask("scontrol", "update", f"JobId={self._job}", f"AdminComment={why}")
        self._ask("scancel", self._job)

    def _field(self, name: str) -> str:
        said = self._ask("squeue", "--noheader", "--states", "all", "--jobs", self._job, "--format", name)
        return said.decode("utf-8", "replace").removesuffix("\n").rstrip(" ")

    def _long_field(self, name: str) -> str:
        said = self._ask("squeue", "--noheader", "--states", "all", "--jobs", self._job, "--Format", name)
        return said.decode("utf-8", "replace").strip()

    def _ask(self, tool: str, *words: str) -> bytes:
        environment = {name: value for name in ("SLURM_CONF",) if (value := os.environ.get(name))}
        try:
            done = subprocess.run(
                [f"/usr/bin/{tool}", *words],
                env={"PATH": "/usr/bin:/bin", **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_WITHIN_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as err:
            said = getattr(err, "stderr", None) or str(err).encode()
            if _FORGOTTEN in said:
                raise Unavailable(
                    "slurm-forgot",
                    f"Slurm knows no job {self._job} any more",
                    hint="a longer MinJobAge in slurm.conf leaves more time to look",
                ) from err
            raise Unavailable(
                "slurm-silent",
                f"`{tool}` said nothing about job {self._job}",
                hint="the hooks run where slurmctld runs, as SlurmUser; SLURM_CONF names another slurm.conf",
                detail=said[-800:].decode("utf-8", "replace"),
            ) from err
        return done.stdout


def _exit_code(said: str) -> str:
    """`3:0` of a status as wait(2) has it, which is how squeue prints it."""
    status = int(said)
    return f"{status >> 8 & 0xFF}:{status & 0x7F}"
