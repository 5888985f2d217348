"""The life of an access: asking, deciding, offering less, taking away, breaking glass, and reviewing that."""
