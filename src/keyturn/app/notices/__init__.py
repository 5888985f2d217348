"""Who hears of what, and by which way. A notice approves nothing."""
