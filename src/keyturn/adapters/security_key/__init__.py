"""Security keys without a browser (CTAP 2), through Yubico's `fido2` library.

A terminal's key is made for the relying party `keyturn:<lab>`, which is no domain, so that no page in any browser gets an
assertion from it. What it signs is what a passkey signs, for that origin: `crypto.webauthn` verifies both (decision 0051).
"""
