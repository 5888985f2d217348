"""Which doors stand open without a grant: scanners of hosts, databases and repositories, and the ledger of what they found.

Pure: what is looked at comes through the Protocols of this room, which adapters implement.
"""
