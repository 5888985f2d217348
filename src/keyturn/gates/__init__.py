"""Enforcement points, one folder for each: whatever lets someone in, and verifies the grant itself before it does."""
