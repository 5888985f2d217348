"""Finding, signing and submitting any record, and waiting until it is witnessed: what the other use cases share."""
