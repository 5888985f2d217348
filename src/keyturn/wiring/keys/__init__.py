"""Find people's keys, and what signs with them."""
