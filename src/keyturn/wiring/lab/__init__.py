"""Find a lab and the person, and found one."""
