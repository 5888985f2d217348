"""Parse the files that people edit: keyturn.toml, gate.toml, STEP.toml, config.toml. Strict, versioned, and `Usage` on any error.

Nothing that trust rests on is configured: keys, quorums and limits come from the signed targets, and a file here can only
tighten them.
"""
