"""Give an ECDSA P-256 signature its one form: of `s` and `n - s`, which both verify, the smaller.

Whoever sees a signature (r, s) can write (r, n - s): without this, one record would have two envelopes.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import utils

from keyturn.errors import Refused

__all__ = ["low_s", "low_s_der"]

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def low_s(s: int) -> int:
    """The smaller of `s` and `n - s`."""
    return min(s, max(_P256_ORDER - s, 0))


def low_s_der(signature: bytes) -> bytes:
    """The DER signature with the smaller `s`; `Refused` for what is no ECDSA signature."""
    try:
        r, s = utils.decode_dss_signature(signature)
    except ValueError as err:
        raise Refused("signature-invalid", "expected an ECDSA signature in DER, got something else") from err
    return utils.encode_dss_signature(r, low_s(s))
