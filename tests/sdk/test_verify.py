"""What a deploy script does: it deploys what people released as what it means to deploy, and nothing else."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import keyturn
from keyturn.app.custody import verify_pack as keyturn_pack
from keyturn.bulk import manifest
from keyturn.formats import log_part
from keyturn.formats.dsse import Envelope
from support.chains import AURORA, artifact
from support.releases import ReleaseWorld, make_release_world

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Delivery:
    """What a deploy script got (`place`), what it holds itself (`said`), and the lab that released by the request `asked`."""

    place: Path
    said: dict[str, Any]
    made: ReleaseWorld
    asked: Envelope

    def verify(self, **changed: object) -> keyturn.ReleasedModel:
        said: dict[str, Any] = {**self.said, **changed}
        return keyturn.verify_model(self.place / "model", pack=self.place / "model.pack", **said)


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.safetensors").write_bytes(bytes(4096))
    (model / "config.json").write_text("{}")
    identity = manifest.make(model).identity
    made = make_release_world()
    lab = made.world.lab
    made.chain.ingest()
    _, criteria = made.chain.criteria((artifact("held-out"),))
    made.chain.step("train", {"data": artifact("data"), "code": artifact("code")}, {"model": identity})
    made.chain.evaluate(identity, criteria)
    made.sync()
    asked = made.ask(index=made.compute_index(model=identity))
    given = made.world.approve(asked, "bob"), made.world.approve(asked, "cat")
    made.hashed = lambda _path: manifest.make(model)
    (tmp_path / "model.pack").write_bytes(made.gate().release(made.order(asked, *given, path=str(model))))
    (tmp_path / "root.json").write_bytes(lab.root_json)
    size = keyturn_pack.examine_pack(
        (tmp_path / "model.pack").read_bytes(), root_json=lab.root_json, pinned_sha256=lab.root_sha256
    ).log_size
    assert size is not None
    leaves = tuple(made.world.log.leaves(size, made.world.log.settle().size))
    part = log_part.LogPart(start=size, note=made.world.note(), leaves=leaves, envelopes=())
    (tmp_path / "release.log-part").write_bytes(log_part.render(part))
    return Delivery(
        tmp_path,
        {
            "root": tmp_path / "root.json",
            "root_sha256": lab.root_sha256,
            "resource": str(AURORA),
            "profile": "demo",
        },
        made,
        asked,
    )


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(keyturn.KeyturnError) as caught:
        act()
    return caught.value.code


def test_what_was_released_verifies_and_says_by_whom(delivery: Delivery) -> None:
    released = delivery.verify()
    assert (released.resource, released.profile) == (str(AURORA), "demo")
    assert released.approvers == ("bob", "cat")
    assert released.requester not in released.approvers
    assert released.digest == str(manifest.make(delivery.place / "model").identity)
    assert released.files == delivery.place / "model"
    assert released.released_at <= released.as_of


def test_files_are_compared_fast_by_whoever_asks_for_it(delivery: Delivery) -> None:
    assert delivery.verify(fast=True) == delivery.verify()
    (delivery.place / "model" / "config.json").write_text("[]")
    with pytest.raises(keyturn.Refused, match=r"are others, .*: 'config.json' has another content"):
        delivery.verify(fast=True)
    with pytest.raises(keyturn.Refused, match=r"are `dirHash:.*: 'config.json' has another content"):
        delivery.verify()


def test_a_pack_alone_verifies_without_files(delivery: Delivery) -> None:
    assert keyturn.verify_pack(delivery.place / "model.pack", **delivery.said).files is None


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"root_sha256": "0" * 64}, "trust-root-not-pinned", id="another root than people compared"),
        pytest.param({"root_sha256": ""}, "digest-invalid", id="an empty pin, from a variable that is not set"),
        pytest.param({"resource": str(AURORA) + "-2"}, "resource-other", id="another model of the same lab"),
        pytest.param({"resource": ""}, "resource-other", id="no resource"),
        pytest.param({"profile": "production"}, "profile-other", id="a demo lab where production is meant"),
        pytest.param({"root": Path("/nowhere")}, "file-missing", id="no root"),
    ],
)
def test_what_the_script_did_not_mean_is_refused(delivery: Delivery, changed: dict[str, object], code: str) -> None:
    assert code_of(lambda: delivery.verify(**changed)) == code
    assert code_of(lambda: keyturn.verify_pack(delivery.place / "model.pack", **{**delivery.said, **changed})) == code


def test_another_file_is_another_model(delivery: Delivery) -> None:
    weights = delivery.place / "model" / "weights.safetensors"
    weights.write_bytes(bytes(4095) + b"\x01")
    assert code_of(delivery.verify) == "model-other-files"


def test_a_loader_reads_what_was_verified_whatever_becomes_of_it_meanwhile(delivery: Delivery) -> None:
    (delivery.place / "current").symlink_to(delivery.place)
    released = keyturn.verify_model(
        delivery.place / "current" / "model", pack=delivery.place / "model.pack", **delivery.said
    )
    assert released.files == delivery.place / "model"
    (delivery.place / "current").unlink()
    with released.unchanged() as path:
        assert (path / "config.json").read_text() == "{}"
    with pytest.raises(keyturn.Refused, match=r"'config\.json' changed"), released.unchanged() as path:
        (delivery.place / "model" / "config.json").write_text("[]")
    with pytest.raises(keyturn.Refused, match="file-changed"), released.unchanged():
        raise AssertionError("it does not come to this")
    alone = keyturn.verify_pack(delivery.place / "model.pack", **delivery.said)
    with pytest.raises(keyturn.Usage, match="files-not-verified"), alone.unchanged():
        raise AssertionError("it does not come to this")


def test_a_word_of_the_witnesses_of_long_ago_is_no_yes_and_another_model_is_a_no(delivery: Delivery) -> None:
    def check(model: str, **changed: object) -> str:
        said: dict[str, Any] = {**delivery.said, "log": delivery.place / "release.log-part", **changed}
        return code_of(lambda: keyturn.check_release(model, pack=delivery.place / "model.pack", **said))

    files = str(delivery.place / "model")
    assert check(files) == check(delivery.verify().digest) == "release-state-unknown"
    assert check("dirHash:" + "0" * 64) == "model-other-files"
    assert check(files, profile="production") == "profile-other"
    assert check(files, log="http://127.0.0.1:9") == "release-state-unknown"
    assert check(files + "-2") == "artifact-missing"


def test_a_flipped_bit_in_the_pack_is_refused_with_every_reason(delivery: Delivery) -> None:
    pack = delivery.place / "model.pack"
    raw = pack.read_bytes()
    pack.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    with pytest.raises(keyturn.Refused) as caught:
        delivery.verify()
    assert caught.value.reasons


def test_only_the_verifier_makes_a_verdict(delivery: Delivery) -> None:
    released = delivery.verify()
    with pytest.raises(TypeError):
        pickle.dumps(released)
    with pytest.raises(TypeError):
        keyturn.ReleasedModel("d", "r", "l", "demo", "ada", (), 0, 0, None, object())


def test_nothing_that_trust_rests_on_has_a_default(delivery: Delivery) -> None:
    for name in delivery.said:
        less = {key: value for key, value in delivery.said.items() if key != name}
        with pytest.raises(TypeError, match=name):
            keyturn.verify_pack(delivery.place / "model.pack", **less)


def test_importing_keyturn_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import keyturn\n"
        "new = set(sys.modules) - before - sys.stdlib_module_names - {'keyturn'}\n"
        "print(sorted(m for m in new if m.split('.')[0] not in sys.stdlib_module_names))\n"
        "assert set(keyturn.__all__) <= set(dir(keyturn))\n"
        "assert keyturn.verify_model.__module__ == 'keyturn.sdk.verify'"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_every_name_that_is_shown_is_there_and_no_other() -> None:
    assert [name for name in keyturn.__all__ if not hasattr(keyturn, name)] == []
    assert not hasattr(keyturn, "verify_everything")


def test_the_example_of_the_page_runs(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]  # others: gates/own/test_live.py, sdk/test_step.py
    monkeypatch.chdir(delivery.place)
    exec(compile(example, "docs/sdk.md", "exec"), {"ROOT_SHA256": delivery.said["root_sha256"]})
    assert "released by bob, cat" in capsys.readouterr().out
    assert [name for name in keyturn.__all__ if name != "__version__" and f"`{name}" not in page] == []
