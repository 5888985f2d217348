"""Join use cases to the world: find the lab and the person, and give `app` the adapters it asks for.

The one room that knows both `app` and `adapters`; command line, services and SDK come through here. No rule is decided here.
"""
