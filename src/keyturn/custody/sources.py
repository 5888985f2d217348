"""Say who stands behind the code of a chain: whether two different humans signed for the very revision that a step took.

A revision is one commit of one repository, with one content (`dirHash`). Behind it stand those who signed a word for it in the
log before the step was requested: attesters and authors, and the author of the commit by his signature in git; and reviewers.

1. A word counts when its signer was listed then, is not suspended now, and says the kind that is asked for.
2. Two humans: a reviewer, and another one who attests the revision, or made the commit. Agents and workloads are nobody.
3. Who signed a commit in git signed git's name of its content, and not the `dirHash`. That the two are one, the reviewer says;
   so the author's signature counts only when an attester says the same who is neither the reviewer nor one that he answers for:
   or the reviewer alone could put anything into another's commit.
4. A word for another commit is for another revision, though the content be the same.

None of this is a failure of the chain: policy asks for it, as `custody.code_reviewed` (docs/decisions/0127).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from keyturn.crypto import sshsig
from keyturn.custody.evidence import Failure, Logged
from keyturn.custody.lineage import Step
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import KeyturnError
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.source import Controls, SourceKind, SourceReview
from keyturn.formats.sshsig import GIT, dearmor
from keyturn.formats.sshsig import parse as parse_sshsig
from keyturn.formats.steps import StepRequest
from keyturn.trust.roster import Member, TrustState

__all__ = ["Code", "Revision", "Suspended", "code_of", "commit_signer", "stand_behind"]

_Word = Logged[SourceReview]


@dataclass(frozen=True, slots=True)
class Suspended:
    """Members and keys (by id) that are suspended now: nothing that they signed is relied on until that ends."""

    members: frozenset[str]
    keys: frozenset[str]

    def has(self, member: str, keyid: str) -> bool:
        return member in self.members or keyid in self.keys


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of one repository, the words for it that count, and the humans behind it: two of them, or not."""

    repository: str
    commit: str
    words: tuple[_Word, ...]
    authors: frozenset[str]
    """Humans whose enrolled keys signed the commit in git."""
    two_humans: bool

    @property
    def level(self) -> Literal[1, 2, 3, 4]:
        """Of SLSA's source track: 4 with two humans where attesters say that level 3 is enforced, else what these say."""
        said: Controls = min((one.value.controls for one in self.words if one.value.controls is not None), default=1)
        return 4 if self.two_humans and said == 3 else said

    def signers(self, *roles: str) -> tuple[str, ...]:
        """Who signed a word in one of `roles`, sorted."""
        return tuple(sorted({one.value.member for one in self.words if one.value.role in roles}))


@dataclass(frozen=True, slots=True)
class Code:
    """One content that steps took as their code: the revisions that it is, and why two humans stand behind none of them."""

    artifact: ArtifactDigest
    revisions: tuple[Revision, ...]
    missing: tuple[Failure, ...]

    @property
    def reviewed(self) -> bool:
        return any(one.two_humans for one in self.revisions)


def code_of(
    ran: Sequence[tuple[Step, Logged[StepRequest] | None]],
    words: Sequence[_Word],
    *,
    timeline: TrustTimeline,
    suspended: Suspended,
) -> tuple[Code, ...]:
    """Judge each content that a step of the chain took as code, as of when the first of these was requested."""
    taken: dict[ArtifactDigest, int] = {}
    for step, request in ran:
        before = step.index if request is None else request.index
        for dependency in step.value.dependencies:
            if dependency.role == "code":
                taken[dependency.digest] = min(before, taken.get(dependency.digest, before))
    about: dict[ArtifactDigest, list[_Word]] = {}
    for word in words:
        about.setdefault(word.value.artifact, []).append(word)
    return tuple(
        stand_behind(
            artifact,
            about.get(artifact, ()),
            kind="code",
            before=taken[artifact],
            timeline=timeline,
            suspended=suspended,
        )
        for artifact in sorted(taken)
    )


def stand_behind(
    artifact: ArtifactDigest,
    words: Sequence[_Word],
    *,
    kind: SourceKind,
    before: int,
    timeline: TrustTimeline,
    suspended: Suspended,
) -> Code:
    """Judge the content `artifact` by `words` about it, those that the log had before index `before`."""
    left: list[Failure] = []
    by_revision: dict[tuple[str, str], list[_Word]] = {}
    for word in words:
        made = word.value
        if why := _set_aside(word, kind, before, suspended):
            left.append(Failure(word.index, *why))
        else:
            by_revision.setdefault((made.repository, made.commit), []).append(word)
    found = tuple(
        _revision(repository, commit, by_revision[repository, commit], timeline, suspended)
        for repository, commit in sorted(by_revision)
    )
    if any(one.two_humans for one in found):
        return Code(artifact, found, ())
    return Code(artifact, found, (*_why_not(artifact, found, timeline), *left))


def _set_aside(word: _Word, kind: SourceKind, before: int, suspended: Suspended) -> tuple[str, str] | None:
    made = word.value
    if word.index >= before:
        return (
            "source-review-late",
            f"`{made.member}` signed for commit {made.commit[:12]} after the step was requested",
        )
    if made.kind != kind:
        return "source-other-kind", f"`{made.member}` signed for it as {made.kind}, and it is asked for as {kind}"
    if suspended.has(made.member, word.keyid):
        return "source-signer-suspended", f"`{made.member}`, who signed for commit {made.commit[:12]}, is suspended"
    return None


def _revision(
    repository: str, commit: str, words: Sequence[_Word], timeline: TrustTimeline, suspended: Suspended
) -> Revision:
    authors: set[str] = set()
    for word in words:
        signed_by = commit_signer(word.value, _trust(timeline, word))
        if signed_by is not None and signed_by[0].kind == "human" and not suspended.has(signed_by[0].id, signed_by[1]):
            authors.add(signed_by[0].id)
    signed = [(word, _trust(timeline, word).roster.members[word.value.member]) for word in words]
    reviewers = {member.id for word, member in signed if word.value.role == "reviewer" and member.kind == "human"}
    attesting = [member for word, member in signed if word.value.role != "reviewer"]
    return Revision(
        repository,
        commit,
        tuple(words),
        frozenset(authors),
        any(_others(reviewer, attesting, authors) for reviewer in reviewers),
    )


def _others(reviewer: str, attesting: Iterable[Member], authors: set[str]) -> frozenset[str]:
    """The humans other than `reviewer` who attest the revision, or made the commit that another one attests."""
    apart = [one for one in attesting if one.id != reviewer and reviewer not in one.responsible]
    humans = {one.id for one in apart if one.kind == "human"}
    return frozenset(humans | (authors if apart else set())) - {reviewer}


def commit_signer(made: SourceReview, trust: TrustState) -> tuple[Member, str] | None:
    """The member whose enrolled key signed the commit in git, and that key's id; `None` when no such key did."""
    revision = made.revision
    try:
        blob = sshsig.canonical(dearmor(revision.signature))
        keyid = sshsig.public_key(parse_sshsig(blob).key).keyid
        for member in trust.roster.members.values():
            held = trust.roster.key_of(member.id, keyid)
            if held is not None:
                sshsig.verify(
                    blob,
                    revision.signed,
                    key=held.key,
                    application=held.application,
                    user_verified=False,
                    namespace=GIT,
                )
                return member, keyid
    except KeyturnError:
        pass  # a signature that does not verify is nobody's
    return None


def _why_not(artifact: ArtifactDigest, found: Sequence[Revision], timeline: TrustTimeline) -> Iterator[Failure]:
    if not found:
        yield Failure(None, "source-review-missing", f"nobody signed for `{artifact}` before it was taken")
        return
    behind = [(one, _humans(one, timeline)) for one in found]
    alone = [one for one, humans in behind if len(humans) < 2]
    if len(alone) == len(found) and len(frozenset[str]().union(*(humans for _, humans in behind))) > 1:
        yield Failure(
            None,
            "source-other-revision",
            f"two humans signed for `{artifact}`, and not for one commit: "
            + ", ".join(f"{one.commit[:12]} of {one.repository}" for one in found),
        )
        return
    for one, humans in behind:
        which = f"commit {one.commit[:12]} of {one.repository}"
        if one in alone:
            who = ", ".join(humans) or "no human"
            yield Failure(None, "source-one-human", f"{which}: {who} stands behind it, and no other human")
        elif not one.signers("reviewer"):
            yield Failure(None, "source-not-reviewed", f"{which}: nobody reviewed it")
        else:
            yield Failure(None, "source-not-attested", f"{which}: nobody apart from its reviewer attests its content")


def _humans(one: Revision, timeline: TrustTimeline) -> frozenset[str]:
    signed = (_trust(timeline, word).roster.members[word.value.member] for word in one.words)
    return one.authors | {member.id for member in signed if member.kind == "human"}


def _trust(timeline: TrustTimeline, word: _Word) -> TrustState:
    trust = timeline.before(word.index)
    assert trust is not None  # the word verified under it
    return trust
