"""The pages of the ceremonies, run by people whose passkeys a real browser makes, and signs with: what is held in production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.ceremonies import BY_PASSKEYS, run_ceremony

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.timeout(460)]


@pytest.mark.parametrize("name", BY_PASSKEYS)
def test_a_ceremony_works_for_people_with_passkeys(name: str, person: Any, origin: str, tmp_path: Path) -> None:
    keys = {"PAGE": origin, "KEYS": f"--member-key passkey --page {origin}"}
    said = run_ceremony(name, tmp_path, environment=keys, browse=person.open)
    assert "on the phone or in the room: webauthn " in said
    assert len(person.urls) >= 2
