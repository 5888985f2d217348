"""Commands that run steps, release what they made, and show where it came from."""
