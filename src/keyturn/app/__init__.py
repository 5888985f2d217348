"""The use cases, one file for each: what a person or a process wants done, in order, with effects through `ports` alone.

Nothing here reads a file, opens a socket or asks the time, and nothing here is believed by a gate: what a use case makes is
signed records, and the core verifies them again.
"""
