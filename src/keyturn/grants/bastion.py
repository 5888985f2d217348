"""Say who stands in front of a host: the bastion that a request names, with its key. Part of step 10 of `verify_grant`.

A request with a bastion is for two doors: the person proves the session key at the bastion, and the bastion proves a key of its
own, which the request names as well, at the host's gate. So the host lets in nobody who holds the session key alone, and
coworkers sign which bastion records. That the named key is the bastion's, its gate's key says (`session_terms.bastion_words`).
"""

from __future__ import annotations

from keyturn.errors import Refused
from keyturn.formats import base64_text, dsse, statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from keyturn.formats.session_terms import BastionTerms, bastion_words
from keyturn.formats.uri import Uri
from keyturn.grants.known import Known
from keyturn.trust.roster import TrustState

__all__ = ["KIND", "bastion_gate_of", "bastion_of", "key_at", "require_bastion", "require_open"]

KIND = "bastion"
"""The kind of gate that may stand in front of another."""


def bastion_of(made: AccessRequest) -> BastionTerms | None:
    """The bastion that `made` names, if it names one."""
    return None if made.session is None else made.session.bastion


def bastion_gate_of(raw: bytes | None) -> str | None:
    """The gate of the bastion that the request in the envelope `raw` names, if it does and can be read."""
    if raw is None:
        return None
    found = bastion_of(statement.parse(dsse.parse_own(raw).payload, AccessRequest, ACCESS_REQUEST).predicate)
    return None if found is None else found.gate


def key_at(made: AccessRequest, gate: Uri) -> str | None:
    """The key that `gate` must see proved: the session key, but behind a bastion that one's own."""
    bastion = bastion_of(made)
    return made.session_key if bastion is None or bastion.gate == str(gate) else bastion.key


def require_bastion(made: AccessRequest, bastion: BastionTerms, trust: TrustState) -> None:
    """Refuse a request whose `bastion` is no bastion of the lab, or whose key for the host is not that one's."""
    gate = trust.gates.get(bastion.gate)
    if gate is None or gate.kind != KIND:
        raise Refused(
            "bastion-unknown",
            f"`{bastion.gate}` is no gate of kind `{KIND}` in trust version {trust.targets_version}",
            hint="ask with the name of one that targets list: keyturn trust show",
        )
    words = bastion_words(gate=bastion.gate, session_key=made.session_key or "", key=bastion.key)
    gate.key.verify(base64_text.decode(bastion.proof, what="the bastion's proof"), words)


def require_open(made: AccessRequest, known: Known, *, now: int) -> None:
    """Refuse a request through a bastion that somebody closed."""
    bastion = bastion_of(made)
    if bastion is None:
        return
    known.require_read(f"gate:{bastion.gate}", what="gate")
    for found in known.suspensions_of(f"gate:{bastion.gate}", now=now):
        raise Refused("bastion-closed", f"`{found.by}` closed the bastion `{bastion.gate}` until {found.until}")
