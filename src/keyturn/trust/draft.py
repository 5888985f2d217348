"""Edit a lab's trust: a working directory of files, and the next root and targets versions that it amounts to.

A draft is the target files (`trust.targets`) and `root.toml`, which says who holds which trust key:

    version = 1
    lab = "acme.example"
    profile = "demo"
    threshold = 2
    targets_threshold = 2
    online = "<base64 SPKI DER>"
    [[holders]]
    human = "ada"
    public = "<base64 SPKI DER>"
    root = true
    targets = true
    recovery = false

A draft binds nobody. `propose` makes unsigned versions of it, checked as a gate would check them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused
from keyturn.formats.built import built
from keyturn.formats.digest import sha256
from keyturn.formats.enrolment import Acceptance, Invitation
from keyturn.formats.text import LabName, MemberId
from keyturn.formats.trust_version import TrustVersion
from keyturn.trust.history import TrustHistory
from keyturn.trust.metadata import Holder, RootMetadata, parse_root, require_threshold
from keyturn.trust.render import render_contents
from keyturn.trust.roster import Group, Member, Profile
from keyturn.trust.signing import make_root, make_targets
from keyturn.trust.targets import Contents, parse_contents, parse_targets

__all__ = ["ROOT_FILE", "ROOT_LIFETIME_S", "TARGETS_LIFETIME_S", "Draft", "RootDraft", "enrol", "leave", "propose"]

ROOT_FILE = "root.toml"
ROOT_LIFETIME_S = 365 * 86_400
TARGETS_LIFETIME_S = 90 * 86_400
_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class RootDraft:
    """What the next root should say. `holders` are in order of their ids."""

    lab: str
    profile: Profile
    threshold: int
    targets_threshold: int
    holders: tuple[Holder, ...]
    online: PublicKey

    @classmethod
    def of(cls, root: RootMetadata) -> RootDraft:
        """What `root` says already."""
        return cls(root.lab, root.profile, root.threshold, root.targets_threshold, root.holders, root.online[0])


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole draft. `parse` and `render` go from and to the files of the working directory."""

    root: RootDraft
    contents: Contents

    @classmethod
    def parse(cls, files: Mapping[str, bytes]) -> Draft:
        """Parse the working directory's files, or raise `Malformed`."""
        if ROOT_FILE not in files:
            raise Malformed("targets-file-missing", f"expected the file `{ROOT_FILE}` in the draft, got none")
        root = _parse_root_draft(files[ROOT_FILE])
        rest = {name: content for name, content in files.items() if name != ROOT_FILE}
        return cls(root, parse_contents(rest, lab=root.lab))

    def render(self) -> dict[str, bytes]:
        """Render the files; comments and order of an earlier text are not kept."""
        return {ROOT_FILE: _render_root_draft(self.root)} | render_contents(self.contents)


class _Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    human: MemberId
    public: Annotated[str, Meta(max_length=400)]
    root: bool
    targets: bool
    recovery: bool


class _RootFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    lab: LabName
    profile: Profile
    threshold: Annotated[int, Meta(ge=2, le=64)]
    targets_threshold: Annotated[int, Meta(ge=2, le=64)]
    online: Annotated[str, Meta(max_length=400)]
    holders: Annotated[tuple[_Holder, ...], Meta(max_length=64)] = ()


def enrol(draft: Draft, invitation: Invitation, acceptance: Acceptance) -> Draft:
    """Add to `draft` what was offered in `invitation` and accepted; signatures are checked already.

    The same acceptance again changes nothing. Refuses an id that the draft has with other keys, unless `new_keys` were offered:
    then a trust key takes the place of the earlier one (a human has one), and member keys stand beside the earlier or instead;
    refused when the place is gone meanwhile.
    """
    root, contents = draft.root, draft.contents
    if acceptance.trust_key is not None:
        custodian = invitation.kind == "custodian"
        holder = Holder(
            human=acceptance.member,
            key=PublicKey.from_text(acceptance.trust_key),
            root=True,
            targets=not custodian,
            recovery=custodian,
        )
        others = tuple(known for known in root.holders if known.human != holder.human)
        if invitation.new_keys is not None:
            earlier_holder = next((known for known in root.holders if known.human == holder.human), None)
            if earlier_holder is None:
                raise _gone(holder.human)
            holder = replace(earlier_holder, key=holder.key)  # another key, and no other right
        elif len(others) != len(root.holders) and holder not in root.holders:
            raise _taken(holder.human)
        root = replace(root, holders=tuple(sorted((*others, holder), key=lambda known: known.human)))
    if acceptance.member_keys and invitation.kind != "custodian":
        member = Member(
            id=acceptance.member,
            kind=invitation.kind,
            name=acceptance.name,
            keys=tuple(contents.roster.credential(accepted.key) for accepted in acceptance.member_keys),
            responsible=frozenset(invitation.responsible),
        )
        known = contents.roster.members.get(member.id)
        if invitation.new_keys is not None:
            if known is None or known.kind != member.kind:
                raise _gone(member.id)
            earlier = known.keys if invitation.new_keys == "beside" else ()
            fresh = tuple(one for one in member.keys if one not in earlier)
            member = replace(known, keys=(*earlier, *fresh))
        elif known is not None and known != member:
            raise _taken(member.id)
        groups = dict(contents.roster.groups)
        for name in invitation.groups:
            group = groups.get(name, Group(name, frozenset()))
            groups[name] = replace(group, members=group.members | {member.id})
        members = dict(contents.roster.members) | {member.id: member}
        contents = replace(contents, roster=replace(contents.roster, members=members, groups=groups))
    return Draft(root, contents)


def leave(draft: Draft, member: str) -> Draft:
    """Take `member` out of `draft`: roster, groups, trust key, and keyholders of recordings, unless too few would be left of
    these (`keyturn doctor` says so). The id is never anybody else's.

    Refuses who is not there, and a human whose agent (`bob+coder`) is there, or who alone answers for one: that goes first.
    """
    roster = draft.contents.roster
    holders = tuple(holder for holder in draft.root.holders if holder.human != member)
    if member not in roster.members and len(holders) == len(draft.root.holders):
        raise Refused("member-unknown", f"`{member}` is not in the draft", hint="keyturn trust show")
    orphans = sorted(
        m.id for m in roster.members.values() if m.responsible == {member} or m.id.startswith(f"{member}+")
    )
    if orphans:
        raise Refused(
            "member-answers-for",
            f"`{member}` answers for {', '.join(f'`{orphan}`' for orphan in orphans)}",
            hint=f"keyturn trust remove {orphans[0]}",
        )
    members = {
        m.id: replace(m, responsible=m.responsible - {member}) for m in roster.members.values() if m.id != member
    }
    groups = {group.name: replace(group, members=group.members - {member}) for group in roster.groups.values()}
    kept = draft.contents.recordings
    contents = replace(
        draft.contents,
        roster=replace(roster, members=members, groups=groups),
        recordings=None if kept is None else kept.without(member),
    )
    return Draft(replace(draft.root, holders=holders), contents)


def propose(
    files: Mapping[str, bytes], history: TrustHistory | None, *, now: int, renew: bool
) -> tuple[TrustVersion, ...]:
    """Make the unsigned versions that bring `history` (`None`: nothing yet) to the draft `files`, checked whole.

    A new root comes with new targets, so that those who hold the new keys stand behind what is in force. Refuses
    `trust-nothing-to-propose` unless something changed or `renew` asks for new expiry dates.
    """
    draft = Draft.parse(files)
    target_files = {name: content for name, content in files.items() if name != ROOT_FILE}
    versions: list[TrustVersion] = []
    root = history.root if history is not None else None
    if root is None or renew or draft.root != RootDraft.of(root):
        root = _next_root(draft.root, root, now)
        versions.append(TrustVersion(role="root", version=root.version, metadata=root.raw))
    number = history.targets_version + 1 if history is not None else 1
    if versions or history is None or _changed(history, target_files):
        raw = make_targets(target_files, lab=draft.root.lab, version=number, expires_at=now + TARGETS_LIFETIME_S)
        # What could not be published is not put before people to sign.
        parse_targets(target_files, root=root, targets_version=number, targets_expires_at=now + TARGETS_LIFETIME_S)
        ordered = tuple(sorted(target_files.items()))
        versions.append(TrustVersion(role="targets", version=number, metadata=raw, files=ordered))
    if not versions:
        raise Refused(
            "trust-nothing-to-propose",
            "the draft says what is in force already",
            hint="edit trust/draft, or ask for new expiry dates with --renew",
        )
    return tuple(versions)


def _next_root(draft: RootDraft, current: RootMetadata | None, now: int) -> RootMetadata:
    if current is not None and (draft.lab, draft.profile) != (current.lab, current.profile):
        raise Refused("trust-profile-changed", "root.toml: lab and profile are fixed for the root's life")
    raw = make_root(
        lab=draft.lab,
        profile=draft.profile,
        version=current.version + 1 if current is not None else 1,
        expires_at=now + ROOT_LIFETIME_S,
        threshold=draft.threshold,
        targets_threshold=draft.targets_threshold,
        holders=draft.holders,
        online=draft.online,
    )
    return parse_root(raw)


def _changed(history: TrustHistory, files: Mapping[str, bytes]) -> bool:
    if history.targets is None:
        return True
    try:
        require_threshold(history.targets.raw, by=history.root, role="targets")
    except Refused:
        return True
    published = {path: file.sha256 for path, file in history.targets.files.items()}
    return published != {path: sha256(content) for path, content in files.items()}


def _gone(member: str) -> Refused:
    return Refused(
        "member-unknown",
        f"new keys were offered to `{member}`, who is in the draft no more",
        hint="whoever comes back gets a place of his own, under another id",
    )


def _taken(member: str) -> Refused:
    return Refused(
        "member-id-taken",
        f"`{member}` is in the draft with other keys",
        hint="ids are never reused; other keys for somebody who is there: keyturn trust invite ID --new-keys beside",
    )


def _parse_root_draft(raw: bytes) -> RootDraft:
    if len(raw) > _BYTES_MAX:
        raise Malformed("targets-file-too-large", f"`{ROOT_FILE}`: expected at most {_BYTES_MAX} bytes, got {len(raw)}")
    try:
        file = msgspec.convert(tomllib.loads(raw.decode("utf-8")), built(_RootFile))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as err:
        text = str(err)[:300]
        raise Malformed("targets-file-invalid", f"`{ROOT_FILE}`: {text[:1].lower()}{text[1:]}") from err
    holders = (
        Holder(h.human, PublicKey.from_text(h.public), root=h.root, targets=h.targets, recovery=h.recovery)
        for h in file.holders
    )
    return RootDraft(
        lab=file.lab,
        profile=file.profile,
        threshold=file.threshold,
        targets_threshold=file.targets_threshold,
        holders=tuple(sorted(holders, key=lambda holder: holder.human)),
        online=PublicKey.from_text(file.online),
    )


def _render_root_draft(root: RootDraft) -> bytes:
    return tomli_w.dumps(
        {
            "version": 1,
            "lab": root.lab,
            "profile": root.profile,
            "threshold": root.threshold,
            "targets_threshold": root.targets_threshold,
            "online": root.online.text,
            "holders": [
                {"human": h.human, "public": h.key.text, "root": h.root, "targets": h.targets, "recovery": h.recovery}
                for h in root.holders
            ],
        }
    ).encode("utf-8")
