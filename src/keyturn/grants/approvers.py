"""Say whose key can approve: an enrolled key of a human that verifies its user for each signature; any, in profile demo.

This is the invariant behind step 4 of `verify_grant`; no policy can loosen it. What may be signed with other keys: requests, and
everything that takes access away.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import verify_one, verify_user_verified
from keyturn.errors import Refused
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.dsse import Envelope
from keyturn.policy.facts import Fact
from keyturn.trust.roster import TrustState

__all__ = ["approval_facts", "require_countable_key", "verify_approval"]


def require_countable_key(trust: TrustState, approver: str, keyid: str) -> Credential:
    """The key `keyid` of the human `approver`, if approvals by it count; `Refused` by name otherwise."""
    member = trust.roster.members.get(approver)
    if member is None:
        raise Refused("approver-unknown", f"approver `{approver}` is not in the roster")
    if member.kind != "human":
        raise Refused(
            "approver-not-human",
            f"`{approver}` is {'an AI agent' if member.kind == 'agent' else 'a workload'}: only humans approve",
            hint="ask a human: keyturn grant explain says who could approve",
        )
    held = trust.roster.key_of(approver, keyid)
    if held is None:
        raise Refused("approver-key-unknown", f"`{approver}` has no key `{keyid[:16]}` in the roster")
    if not held.can_verify_user and trust.profile != "demo":
        raise Refused(
            "approver-key-software",
            f"`{approver}` approved with a key of kind `{held.kind}`, which does not verify who uses it and counts in profile "
            f"demo only; this lab is `{trust.profile}`",
            hint="approve with a key that verifies its user for each signature: a passkey, a security key or PKCS#11",
        )
    return held


def verify_approval(envelope: Envelope, held: Credential, trust: TrustState) -> None:
    """Check that `held`, which `require_countable_key` gave, signed `envelope`; in production, with its user verified."""
    if trust.profile == "demo":
        verify_one(envelope, held)
    else:
        verify_user_verified(envelope, held)


def approval_facts(trust: TrustState, counted: Iterable[HumanAuthorization]) -> dict[str, Fact]:
    """What policies may ask of the keys behind the approvals that count, all of them: bound to one device, attested.

    Nothing is said of no approvals: then a policy that asks is not met.
    """
    held = [trust.roster.key_of(made.approver, made.key) for made in counted]
    if not held:
        return {}
    return {
        "approval.device_bound": all(key is not None and key.device_bound for key in held),
        "approval.attested": all(key is not None and bool(key.attestation) for key in held),
    }
