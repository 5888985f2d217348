"""Read the target files of one targets version as a `TrustState`.

How each file is written: `trust.target_files` (docs/formats/trust.md is normative). Here is what they say, and what must hold
between them: every name that is named is there once, and every key of the lab is listed once, for one owner.

This is NOT verification: `trust.history` verifies the signatures and the digests, and only then calls `parse_targets`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused
from keyturn.formats import base64_text
from keyturn.formats.text import check_free_text
from keyturn.formats.uri import Uri
from keyturn.trust.attestation import AttestationRules, Authenticator
from keyturn.trust.keyholders import Keyholder, Keyholders
from keyturn.trust.metadata import RootMetadata
from keyturn.trust.outside import EvidenceFile, OutsideSigner, outside_signers
from keyturn.trust.roster import (
    Builder,
    Gate,
    Group,
    Limits,
    Log,
    Member,
    Resource,
    Resources,
    Roster,
    SigningPage,
    TrustState,
    Witness,
    credential,
)
from keyturn.trust.target_files import (
    AttestationTable,
    BuildersFile,
    GatesFile,
    LimitsFile,
    LogFile,
    RecordingsTable,
    ResourcesFile,
    RosterFile,
    check_names,
    policy_texts,
    read_toml,
)

__all__ = ["Contents", "check_trust_keys", "parse_contents", "parse_targets"]


@dataclass(frozen=True, slots=True)
class Contents:
    """What the files say, before it is joined with the metadata around it. `log_operator` runs the service; `recordings` are who
    opens these, None where bastions record nothing."""

    roster: Roster
    resources: Resources
    policy: tuple[tuple[str, str], ...]
    gates: Mapping[str, Gate]
    builders: Mapping[str, Builder]
    log: Log
    log_operator: str
    limits: Limits
    void: tuple[range, ...] = ()
    recordings: Keyholders | None = None
    outside: Mapping[str, OutsideSigner] = field(default_factory=dict)


def parse_targets(
    files: Mapping[str, bytes], *, root: RootMetadata, targets_version: int, targets_expires_at: int
) -> TrustState:
    """Parse `files` under the (verified) `root`, or raise `Malformed` or `Refused` by name.

    (1) exactly the known files; (2) each parsed strictly; (3) each key once, for one owner; (4) in production, witnesses
    under several operators, none of them the service's, which serves no signing page either; (5) trust keys belong to humans
    and serve nothing else.
    """
    contents = parse_contents(files, lab=root.lab)  # (1) (2) (3)
    if root.profile == "production":
        _check_witness_operators(contents)  # (4)
        _check_signing_operators(contents)
    state = TrustState(
        lab=root.lab,
        profile=root.profile,
        root_version=root.version,
        targets_version=targets_version,
        root_expires_at=root.expires_at,
        targets_expires_at=targets_expires_at,
        publishers=root.publishers,
        roster=contents.roster,
        resources=contents.resources,
        policy=contents.policy,
        gates=contents.gates,
        builders=contents.builders,
        log=contents.log,
        limits=contents.limits,
        void=contents.void,
        recordings=contents.recordings,
        outside=contents.outside,
    )
    check_trust_keys(state, root)  # (5)
    return state


def parse_contents(files: Mapping[str, bytes], *, lab: str) -> Contents:
    """Parse the files alone: for drafts, which no root stands above yet."""
    check_names(files)
    log = read_toml(files, "log.toml", LogFile)
    gates = read_toml(files, "gates.toml", GatesFile)
    contents = Contents(
        roster=_roster(read_toml(files, "roster.toml", RosterFile), lab),
        resources=_resources(read_toml(files, "resources.toml", ResourcesFile), lab),
        policy=policy_texts(files),
        gates=_gates(gates, lab),
        builders=_builders(read_toml(files, "builders.toml", BuildersFile)),
        log=_log(log),
        log_operator=log.operator,
        limits=_limits(read_toml(files, "limits.toml", LimitsFile)),
        void=_void(log),
        recordings=None if gates.recordings is None else _keyholders(gates.recordings),
        outside=outside_signers(read_toml(files, "evidence.toml", EvidenceFile) if "evidence.toml" in files else None),
    )
    _check_keys(contents)
    _check_keyholders(contents)
    return contents


def check_trust_keys(state: TrustState, root: RootMetadata) -> None:
    """Check that trust keys and online keys serve nothing else, and that whoever holds one is no agent or workload."""
    used = dict(_owners(state.roster, state.gates.values(), state.builders.values(), state.log))
    for key in (*(holder.key for holder in root.holders), *root.online):
        if key in used:
            raise Refused("key-purpose", f"a key of the root is used again by {used[key]}: `{key.keyid[:16]}`")
    for holder in root.holders:
        member = state.roster.members.get(holder.human)
        if member is not None and member.kind != "human":
            raise Refused("trust-holder-not-human", f"`{holder.human}` holds a trust key and is a {member.kind}")


def _once(values: Iterable[str], *, what: str) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise Malformed("targets-duplicate", f"{what} `{value[:120]}` is listed {count} times")


def _roster(file: RosterFile, lab: str) -> Roster:
    _once((member.id for member in file.members), what="member")
    _once((group.name for group in file.groups), what="group")
    for member in file.members:
        check_free_text(member.name, what="member name", size_bytes_max=200)
        owner, plus, _ = member.id.partition("+")
        if plus and (member.kind != "agent" or owner not in member.responsible):
            raise Malformed("member-id", f"`{member.id}`: expected an agent for whom `{owner}` is responsible")
    for group in file.groups:
        _once(group.members, what=f"in group `{group.name}`, member")
        _once(group.groups, what=f"in group `{group.name}`, group")
    _once((page.origin for page in file.signing), what="signing page")
    signing = tuple(SigningPage(page.origin, page.rp_id, page.operator) for page in file.signing)
    members = {
        m.id: Member(
            id=m.id,
            kind=m.kind,
            name=m.name,
            keys=tuple(credential(key, signing) for key in m.keys),
            responsible=frozenset(m.responsible),
        )
        for m in file.members
    }
    groups = {g.name: Group(name=g.name, members=frozenset(g.members), groups=frozenset(g.groups)) for g in file.groups}
    rules = None if file.attestation is None else _attestation(file.attestation)
    return Roster(lab=lab, members=members, groups=groups, signing=signing, attestation=rules)


def _attestation(file: AttestationTable) -> AttestationRules:
    _once((one.aaguid for one in file.authenticators), what="authenticator")
    for one in file.authenticators:
        check_free_text(one.name, what="authenticator name", size_bytes_max=200)
    found = (
        Authenticator(one.aaguid, one.name, tuple(base64_text.decode(root, what="root") for root in one.roots))
        for one in file.authenticators
    )
    return AttestationRules(required=file.required, authenticators={one.aaguid: one for one in found})


def _uri(text: str, lab: str, *, type_: str | None = None) -> Uri:
    uri = Uri.parse(text)
    if uri.lab != lab or (type_ is not None and uri.type != type_):
        raise Malformed("uri-foreign", f"expected `keyturn://{lab}/{type_ or '<type>'}/<name>`, got `{text}`")
    return uri


def _resources(file: ResourcesFile, lab: str) -> Resources:
    _once((resource.uri for resource in file.resources), what="resource")
    found = {
        r.uri: Resource(uri=_uri(r.uri, lab), parents=tuple(_uri(parent, lab) for parent in r.parents))
        for r in file.resources
    }
    for resource in found.values():
        for parent in resource.parents:
            if str(parent) not in found:
                raise Malformed("resource-parent", f"parent `{parent}` of `{resource.uri}` is not listed itself")
        if resource.uri in _ancestors(resource, found):
            raise Malformed("resource-parent", f"`{resource.uri}` is an ancestor of itself")
    return Resources(by_uri=found)


def _ancestors(resource: Resource, found: Mapping[str, Resource]) -> frozenset[Uri]:
    seen: set[Uri] = set()
    todo = list(resource.parents)
    while todo:
        uri = todo.pop()
        if uri not in seen:
            seen.add(uri)
            known = found.get(str(uri))
            todo.extend(known.parents if known is not None else ())
    return frozenset(seen)


def _gates(file: GatesFile, lab: str) -> dict[str, Gate]:
    _once((gate.uri for gate in file.gates), what="gate")
    return {
        g.uri: Gate(
            uri=_uri(g.uri, lab, type_="gate"), kind=g.kind, key=PublicKey.from_text(g.public), operator=g.operator
        )
        for g in file.gates
    }


def _keyholders(file: RecordingsTable) -> Keyholders:
    decoded = (Keyholder(one.human, base64_text.decode(one.public, what="keyholder")) for one in file.keyholders)
    return Keyholders(file.quorum, tuple(decoded))


def _builders(file: BuildersFile) -> dict[str, Builder]:
    _once((builder.id for builder in file.builders), what="builder")
    for builder in file.builders:
        if not re.match(r"[!-~]{1,400}\Z", builder.id):
            raise Malformed("builder-id", "expected a builder id of printable ASCII")
    return {
        b.id: Builder(id=b.id, key=PublicKey.from_text(b.public), level_max=b.level_max, operator=b.operator)
        for b in file.builders
    }


def _log(file: LogFile) -> Log:
    return Log(
        origin=file.origin,
        key=_ed25519(file.public, "log"),
        witnesses=tuple(
            Witness(name=w.name, key=_ed25519(w.public, w.name), operator=w.operator) for w in file.witnesses
        ),
        lying_max=file.lying_max,
    )


def _void(file: LogFile) -> tuple[range, ...]:
    entries = tuple(range(one.first, one.last + 1) for one in file.void)
    after = 0
    for one in entries:
        if not after <= one.start < one.stop:
            raise Malformed(
                "log-void", f"`log.toml`: expected void entries in order, each once, got {one.start} to {one.stop - 1}"
            )
        after = one.stop
    return entries


def _ed25519(text: str, owner: str) -> PublicKey:
    key = PublicKey.from_text(text)
    if key.scheme != "ed25519":
        raise Malformed("log-key-scheme", f"key of `{owner}`: expected Ed25519 (C2SP), got {key.scheme}")
    return key


def _limits(file: LimitsFile) -> Limits:
    return Limits(
        log_age_max_s=file.log_age_max_s,
        clock_skew_max_s=file.clock_skew_max_s,
        negative_lifetime_max_s=file.negative_lifetime_max_s,
        suspension_max_s=file.suspension_max_s,
        # Whoever wrote none, perhaps before there was one, gets what everything else gets: nothing is loosened unsaid.
        breakglass_view_age_max_s=file.breakglass_view_age_max_s or file.log_age_max_s,
        tombstone_signers=file.tombstone_signers,
        version_min=file.version_min,
    )


def _owners(
    roster: Roster, gates: Iterable[Gate], builders: Iterable[Builder], log: Log
) -> Iterable[tuple[PublicKey, str]]:
    for member in roster.members.values():
        yield from ((held.key, f"member `{member.id}`") for held in member.keys)
    yield from ((gate.key, f"gate `{gate.uri}`") for gate in gates)
    yield from ((builder.key, f"builder `{builder.id}`") for builder in builders)
    yield log.key, "the log"
    yield from ((witness.key, f"witness `{witness.name}`") for witness in log.witnesses)


def _check_keys(contents: Contents) -> None:
    first: dict[PublicKey, str] = {}
    for key, owner in _owners(contents.roster, contents.gates.values(), contents.builders.values(), contents.log):
        other = first.setdefault(key, owner)
        if other != owner:
            raise Malformed("key-purpose", f"key `{key.keyid[:16]}` is used by {other} and again by {owner}")


def _check_keyholders(contents: Contents) -> None:
    for one in contents.recordings.holders if contents.recordings is not None else ():
        member = contents.roster.members.get(one.human)
        if member is not None and member.kind != "human":
            raise Refused("keyholder-not-human", f"`{one.human}` is a keyholder of recordings and a {member.kind}")


def _check_witness_operators(contents: Contents) -> None:
    seats = Counter(witness.operator for witness in contents.log.witnesses)
    if contents.log_operator in seats:
        raise Refused(
            "production-witness-operator",
            f"`{contents.log_operator}` runs the log, and a witness of it: expected another",
        )
    operator, held = seats.most_common(1)[0]
    if len(seats) < 2 or held >= contents.log.quorum:
        raise Refused(
            "production-witness-operators",
            f"operator `{operator}` alone makes {held} of the {contents.log.quorum} cosignatures that a checkpoint needs",
        )


def _check_signing_operators(contents: Contents) -> None:
    for page in contents.roster.signing:
        if page.operator == contents.log_operator:
            raise Refused(
                "production-signing-operator",
                f"`{page.operator}` runs the log, and the signing page `{page.origin}`: expected another",
                hint="serve it from another operator's host, or let everybody sign on localhost",
            )
