"""Keys and signatures as values: verify with a `PublicKey`, sign through securesystemslib's `Signer`.

Nothing here reads a file, makes randomness on its own account, or knows who a key belongs to.
"""
