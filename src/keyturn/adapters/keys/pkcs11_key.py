"""Sign records with a key in a PKCS#11 token (OASIS PKCS#11 3.0): smart cards, security keys with PIV, HSMs, SoftHSM.

A token's login is per process and stays until it ends: whatever runs in a process that is logged in can sign. So each signature
asks for the PIN, logs in, signs once, logs out, and ends the module. And since other programs log in and stay so (an SSH agent,
which signs any bytes for whoever reaches its socket), a key is enrolled only if it takes the PIN for each signature itself. The
PIN is in no repr, no exception and no argument list.

This does NOT make keys; the token's own tool does (docs/formats/key-signatures.md says with which attributes).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag

from keyturn.adapters.keys.pin import Pin
from keyturn.crypto.keys import PublicKey, canonical_signature
from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable, Usage

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib

__all__ = ["AskPin", "Pkcs11Signer", "TokenPlace", "enrollable_key"]

_P256 = bytes.fromhex("06082a8648ce3d030107")
_ED25519 = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")
"""CKA_EC_PARAMS: the curve's OID (RFC 8410), or its name (PKCS#11 3.0, 2.3.10)."""

_REQUIRED = (
    (Attribute.SENSITIVE, True, "CKA_SENSITIVE true"),
    (Attribute.EXTRACTABLE, False, "CKA_EXTRACTABLE false"),
    (Attribute.ALWAYS_SENSITIVE, True, "CKA_ALWAYS_SENSITIVE true"),
    (Attribute.NEVER_EXTRACTABLE, True, "CKA_NEVER_EXTRACTABLE true"),
)
"""The key cannot leave the token, and never could: an imported one has been elsewhere. The token itself says so."""

_ONE_AT_A_TIME = threading.Lock()
"""A module's login is the whole process's, and the binding starts modules without thread locks (C_Initialize with NULL)."""

_TURN_WITHIN_S = 10.0
"""How long to wait for another process's signature. Anybody may hold the lock, so afterwards we go on without it."""


AskPin = Callable[[str], Pin]
"""Asks the person for the PIN of the token with this label."""


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a key is: the module's path, the token's label, the label of the key pair on it."""

    module: str
    token: str
    label: str


class Pkcs11Signer:
    """`RecordSigner` by the key at `place`, which must be `public`; `pin` is called for each signature."""

    def __init__(self, place: TokenPlace, *, public: PublicKey, pin: AskPin) -> None:
        self._place = place
        self._pin = pin
        self.public = public

    def sign_record(self, message: bytes) -> bytes:
        """Sign the DSSE encoding `message`.

        (1) find the token, ask for its PIN, log in. (2) the public key on the token is the enrolled one. (3) sign, with the
        PIN again when the key asks for it each time. (4) log out. (5) the signature verifies.
        """
        with _logged_in(self._place, self._pin) as (session, pin):  # (1), (4)
            if _public_key(session, self._place) != self.public:  # (2)
                raise _other_key(self._place, self.public)
            private = _signing(session, self._place)
            again = pin.value if _said(private, Attribute.ALWAYS_AUTHENTICATE) is True else None
            if self.public.scheme == "ed25519":  # (3)
                signature = private.sign(message, mechanism=Mechanism.EDDSA, pin=again)
            else:
                # The digest is made here: many tokens have CKM_ECDSA alone, and it is the same signature.
                raw = private.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA, pin=again)
                signature = _der(raw)
        signature = canonical_signature(self.public.scheme, signature)
        try:
            self.public.verify(signature, message)  # (5)
        except Refused as err:
            raise _other_key(self._place, self.public) from err
        return signature

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self.public.keyid[:16]})"


def enrollable_key(place: TokenPlace, *, pin: AskPin) -> PublicKey:
    """Read the public key at `place`, or refuse it: a key that can leave the token, or ever could, is not enrolled; nor is one
    that signs without the PIN once anything is logged in, since its signature is what counts as its user's being verified.
    """
    with _logged_in(place, pin) as (session, _):
        private = _signing(session, place)
        wrong = [said for attribute, value, said in _REQUIRED if _said(private, attribute) is not value]
        if wrong:
            raise Refused(
                "pkcs11-key-exportable",
                f"key `{place.label}` can leave its token, or could: expected {', '.join(wrong)}",
                hint="make a new key on the token itself; none is made from a file",
            )
        if _said(private, Attribute.ALWAYS_AUTHENTICATE) is not True:
            raise Refused(
                "pkcs11-key-silent",
                f"key `{place.label}` signs for whatever is logged in to its token, as an SSH agent after `ssh-add -s`, and asks "
                "nobody: expected CKA_ALWAYS_AUTHENTICATE true",
                hint="make a key that asks each time: pkcs11-tool --keypairgen --always-auth, or PIV slot 9c; to ask for access "
                "alone, and never approve: --member-key ssh:FILE.pub",
            )
        return _public_key(session, place)


@contextmanager
def _logged_in(place: TokenPlace, ask: AskPin) -> Iterator[tuple[pkcs11.Session, Pin]]:
    """Log in for what is done inside. Nothing is open, and nobody waits, while the person types."""
    with _module(place) as library:
        _token(library.get_slots(token_present=True), place)  # before a PIN is asked for in vain
    pin = ask(place.token)
    with _module(place) as library:
        token = _token(library.get_slots(token_present=True), place)
        with token.open(user_pin=pin.value) as session:  # closing logs out
            yield session, pin


@contextmanager
def _module(place: TokenPlace) -> Iterator[lib]:
    """Start the module, and end it: with it ends every login. Each error of its becomes one of ours; none carries a PIN."""
    with _ONE_AT_A_TIME, _turn(place.module):
        try:
            library = pkcs11.lib(place.module)
        except (pkcs11.PKCS11Error, OSError) as err:
            raise _no_module(place.module, str(err)) from err
        try:
            yield library
        except pkcs11.PKCS11Error as err:
            raise _ours(err, place) from err
        finally:
            library.finalize()


@contextmanager
def _turn(module: str) -> Iterator[None]:
    """Take turns with other processes: SoftHSM 2.6 writes a token's files anew at login, and others then see half of them."""
    try:
        fd = os.open(module, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise _no_module(module, err.strerror or "") from err
    try:
        until = time.monotonic() + _TURN_WITHIN_S
        while time.monotonic() < until:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _no_module(module: str, detail: str) -> KeyturnError:
    return Usage(
        "pkcs11-module-missing",
        f"cannot load the PKCS#11 module `{module}`",
        hint="its path, as /usr/lib/softhsm/libsofthsm2.so or /usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
        detail=detail,
    )


def _token(slots: list[pkcs11.Slot], place: TokenPlace) -> pkcs11.Token:
    found = [token for token in (slot.get_token() for slot in slots) if token.label == place.token]
    if not found:
        raise Unavailable(
            "pkcs11-token-missing",
            f"no token `{place.token}` is here",
            hint="put it in; its label is what `pkcs11-tool --list-slots` or `softhsm2-util --show-slots` shows",
        )
    if len(found) > 1:
        raise Refused("pkcs11-token-twice", f"{len(found)} tokens are called `{place.token}`: expected one")
    if found[0].flags & TokenFlag.USER_PIN_LOCKED:
        raise _locked(place)
    return found[0]


def _signing(session: pkcs11.Session, place: TokenPlace) -> pkcs11.SignMixin:
    private = _only(session, ObjectClass.PRIVATE_KEY, place)
    if not isinstance(private, pkcs11.SignMixin):
        raise Refused("pkcs11-key-purpose", f"key `{place.label}` does not sign: expected CKA_SIGN true")
    return private


def _only(session: pkcs11.Session, kind: ObjectClass, place: TokenPlace) -> pkcs11.Object:
    found = list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: place.label}))
    what = "private" if kind is ObjectClass.PRIVATE_KEY else "public"
    if not found:
        raise Refused(
            "pkcs11-key-missing",
            f"no {what} key `{place.label}` is on token `{place.token}`",
            hint="`pkcs11-tool --login --list-objects` shows what is",
        )
    if len(found) > 1:
        raise Refused(
            "pkcs11-key-twice",
            f"{len(found)} {what} keys are called `{place.label}` on token `{place.token}`: expected one",
            hint="give the key a label of its own",
        )
    return found[0]


def _public_key(session: pkcs11.Session, place: TokenPlace) -> PublicKey:
    key = _only(session, ObjectClass.PUBLIC_KEY, place)
    kind, curve, point = (
        _said(key, attribute) for attribute in (Attribute.KEY_TYPE, Attribute.EC_PARAMS, Attribute.EC_POINT)
    )
    if isinstance(point, bytes):
        # CKA_EC_POINT is a DER octet string; older modules give the bare bytes.
        if kind is KeyType.EC_EDWARDS and curve in _ED25519:
            return PublicKey.from_ed25519(point.removeprefix(b"\x04\x20") if len(point) == 34 else point)
        if kind is KeyType.EC and curve == _P256:
            return _p256(point.removeprefix(b"\x04\x41") if len(point) == 67 else point)
    raise Malformed("key-algorithm", f"key `{place.label}` on the token: expected Ed25519 or ECDSA P-256")


def _p256(point: bytes) -> PublicKey:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError as err:
        raise Malformed("key-invalid", "public key on the token: expected a point of P-256") from err
    return PublicKey.from_spki(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _said(key: pkcs11.Object, attribute: Attribute) -> object:
    """What the token says of `attribute`; `None` when it does not know it."""
    try:
        return key[attribute]
    except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive):
        return None


def _der(raw: bytes) -> bytes:
    """Turn r || s, as CKM_ECDSA gives it (PKCS#11 3.0, 2.3.1), into DER."""
    if len(raw) != 64:
        raise Malformed("signature-invalid", f"signature from the token: expected 64 bytes, got {len(raw)}")
    return utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def _other_key(place: TokenPlace, public: PublicKey) -> KeyturnError:
    return Refused(
        "pkcs11-key-other",
        f"key `{place.label}` on token `{place.token}` is another than the enrolled `{public.keyid[:16]}`",
        hint="put in the token that was enrolled",
    )


def _locked(place: TokenPlace) -> KeyturnError:
    return Refused(
        "pkcs11-pin-locked",
        f"the PIN of token `{place.token}` is locked, after too many wrong ones",
        hint="its security officer, or its PUK, sets a new one",
    )


def _ours(err: pkcs11.PKCS11Error, place: TokenPlace) -> KeyturnError:
    match err:
        case pkcs11.PinIncorrect() | pkcs11.PinInvalid() | pkcs11.PinLenRange():
            return Refused(
                "pkcs11-pin-wrong",
                f"wrong PIN for token `{place.token}`",
                hint="tokens lock after a few wrong ones in a row, often three",
            )
        case pkcs11.PinLocked():
            return _locked(place)
        case _:
            return Unavailable(
                "pkcs11-failed", f"token `{place.token}` did not do it: {type(err).__name__}", detail=str(err)
            )
