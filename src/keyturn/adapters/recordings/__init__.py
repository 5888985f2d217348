"""Recordings of sessions: written sealed to a quorum of keyholders, and opened by as many of them."""
