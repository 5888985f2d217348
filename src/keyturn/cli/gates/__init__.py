"""Commands that set up and run gates, and find what opens without one."""
