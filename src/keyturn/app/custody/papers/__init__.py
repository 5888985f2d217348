"""Papers of a release, in the formats that others read: each rendered from a verified pack, with nothing typed beside it."""
