"""Commands that found a lab, run its processes, and examine it."""
