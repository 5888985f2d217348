"""Keys whose every byte is known, so that tests say the same thing each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from keyturn.crypto.signers import SoftwareKey


@pytest.fixture(scope="session")
def ed25519_key() -> Callable[[int], SoftwareKey]:
    """Make the Ed25519 key of a seed."""
    return lambda seed: SoftwareKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


@pytest.fixture(scope="session")
def p256_key() -> Callable[[int], SoftwareKey]:
    """Make the P-256 key of a seed."""
    return lambda seed: SoftwareKey(ec.derive_private_key(seed + 1, ec.SECP256R1()))


@pytest.fixture(scope="session", params=["ed25519", "p256"])
def new_key(request, ed25519_key, p256_key) -> Callable[[int], SoftwareKey]:
    """Make a key of a seed, of each kind in turn."""
    return ed25519_key if request.param == "ed25519" else p256_key
