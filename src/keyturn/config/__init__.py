"""Parse the files that people edit: keyturn.toml, STEP.toml, those of each process, a team's CSV.

Strict, versioned, and `Usage` on any error.

Nothing that trust rests on is configured: keys, quorums and limits come from the signed targets, and a file here can only
tighten them.
"""
