"""Keys that sign from where they are: an agent, a token, a security key."""
