"""Enforcement points, one folder for each: whatever lets someone in, and verifies the grant itself before it does.

`release` lets models out, `host` and `postgres` let people in. What they share lies beside them: `recorder` writes decisions
down, `words` signs what a gate says, `uses` and `break_glass` are of gates for sessions.
"""
