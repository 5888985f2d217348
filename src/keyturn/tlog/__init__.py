"""The transparency log as arithmetic: Merkle proofs, tile hashing, witnessed checkpoints and the rules of a witness.

`merkle` is RFC 6962; `frontier` follows a log leaf by leaf; `verify_checkpoint` is where a checkpoint becomes believed;
`witness` is what a witness may cosign. Nothing here reads, writes, sends or looks at a clock.
"""
