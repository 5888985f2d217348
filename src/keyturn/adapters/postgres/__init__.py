"""The lab's log and its index in PostgreSQL, for several service processes on one database (docs/guide/postgresql.md).

`log` is what keeps it and `index` what finds in it; each other file holds one idea of theirs. Needs the extra `server`.
"""
