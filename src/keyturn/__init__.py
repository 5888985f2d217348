"""Keyturn: two-party control and chain of custody for model development.

The rooms, from the outside in: `cli`, `service` and `sdk` are shells; `wiring` joins them to `adapters`
(effects) and `app` (use cases, one file each); below `ports` lies the core, which touches no clock, file,
socket or randomness: `custody`, `grants`, `policy`, `tlog`, `trust`, `crypto`, `formats`, `errors`.
Access is decided in `grants/verify_grant.py`, by `policy/decide.py`.
"""

__version__ = "0.1.0"
