"""docs/guide/evidence.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.bulk import manifest
from keyturn.formats import base64_text
from support.model_signatures import Key, der
from support.outside import SLSA, trusted_root
from support.pages import run_page

pytestmark = pytest.mark.timeout(300)


def test_what_others_signed_is_taken_in_as_it_is_written(tmp_path: Path) -> None:
    vendor, model = Key.make(tmp_path / "vendor"), tmp_path / "model"
    model.mkdir()
    for number in range(2000):
        (model / f"model-{number:05d}-of-02000.safetensors").write_text(str(number))
    said = run_page(
        "guide/evidence.md",
        tmp_path,
        files={
            "provenance.json": SLSA.raw.decode(),
            "trusted_root.json": trusted_root().decode(),
            "model.sig": vendor.sign_model(model).decode(),
            "model.digest": str(manifest.make(model).identity),
            "vendor.pub": base64_text.encode(der(vendor.private.public_key())),
        },
    )
    assert said.count("exit status 1") == 2, said
    for code in ("[evidence-other-subject]", "[evidence-signature]", "HOLDS"):
        assert code in said, said
    assert said.count("is logged as entry") == 2, said
