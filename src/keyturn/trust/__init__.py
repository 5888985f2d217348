"""Who is who, and by whose signatures: roster, resources, gates, builders, log and witness keys, as TUF targets.

`TrustState` is what one version of the lab's targets says; `TrustHistory` is every version since the pinned root, each
verified before it is read. TUF's own work is python-tuf's; ours is what it lacks (docs/decisions/): human thresholds,
one key per human, the profile fixed for a root's life.
"""
