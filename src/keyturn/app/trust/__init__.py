"""Founding a lab, enrolling and removing people, and changing what the lab trusts, by the trust threshold."""
