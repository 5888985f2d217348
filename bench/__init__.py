"""Measurements against the goals of docs/benchmarks.md: each module here measures one thing (`make bench`).

A module `bench/<name>.py` has a function `run()` that gives rows made by `bench.measure.row`; with a parameter `long` it is
told whether the large sizes are wanted (`make bench-long`).
"""
