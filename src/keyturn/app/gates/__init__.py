"""What a gate does with the log: follow it, obey what is pushed to it, and say under its key what it knows."""
