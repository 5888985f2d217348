"""The bastion's hands: an SSH server that relays to hosts and records, and the keys that it proves there."""
