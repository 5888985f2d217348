"""Found a lab: make the founder's keys, the lab's own keys, and a draft that says so far who founds it.

Nothing is granted by this: the lab is `founding` until as many humans as its root names have signed version 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused, Usage
from keyturn.formats.text import Name, check_free_text
from keyturn.formats.uri import Uri
from keyturn.ports import KeyStore, TrustStore
from keyturn.trust.draft import Draft, RootDraft
from keyturn.trust.metadata import Holder
from keyturn.trust.roster import (
    Builder,
    Gate,
    Group,
    Limits,
    Log,
    Member,
    Profile,
    Resources,
    Roster,
    Witness,
)
from keyturn.trust.targets import Contents

__all__ = ["Founding", "found_lab", "require_lab_name"]

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")

LOCAL_OPERATOR = "local"
"""Who runs the processes of a demo lab: the one machine."""


@dataclass(frozen=True, slots=True)
class Founding:
    """What the founder chooses. `groups` begin with the founder alone.

    `witnesses`, `gates` and `builder` are the local ones, whose keys are made here; a release gate is `gates=("release",)`.
    """

    lab: str
    profile: Profile
    founder: str
    founder_name: str
    groups: tuple[str, ...]
    witnesses: tuple[str, ...]
    gates: tuple[str, ...]
    builder: bool


def found_lab(
    founding: Founding,
    *,
    store: TrustStore,
    member: Callable[[], Credential],
    trust: Callable[[], PublicKey],
    lab_keys: KeyStore,
    again: bool = False,
) -> Draft:
    """Make the lab's keys and the draft; `Refused` `lab-exists` when there is a draft or a published version already.

    `member` and `trust` make or find the founder's own keys, once everything else that was chosen is known to be possible.

    `again` says that a draft is that of an attempt which failed half way, and that nobody has seen it.

    In production the service's own machine makes the keys of the log and the online roles only: witnesses, gates and
    builders are other operators', who make their keys and give the public ones for the draft.
    """
    if store.versions() or (store.draft() and not again):
        raise Refused("lab-exists", "a lab is founded here already", hint="`keyturn trust show`")
    if not founding.witnesses:
        raise Usage("witness-none", "expected at least one witness, got none", hint="--witness NAME")
    if founding.profile == "production" and (founding.gates or founding.builder):
        raise Usage(
            "production-local-keys",
            "in production the keys of gates and builders are made by their operators, not here",
            hint="add their public keys to trust/draft",
        )
    require_lab_name(founding.lab)
    check_free_text(founding.founder_name, what="name", size_bytes_max=200)
    for name in (*founding.groups, *founding.witnesses, *founding.gates):
        _check_name(name)
    founder_key, trust_key = member(), trust()
    operator = LOCAL_OPERATOR if founding.profile == "demo" else "service"
    # A production witness has an operator of its own, who replaces this key: until then `propose` refuses by name.
    witnesses = tuple(
        Witness(name=name, key=lab_keys.create(f"witness/{name}").public, operator=operator)
        for name in founding.witnesses
    )
    gates = (
        Gate(Uri(founding.lab, "gate", name), name, lab_keys.create(f"gate/{name}").public, operator)
        for name in founding.gates
    )
    builders = (Builder("builder", lab_keys.create("builder").public, 1, operator),) if founding.builder else ()
    draft = Draft(
        root=RootDraft(
            lab=founding.lab,
            profile=founding.profile,
            threshold=2,
            targets_threshold=2,
            holders=(Holder(founding.founder, trust_key, root=True, targets=True, recovery=False),),
            online=lab_keys.create("online").public,
        ),
        contents=Contents(
            roster=Roster(
                lab=founding.lab,
                members={
                    founding.founder: Member(
                        id=founding.founder,
                        kind="human",
                        name=founding.founder_name,
                        keys=(founder_key,),
                    )
                },
                groups={name: Group(name, frozenset({founding.founder})) for name in founding.groups},
            ),
            resources=Resources(by_uri={}),
            policy=(),
            gates={str(gate.uri): gate for gate in gates},
            builders={builder.id: builder for builder in builders},
            log=Log(origin=f"{founding.lab}/log", key=lab_keys.create("log").public, witnesses=witnesses, lying_max=0),
            log_operator=operator,
            limits=Limits(),
        ),
    )
    store.swap_draft(store.draft(), draft.render())
    return draft


def require_lab_name(name: str) -> None:
    """Refuse what is no domain: the name stands in every record and URI for good, and only a domain is nobody else's.

    Records keep the wider form that docs/formats/uri.md says. Two labels or more, as in RFC 1123, the last one no number.
    """
    labels = name.split(".")
    if not 2 <= len(labels) <= 8 or len(name) > 253 or not all(map(_LABEL.match, labels)) or labels[-1].isdigit():
        near = f"{name}.example" if _LABEL.match(name) else "acme.example"
        raise Usage(
            "lab-name",
            f"--name: expected a DNS name in lower case, of two labels or more, as `acme.example`, got `{name[:80]}`",
            hint=f"a domain that you have; to try it out: keyturn init --name {near}",
        )


def _check_name(name: str) -> None:
    # A witness's or gate's name becomes a directory: it is checked before anything is made.
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError as err:
        raise Usage("name-invalid", f"expected a name of a-z, 0-9, `.`, `_`, `-`, got `{name[:80]}`") from err
