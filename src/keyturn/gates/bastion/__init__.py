"""The bastion: people come through it to hosts by grants that ask for recording, and what goes through is recorded."""
