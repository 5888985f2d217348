"""The demo: a real model from real data under custody, on one machine (`make demo`). It is no part of the package."""
