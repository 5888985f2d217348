"""A gate of one's own: a program says what it is about to do, and does it once for each grant of just that."""
