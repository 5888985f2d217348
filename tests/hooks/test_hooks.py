"""Checkpoints that PyTorch DCP, a Hugging Face Trainer and a Lightning Trainer write are logged as what lies on the disk.

The job runs in `.venv-hooks`, which `make hooks` makes: PyTorch is larger than all the rest together.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from keyturn.bulk import manifest
from sdk.test_step import TRAIN, People, people
from support.commands import environment_of
from support.tls_proxy import free_port

__all__ = ["people"]

PYTHON = Path(__file__).resolve().parents[2] / ".venv-hooks" / "bin" / "python"

pytestmark = pytest.mark.hooks

DCP = """
import sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
import keyturn
from keyturn.sdk.torch_dcp import HashingWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
dist.init_process_group("gloo")
step = keyturn.open_step()
mesh = init_device_mesh("cpu", (step.ranks,))
whole = torch.arange(4096.0)
state = {"w": distribute_tensor(whole, mesh, [Shard(0)]), "round": 7}
with step.checkpoint("dcp") as checkpoint:
    dcp.save(state, storage_writer=HashingWriter(checkpoint))
again = {"w": distribute_tensor(torch.zeros(4096), mesh, [Shard(0)]), "round": 0}
dcp.load(again, checkpoint_id=checkpoint.path)
assert torch.equal(again["w"].full_tensor(), whole) and again["round"] == 7
if step.rank == 0:
    print(len(checkpoint.written()), "hashed while written;", checkpoint.digest)
dist.destroy_process_group()
"""
TRAINER = """
import torch, keyturn
from keyturn.sdk.huggingface import LoggedCheckpoints
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
step = keyturn.open_step()
small = BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
rows = [{"input_ids": torch.randint(0, 64, (8,)), "labels": torch.tensor(n % 2)} for n in range(8)]
out = str(step.output("model")) + ".runs"
arguments = TrainingArguments(out, max_steps=4, save_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True)
trainer = Trainer(BertForSequenceClassification(small), arguments, train_dataset=rows, callbacks=[LoggedCheckpoints(step)])
trainer.train()
"""
LIGHTNING = """
import torch, lightning, keyturn
from keyturn.sdk.lightning_io import LoggedCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
step = keyturn.open_step()
saves = ModelCheckpoint(dirpath=str(step.output("model")) + ".lightning", save_top_k=-1, every_n_train_steps=2)
trainer = lightning.Trainer(max_steps=2, logger=False, callbacks=[saves], plugins=[LoggedCheckpointIO(step)],
                            enable_progress_bar=False, accelerator="cpu")
trainer.fit(BoringModel())
"""


@pytest.fixture
def attempt(people: People) -> str:
    (people.place / "train.toml").write_text(TRAIN)
    return str(people.by("ada", "step", "open", "train.toml", "--out", "train", "--yes")["KEYTURN_STEP"])


def job(people: People, attempt: str, program: str, ranks: int = 1) -> str:
    around = {
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "HF_HUB_OFFLINE": "1",
    }
    environment = environment_of(people.place / "ada") | {"KEYTURN_STEP": attempt, **around}
    started = [
        subprocess.Popen(
            [PYTHON, "-c", program],
            cwd=people.place,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * ranks, said
    return said[0]


@pytest.mark.timeout(900)
def test_what_three_libraries_write_is_logged_as_it_lies_on_the_disk(people: People, attempt: str) -> None:
    assert PYTHON.exists(), "make hooks"
    said = job(people, attempt, DCP, ranks=2)
    assert "1 hashed while written" in said, said
    job(people, attempt, TRAINER)
    job(people, attempt, LIGHTNING)
    listed = people.by("ada", "step", "checkpoints", attempt)
    assert [one["number"] for one in listed] == [1, 2, 3, 4]
    assert {one["logged"] for one in listed} == {True}
    assert [Path(one["path"]).name for one in listed[:3]] == ["dcp", "checkpoint-2", "checkpoint-4"]
    for one in listed:
        assert one["digest"] == str(manifest.make(Path(one["path"])).identity)
    assert os.fspath(listed[3]["path"]).endswith(".ckpt")
