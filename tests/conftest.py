"""What holds for every test: properties are judged by their examples, the same at each run, and never by the clock.

`make fuzz` is where other examples are looked for.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "keyturn", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("keyturn")
