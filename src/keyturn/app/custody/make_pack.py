"""Have a release gate release what people granted, and keep its pack only when it verifies under the caller's own root.

1. The request says of which size and time of the log its pack index was computed (a label; the gate computes it again).
2. The gate gets the grant's bundle, and gives the pack; the same order again gives the same pack.
3. The pack is verified here, as any outsider would, and is of that very request, before anybody gets it: a release of before is
   real as well, and whoever answers in the gate's place has those of everybody.

A gate that released before people took it back still gives that pack: copies of it are out. `require_not_ended` is for whoever
releases now, and is told that nothing was let out.
"""

from __future__ import annotations

import msgspec

from keyturn.app.access.authorize import Pending
from keyturn.app.custody.open_release import read_label
from keyturn.app.custody.verify_pack import VerifiedPack, verify_pack
from keyturn.custody.outside import Verify, nobody_verifies
from keyturn.errors import Refused
from keyturn.formats import access, release_order, statement
from keyturn.formats.access import AccessRequest
from keyturn.formats.release_order import ReleaseOrder
from keyturn.grants import bundle as bundles
from keyturn.grants import withdrawing
from keyturn.grants.bundle import Bundle
from keyturn.grants.view import GateView
from keyturn.ports import ReleaseOrders

__all__ = ["make_pack", "order_of", "require_not_ended"]


def order_of(bundle: Bundle, *, path: str | None) -> bytes:
    """Make the order that the release gate takes for `bundle`; `path` is where it shall hash the model itself."""
    parsed = statement.parse(bundle.request.payload, AccessRequest, access.ACCESS_REQUEST)
    if parsed.predicate.action != "model:release":
        raise Refused("release-action", f"expected a release request, got `{parsed.predicate.action}`")
    if len(parsed.subject) != 2:
        raise Refused("release-subjects", f"expected a model and its pack index as subjects, got {len(parsed.subject)}")
    size, as_of = read_label(parsed.subject[1].name)
    return release_order.render(
        ReleaseOrder(
            bundle=msgspec.Raw(bundles.render(bundle)),
            model=str(parsed.subject[0].digest.artifact),
            size=size,
            as_of=as_of,
            path=path,
            version=1,
        )
    )


def make_pack(
    gate: ReleaseOrders,
    bundle: Bundle,
    *,
    path: str | None,
    root_json: bytes,
    pinned_sha256: str,
    verify: Verify = nobody_verifies,
) -> tuple[bytes, VerifiedPack]:
    """Release under `bundle`, and give the pack with its verdict; raises what the gate refused, or what does not verify."""
    raw = gate.release(order_of(bundle, path=path))
    verified = verify_pack(raw, root_json=root_json, pinned_sha256=pinned_sha256, verify=verify)
    granted = verified.verdict.granted
    if granted is None or granted.digest != bundle.request.record_digest:
        raise Refused(
            "pack-other-request",
            f"the pack is of another release than `req-{bundle.request.record_digest[:32]}`, and that is what was asked for",
            hint="do not use it: whoever answered is not the gate, or its journal is somebody else's; keyturn doctor",
        )
    return raw, verified


def require_not_ended(pending: Pending, view: GateView, *, now: int) -> None:
    """Refuse to call the pack that the gate gave a release, when people have denied or revoked its request since."""
    ended = next(withdrawing.ending(view.known, pending.digest, pending.made, now=now), None)
    if ended is not None:
        raise Refused(
            "request-ended",
            f"the gate had released it before `{ended.by}` {ended.verb} {pending.id}: "
            f"{ended.reason}; nothing was released now",
            hint="whoever needs it asks again",
        )
