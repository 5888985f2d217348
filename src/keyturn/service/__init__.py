"""HTTP shells of the lab's processes: parse, call one use case, answer. No rule is decided here.

Each process has its own file with a `create_app`; `shell` holds what all of them share (limits, errors, address).
"""
