"""Take what a step's inputs name into a directory of the builder's own, and say where each came from.

Nothing here decides: what was taken is digested, and compared with what the member signed, by `app.custody.hold_inputs`.
"""
