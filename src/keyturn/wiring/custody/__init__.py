"""Join steps, attempts, releases and lineage to this machine."""
