"""A security key in software (CTAP 2.1): real CBOR, real keys, a PIN by protocol 2, an attestation by whoever made it.

There is no hardware where tests run, and no /dev/uhid. `SecurityKey.answer` is what a device does with one CTAP message; the
`fido2` library talks to it through `Plugged` in one process, and through `support.ctaphid` as it does over USB. Its fields are
what an attacker, or a bad device, would change.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from fido2 import cbor
from fido2.cose import ES256, CoseKey, EdDSA
from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin, PinProtocolV2
from fido2.hid import CAPABILITY, CTAPHID
from fido2.webauthn import Aaguid, AttestedCredentialData, AuthenticatorData

from support.attesters import Attester

__all__ = ["PIN", "Plugged", "SecurityKey"]

PIN = "271828"
AAGUID = bytes.fromhex("0102030405060708090a0b0c0d0e0f10")
ERR = CtapError.ERR
FLAG = AuthenticatorData.FLAG
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class _Refusal(Exception):
    def __init__(self, code: CtapError.ERR) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class SecurityKey:
    """One device. `touched` says whether its holder touches it; without `pin` it has none and verifies nobody.

    `says_verified` is what it claims of its user whatever happened. `attester` signs how keys are made; without, the key itself.
    """

    pin: str | None = PIN
    touched: bool = True
    algorithm: int = ES256.ALGORITHM
    aaguid: bytes = AAGUID
    attester: Attester | None = None
    says_verified: bool | None = None
    more_flags: int = 0
    retries: int = 8
    touches: int = 0
    pins_asked: int = 0
    held: dict[bytes, tuple[str, Private]] = field(default_factory=dict)
    counter: int = 0
    _agreement: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _token: bytes = field(default_factory=lambda: os.urandom(32))

    def answer(self, message: bytes, *, touch: Callable[[], None] = lambda: None) -> bytes:
        """The answer to one CTAP message: a status byte, and CBOR; `touch` is told when a touch is waited for."""
        asked: Mapping[int, Any] = cbor.decode(message[1:]) if len(message) > 1 else {}  # type: ignore[assignment]
        try:
            match message[0]:
                case Ctap2.CMD.GET_INFO:
                    said: Mapping[int, Any] = self._info()
                case Ctap2.CMD.CLIENT_PIN:
                    said = self._client_pin(asked)
                case Ctap2.CMD.MAKE_CREDENTIAL:
                    said = self._make(asked, touch)
                case Ctap2.CMD.GET_ASSERTION:
                    said = self._assert(asked, touch)
                case Ctap2.CMD.SELECTION:
                    self._touch(touch)
                    said = {}
                case _:
                    raise _Refusal(ERR.INVALID_COMMAND)
        except _Refusal as refusal:
            return bytes([refusal.code])
        return b"\0" + (cbor.encode(said) if said else b"")

    def _info(self) -> Mapping[int, Any]:
        options = {"rk": False, "up": True, "clientPin": self.pin is not None, "pinUvAuthToken": True}
        return {1: ["FIDO_2_0", "FIDO_2_1"], 3: self.aaguid, 4: options, 5: 1200, 6: [2], 7: 8, 8: 128}

    def _client_pin(self, asked: Mapping[int, Any]) -> Mapping[int, Any]:
        match asked[2]:
            case ClientPin.CMD.GET_PIN_RETRIES:
                return {3: self.retries}
            case ClientPin.CMD.GET_KEY_AGREEMENT:
                kind: Any = ES256
                key = dict(kind.from_cryptography_key(self._agreement.public_key()))
                return {1: {**key, 3: -25}}
            case ClientPin.CMD.GET_TOKEN_USING_PIN:
                return {2: self._token_for(asked)}
            case _:
                raise _Refusal(ERR.INVALID_SUBCOMMAND)

    def _token_for(self, asked: Mapping[int, Any]) -> bytes:
        self.pins_asked += 1
        if self.pin is None:
            raise _Refusal(ERR.PIN_NOT_SET)
        if self.retries == 0:
            raise _Refusal(ERR.PIN_BLOCKED)
        theirs = asked[3]
        x, y = (int.from_bytes(theirs[name], "big") for name in (-2, -3))
        peer = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        protocol: Any = PinProtocolV2()
        shared = protocol.kdf(self._agreement.exchange(ec.ECDH(), peer))
        self._agreement = ec.generate_private_key(ec.SECP256R1())
        if protocol.decrypt(shared, asked[6]) != hashlib.sha256(self.pin.encode()).digest()[:16]:
            self.retries -= 1
            raise _Refusal(ERR.PIN_BLOCKED if self.retries == 0 else ERR.PIN_INVALID)
        self.retries, self._token = 8, os.urandom(32)
        return bytes(protocol.encrypt(shared, self._token))

    def _make(self, asked: Mapping[int, Any], touch: Callable[[], None]) -> Mapping[int, Any]:
        if asked.get(6) or self.algorithm not in [one["alg"] for one in asked[4]]:
            raise _Refusal(ERR.UNSUPPORTED_ALGORITHM)
        verified = self._verified(asked, 1, 8)
        if self.pin is not None and not verified:
            raise _Refusal(ERR.PUAT_REQUIRED)
        self._touch(touch)
        private: Private = (
            ec.generate_private_key(ec.SECP256R1())
            if self.algorithm == ES256.ALGORITHM
            else ed25519.Ed25519PrivateKey.generate()
        )
        credential, rp_id = os.urandom(48), asked[2]["id"]
        self.held[credential] = (rp_id, private)
        kind: Any = ES256 if isinstance(private, ec.EllipticCurvePrivateKey) else EdDSA
        cose: CoseKey = kind.from_cryptography_key(private.public_key())
        made = AttestedCredentialData.create(Aaguid(self.aaguid), credential, cose)
        data = self._data(rp_id, verified, FLAG.AT, bytes(made))
        if self.attester is not None:
            return {1: "packed", 2: data, 3: self.attester.statement(data + asked[1])}
        return {1: "packed", 2: data, 3: {"alg": self.algorithm, "sig": _sign(private, data + asked[1])}}

    def _assert(self, asked: Mapping[int, Any], touch: Callable[[], None]) -> Mapping[int, Any]:
        held = [one["id"] for one in asked.get(3, ()) if one["id"] in self.held and self.held[one["id"]][0] == asked[1]]
        silent = asked.get(5, {}).get("up") is False
        verified = self._verified(asked, 2, 6)
        if not silent:
            self._touch(touch)
        if not held:
            raise _Refusal(ERR.NO_CREDENTIALS)
        _, private = self.held[held[0]]
        data = self._data(asked[1], verified, FLAG(0), present=not silent)
        return {1: {"type": "public-key", "id": held[0]}, 2: data, 3: _sign(private, data + asked[2])}

    def _verified(self, asked: Mapping[int, Any], message: int, param: int) -> bool:
        if param not in asked:
            return False
        protocol: Any = PinProtocolV2()
        if not hmac.compare_digest(protocol.authenticate(self._token, asked[message]), asked[param]):
            raise _Refusal(ERR.PIN_AUTH_INVALID)
        return True

    def _data(
        self, rp_id: str, verified: bool, flags: AuthenticatorData.FLAG, made: bytes = b"", *, present: bool = True
    ) -> bytes:
        if present:
            flags |= FLAG.UP
        if verified if self.says_verified is None else self.says_verified:
            flags |= FLAG.UV
        self.counter += 1
        flags |= FLAG(self.more_flags)
        return bytes(AuthenticatorData.create(hashlib.sha256(rp_id.encode()).digest(), flags, self.counter, made))

    def _touch(self, touch: Callable[[], None]) -> None:
        touch()
        if not self.touched:
            raise _Refusal(ERR.USER_ACTION_TIMEOUT)
        self.touches += 1


def _sign(private: Private, data: bytes) -> bytes:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(data)
    return private.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass
class Plugged(CtapDevice):
    """A device in this process, without a transport."""

    key: SecurityKey
    closed: bool = False

    @property
    def capabilities(self) -> int:
        return int(CAPABILITY.CBOR)

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        assert cmd == CTAPHID.CBOR
        assert not self.closed
        return self.key.answer(data, touch=lambda: on_keepalive(STATUS.UPNEEDED) if on_keepalive else None)

    def close(self) -> None:
        self.closed = True

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        raise NotImplementedError("tests name their devices")
