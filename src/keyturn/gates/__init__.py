"""Enforcement points, one folder for each: whatever lets someone in, and verifies the grant itself before it does.

`release` lets models out and `host` lets people in; `break_glass` is what every gate for sessions shares: how it opens when the
log is not there.
"""
