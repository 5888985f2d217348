"""Judge the chain of custody behind an artifact, from signed statements and their places in the log alone.

`timeline` says which trust was in force where, `evidence` reads and verifies statements, `lineage` links them by
digest, `verify` names every failure, `facts` tells policy what holds, `pack_index` names what a chain consists of.
"""
