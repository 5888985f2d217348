"""What the ports need, done with the real world: disk, SQLite, PostgreSQL, HTTP, tokens, processes, the sandbox, the clock.

One file or folder is one adapter, and every adapter of a port passes the same contract suite (tests/contracts/). Nothing here
decides: what an adapter reads is verified by whoever asked for it.
"""
