"""Turn bytes into frozen values and back: `parse(bytes) -> value`, `render(value) -> bytes`, nothing else.

One file is one format, and its docstring says which specification it follows. Parsers raise `Malformed`,
never change their input, bound every length and count, and refuse unknown fields in the formats that are ours.
Nothing here verifies a signature or knows who may do what.
"""
