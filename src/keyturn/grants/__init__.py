"""Requests, approvals and what takes them away: the lifecycle, the gate's view of the log, and `verify_grant`, the kernel.

Every "yes" of Keyturn is a `VerifiedGrant`, and only `verify_grant` makes one. For emergencies there are two more, with
kernels of their own: `VerifiedBreakGlass` (`break_glass`) and `VerifiedRecovery` (`recovery`). No clock, no files, no network.
"""
