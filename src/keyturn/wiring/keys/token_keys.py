"""Join keys on PKCS#11 tokens to this machine: find one by its URI (RFC 7512), and sign with one that config.toml lists."""

from __future__ import annotations

from urllib.parse import unquote

from keyturn.config.person import OwnKey
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Usage

__all__ = ["find_on_token", "read_pkcs11_uri", "token_signer"]


def find_on_token(uri: str) -> tuple[RecordSigner, OwnKey]:
    """Find the key that `uri` names, which must be one that a lab takes: what signs with it, and its entry of config.toml."""
    from keyturn.adapters.keys.pkcs11_key import TokenPlace, enrollable_key
    from keyturn.wiring.keys.pins import ask_pin

    module, token, label = read_pkcs11_uri(uri)
    public = enrollable_key(TokenPlace(module, token, label), pin=ask_pin)
    own = OwnKey(kind="pkcs11", public=public.text, module=module, token=token, label=label)
    return token_signer(own), own


def token_signer(own: OwnKey) -> RecordSigner:
    """What signs with a key on a token, which asks for the PIN each time."""
    from keyturn.adapters.keys.pkcs11_key import Pkcs11Signer, TokenPlace
    from keyturn.wiring.keys.pins import ask_pin

    if own.module is None or own.token is None or own.label is None:
        raise Usage("key-place-missing", "config.toml: expected `module`, `token` and `label` of a key on a token")
    place = TokenPlace(own.module, own.token, own.label)
    return Pkcs11Signer(place, public=PublicKey.from_text(own.public), pin=ask_pin)


def read_pkcs11_uri(uri: str) -> tuple[str, str, str]:
    """Read module, token and object of a `pkcs11:` URI (RFC 7512, section 2.3), each once; refuses every other attribute.

    >>> read_pkcs11_uri("pkcs11:token=ada%20k;object=sign?module-path=/usr/lib/softhsm/libsofthsm2.so")
    ('/usr/lib/softhsm/libsofthsm2.so', 'ada k', 'sign')
    """
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    found: dict[str, str] = {}
    for part in (*path.split(";"), *(f"?{one}" for one in query.split("&") if one)):
        name, _, value = part.partition("=")
        if name in ("?pin-value", "?pin-source"):
            raise _bad("a PIN is asked for, and never in an argument")  # without the text: it may hold the PIN
        if name not in ("token", "object", "?module-path") or name in found:
            raise _bad(f"expected token, object and module-path, each once, got `{name[:40].removeprefix('?')}`")
        try:
            found[name] = unquote(value, errors="strict")
        except UnicodeDecodeError as err:
            raise _bad(f"`{name}` is no UTF-8") from err
    module, token, label = (found.get(name, "") for name in ("?module-path", "token", "object"))
    if not (module.startswith("/") and 0 < len(token.encode()) <= 32 and 0 < len(label) <= 200):
        raise _bad("expected an absolute module-path, a token of at most 32 bytes, an object")
    return module, token, label


def _bad(what: str) -> Usage:
    return Usage("key-uri", f"`pkcs11:` URI: {what}", hint="pkcs11:token=T;object=L?module-path=/path/to/module.so")
