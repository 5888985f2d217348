"""Enforcement points, one folder for each: whatever lets someone in, and verifies the grant itself before it does.

`release` lets models out, `host` and `postgres` let people in, `own` is of a program that does one thing for each grant.
What they share lies beside them: `recorder` writes decisions down, `words` signs what a gate says, `uses` keeps what was used
up, and `break_glass` is of gates for sessions.
"""
