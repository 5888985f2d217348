"""The chain of custody: which steps made an artifact, whether every link is proven, and the facts that policy may ask about.

Pure functions over statements that were already fetched. This is NOT where steps run (`app.run_step`) or models are released
(`gates.release`).
"""
