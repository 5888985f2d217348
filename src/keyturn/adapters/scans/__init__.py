"""What scanners of standing access look at: a host's files and tools, a database, a repository, a forge."""
