"""A SoftHSM2 token in a directory: real PKCS#11, with keys made through the binding and every attribute in our hand."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType

from keyturn.adapters.keys.pin import Pin
from keyturn.adapters.keys.pkcs11_key import TokenPlace

__all__ = ["MODULE", "PIN", "SoftToken", "add_token", "make_token"]

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "271828"
_CURVES = {
    "p256": (KeyType.EC, bytes.fromhex("06082a8648ce3d030107")),
    "ed25519": (KeyType.EC_EDWARDS, bytes.fromhex("06032b6570")),
    "p384": (KeyType.EC, bytes.fromhex("06052b81040022")),
}


@dataclass
class SoftToken:
    """Needs SOFTHSM2_CONF=`config` in the environment. `asked` counts how often somebody was asked for the PIN."""

    config: Path
    label: str = "ada"
    pin: str = PIN
    asked: int = 0

    def ask(self, token: str) -> Pin:
        assert token == self.label
        self.asked += 1
        return Pin(self.pin)

    def place(self, label: str = "sign") -> TokenPlace:
        return TokenPlace(MODULE, self.label, label)

    def uri(self, label: str = "sign") -> str:
        return f"pkcs11:token={self.label};object={label}?module-path={MODULE}"

    def make_key(self, curve: str = "ed25519", label: str = "sign", **attributes: bool) -> None:
        """Make a key pair on the token, which asks for the PIN each time; `extractable=True` and so on change what its private
        key is.
        """
        library = pkcs11.lib(MODULE)
        kind, parameters = _CURVES[curve]
        private = {
            getattr(Attribute, name.upper()): value
            for name, value in {"always_authenticate": True, **attributes}.items()
        }
        try:
            with library.get_token(token_label=self.label).open(rw=True, user_pin=PIN) as session:
                domain = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: parameters}, local=True)
                domain.generate_keypair(store=True, id=label.encode(), label=label, private_template=private)
        finally:
            library.finalize()


def make_token(directory: Path, label: str = "ada") -> SoftToken:
    """Make a token below `directory`."""
    tokens = directory / "tokens"
    tokens.mkdir(exist_ok=True)
    config = directory / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    add_token(config, label)
    return SoftToken(config, label)


def add_token(config: Path, label: str) -> None:
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "31415926"],
        env={"SOFTHSM2_CONF": str(config), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
