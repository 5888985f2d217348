"""Decide what the lab's Cedar policy says about a request, by whom, and who together could ever make it say yes.

Pure: facts and approvals are arguments, a decision is a value with reasons. An empty or broken policy says no.
"""
