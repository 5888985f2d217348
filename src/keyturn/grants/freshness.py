"""Decide whether a view is fresh enough: a gate's to open a door, which is step 2 of `verify_grant`; a reader's to be believed.

Freshness comes from the witnessed log. A gate that cannot reach it is closed after `log_age_max_s`; a gate whose clock is
wrong is closed at once; a gate restored from an old snapshot is closed until it has seen its own new nonce in the log.
"""

from __future__ import annotations

from keyturn.errors import Refused
from keyturn.grants.view import GateView
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.roster import TrustState

__all__ = ["require_fresh", "require_recent", "require_trust"]


def require_fresh(view: GateView, *, now: int, break_glass: bool) -> tuple[TrustState, WitnessedCheckpoint]:
    """The newest trust and checkpoint of `view`, or `Refused`.

    (a) there is a witnessed checkpoint, and (b) the view has its gate's own nonce; (c) root and targets have not expired; (d) the
    checkpoint is at most `log_age_max_s` old, for break-glass `breakglass_view_age_max_s`, and (e) not ahead of this clock by
    more than `clock_skew_max_s`; (f) the gate is in the roster and not closed.
    """
    checkpoint = _witnessed(view)  # (a)
    if not view.nonce_seen:  # (b): a reader who is no gate expects none, and sees none
        raise Refused(
            "view-without-nonce",
            "the gate has not seen its own check-in in the log, so what it knows may be old",
            hint="wait until its check-in is witnessed",
        )
    trust = require_trust(view, now=now)  # (c)
    limits = trust.limits
    age_max_s = limits.log_age_max_s
    if break_glass:
        age_max_s = max(age_max_s, limits.breakglass_view_age_max_s)
    _require_age(checkpoint, age_max_s, now=now)  # (d)
    ahead_s = checkpoint.cosigned_at - now
    if ahead_s > limits.clock_skew_max_s:  # (e)
        raise Refused(
            "clock-skew",
            f"the newest checkpoint was cosigned {ahead_s} s ahead of this clock, expected at most {limits.clock_skew_max_s} s",
            hint="set this machine's clock",
        )
    name = str(view.gate)
    if name not in trust.gates:  # (f)
        raise Refused("gate-unknown", f"`{name}` is no gate of the lab")
    view.known.require_read(f"gate:{name}", what="gate")
    for found in view.known.suspensions_of(f"gate:{name}", now=now):
        raise Refused("gate-closed", f"`{found.by}` closed this gate until {found.until}")
    return trust, checkpoint


def require_recent(view: GateView, *, now: int) -> TrustState:
    """The newest trust of `view`, whose reader is no gate and opens nothing; `Refused` unless (a), (c) and (d) hold."""
    checkpoint = _witnessed(view)
    trust = require_trust(view, now=now)
    _require_age(checkpoint, trust.limits.log_age_max_s, now=now)
    return trust


def require_trust(view: GateView, *, now: int) -> TrustState:
    """The newest trust of `view`; `Refused` while founding, and when its root or targets have expired at `now`."""
    trust = view.known.newest or view.trust.newest
    for role, expires_at in (("root", trust.root_expires_at), ("targets", trust.targets_expires_at)):
        if expires_at <= now:
            raise Refused(
                "trust-expired",
                f"{role} expired at {expires_at}: expired metadata proves the past, and never opens a gate",
                hint="keyturn trust propose, sign and publish the next version",
            )
    return trust


def _witnessed(view: GateView) -> WitnessedCheckpoint:
    if view.checkpoint is None:
        raise Refused(
            "view-empty", "no witnessed checkpoint was seen yet", hint="wait for the first; if none comes: keyturn up"
        )
    return view.checkpoint


def _require_age(checkpoint: WitnessedCheckpoint, age_max_s: int, *, now: int) -> None:
    age_s = now - checkpoint.cosigned_at
    if age_s > age_max_s:
        raise Refused(
            "view-stale",
            f"the newest witnessed checkpoint is {age_s} s old, expected at most {age_max_s} s",
            hint="find out why the log is not reached, or why its witnesses do not cosign: keyturn doctor",
        )
