"""Answer one question by the released model, on a host that may: the last thing before it is loaded is `keyturn.check_release`.

    python serve.py ROOT_SHA256 QUESTION

The signed pack, the lab's first root and the model's files lie here; the log says whether the release was withdrawn.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keyturn

root_sha256, question = sys.argv[1:]
service = json.loads(Path("lab/run/service.json").read_text())[
    "url"
]  # in production an address: https://keyturn.acme.example
try:
    released = keyturn.check_release(
        "work/finetune/out/model",
        pack="model.pack",
        root="lab/trust/root.json",
        root_sha256=root_sha256,
        resource="keyturn://acme.example/model/advisor",
        profile="demo",
        log=service,
    )
except keyturn.Unavailable as err:
    sys.exit(f"do not serve: could not find out ({err.code})")
except keyturn.KeyturnError as err:
    sys.exit(f"do not serve: {err}")
print("serving", released.digest, "approved by", ", ".join(released.approvers))

from minilm import MiniLM, unit  # noqa: E402  # nothing of the model's is read before it may be
from pairs import read_pairs  # noqa: E402

model = MiniLM(Path("work/finetune/out/model"))
answers = sorted(set(read_pairs(Path("work/ingest/out/heldout"))[1]))
scores = unit(model.embed([question]) @ model.dense) @ unit(model.embed(answers) @ model.dense).T
print("advice:", answers[int(scores[0].argmax())])
