"""Have the checkpoints of a Lightning `Trainer` logged.

    Trainer(..., plugins=[LoggedCheckpointIO(keyturn.open_step())])

Lightning calls this on the rank that writes, once all of them got there. A checkpoint is a file, or a directory of its sharded
strategies. Needs lightning, which Keyturn does not install.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from keyturn.sdk.step import Step

__all__ = ["LoggedCheckpointIO"]


class LoggedCheckpointIO(TorchCheckpointIO):  # type: ignore[misc]  # without lightning, it is Any to mypy
    """Lightning's own way to write checkpoints, after which they are logged."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        super().save_checkpoint(checkpoint, path, storage_options)
        self._step.keep(Path(path))
