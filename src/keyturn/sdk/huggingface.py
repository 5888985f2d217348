"""Have the checkpoints of a Hugging Face `Trainer` logged.

    Trainer(..., callbacks=[LoggedCheckpoints(keyturn.open_step())])

`Trainer` writes `checkpoint-<step>` itself, so the first rank reads what it wrote, when every rank is done. Resuming is its own:
`trainer.train(resume_from_checkpoint=step.input("checkpoint"))`, in an attempt that `keyturn step resume` opened. Needs
transformers, which Keyturn does not install.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from keyturn.sdk.step import Step

__all__ = ["LoggedCheckpoints"]


class LoggedCheckpoints(TrainerCallback):  # type: ignore[misc]  # without transformers, it is Any to mypy
    """A `TrainerCallback` for every rank of `step`'s job."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def on_save(self, args: Any, state: Any, control: Any, **_more: Any) -> None:
        """What `Trainer` calls on every rank after it wrote a checkpoint."""
        with self._step.checkpoint(Path(args.output_dir, f"checkpoint-{state.global_step}").absolute()):
            pass
