"""Find the log, its keys and its witnesses wherever they are."""
