"""Join releases to this machine: whose model, which log and root, which gate, and where packs lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.adapters.files.config_files import read_small, replace_file
from keyturn.adapters.over_http.release_over_http import ReleaseOverHttp
from keyturn.app.access.authorize import find_pending
from keyturn.app.access.request_access import require_hope
from keyturn.app.custody.compare_evidence import compare_evidence
from keyturn.app.custody.make_pack import make_pack, require_not_ended
from keyturn.app.custody.open_release import ReleaseDraft, make_release_request, open_release, sign_release_request
from keyturn.app.custody.verify_model import verify_model, verify_with_files
from keyturn.app.custody.verify_pack import PackVerdict, VerifiedPack, accept, examine_pack
from keyturn.bulk import manifest
from keyturn.bulk.threads import on_all_cores
from keyturn.bulk.walk import look
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats import dsse
from keyturn.formats import manifest as manifests
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.uri import Uri
from keyturn.policy.load import Permit, load
from keyturn.trust.history import TrustHistory
from keyturn.wiring import typed
from keyturn.wiring.gates.set_up import ROOT_BYTES_MAX
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import log_reader, log_writer
from keyturn.wiring.log.pinned_log import followed, root_of

__all__ = [
    "OpenedRelease",
    "artifact_digest",
    "examine_file",
    "examine_pinned",
    "open_request",
    "release_by_gate",
    "require_grantable",
    "submit_request",
    "verify_files",
    "verify_pack_file",
]

PACK_BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class OpenedRelease:
    """A release request that can be shown, and is signed with `key` and submitted once its maker agreed."""

    draft: ReleaseDraft
    request: AccessRequest
    key: RecordSigner


def artifact_digest(
    named: str, progress: Callable[[int, int], None] | None = None
) -> tuple[ArtifactDigest, Path | None]:
    """The artifact that `named` means: a digest as text, or the files at a path, hashed now."""
    if named.startswith(("dirHash:", "sha256:")):
        return typed.artifact("the artifact", named), None
    path = Path(named).absolute()
    return manifest.contents(path, progress=progress).identity, path


def open_request(
    place: LabPlace,
    *,
    model: ArtifactDigest,
    resource: str,
    permit: str | None,
    gate: str,
    justification: str,
    ticket: str,
    duration_s: int,
    key: str | None,
) -> OpenedRelease:
    """Judge the model's chain, and make the release request of whoever runs the command."""
    person, clock = find_person(), SystemClock()
    with log_reader(place) as log:
        root, pin = root_of(place, log)
        uri = typed.uri("`--as`", resource, lab=TrustHistory.start(root, pinned_sha256=pin).lab)
        draft = open_release(
            log,
            root_json=root,
            pinned_sha256=pin,
            model=model,
            resource=uri,
            now=clock.now(),
            verify=Verifiers().verify,
            each=on_all_cores,
        )
    allowed = _permit(draft, permit)
    limits = (duration_s, allowed.pending_max_s, allowed.duration_max_s or duration_s)
    signer = own_signer(person, approving=False, named=key, view=PageView(draft.history.newest.roster))
    made = make_release_request(
        draft,
        requester=person.config.member,
        key=signer.public,
        permit=allowed.id,
        resource=uri,
        gate=Uri(uri.lab, "gate", gate),
        justification=justification,
        ticket=ticket,
        duration_s=min(limits),
        nonce=SystemEntropy().nonce(),
        now=clock.now(),
    )
    return OpenedRelease(draft, made, signer)


def require_grantable(opened: OpenedRelease) -> None:
    """Refuse to ask for what no approvals could get granted: a resource or gate that is none, a chain that the policy refuses."""
    trust = opened.draft.history.newest
    require_hope(opened.request, load(trust), gates=trust.gates, facts=opened.draft.facts, now=SystemClock().now())


def submit_request(place: LabPlace, opened: OpenedRelease) -> tuple[int, Sha256]:
    """Sign the request and log it; gives its index and digest."""
    envelope = sign_release_request(opened.draft, opened.request, opened.key)
    with log_writer(place) as log:
        return log.append(envelope), dsse.parse_own(envelope).record_digest


def release_by_gate(
    place: LabPlace, *, request: str, gate: str, path: Path | None, out: Path, again: bool
) -> tuple[VerifiedPack, Path]:
    """Have the gate release the approved request whose id begins with `request`, verify its pack, and write it to `out`.

    `again`: the pack of a release is welcome, though people have taken its request back since.
    """
    now = SystemClock().now()
    with log_reader(place) as log:
        root, pin = root_of(place, log)
        view = followed(log, now=now)
    pending = find_pending(view, request)
    bundle = view.bundle_of(pending.digest)
    if bundle is None:
        raise Unavailable("bundle-unread", f"an approval of `{request}` is in the log, and its text could not be had")
    raw, verified = make_pack(
        ReleaseOverHttp(place.process_url(f"gate-{gate}")),
        bundle,
        path=None if path is None else str(path),
        root_json=root,
        pinned_sha256=pin,
        verify=Verifiers().verify,
    )
    if not again:
        require_not_ended(pending, view, now=now)
    replace_file(out, raw)
    return verified, out


def examine_file(pack: Path, root: Path) -> PackVerdict:
    """Judge the pack in a file under the root in a file; the latter is the caller's own, and what he pins."""
    return examine_pack(_read_pack(pack), **_own_root(root))


def examine_pinned(pack: Path, root: Path, *, pinned_sha256: str) -> PackVerdict:
    """Judge the pack in a file under the root in a file, which must be the pinned one."""
    content = read_small(root, size_bytes_max=ROOT_BYTES_MAX)
    return examine_pack(_read_pack(pack), root_json=content, pinned_sha256=pinned_sha256, verify=Verifiers().verify)


def verify_pack_file(pack: Path, root: Path, *, pinned_sha256: str) -> VerifiedPack:
    """The same; raises with every failure."""
    return accept(examine_pinned(pack, root, pinned_sha256=pinned_sha256))


def verify_files(
    pack: Path,
    root: Path,
    *,
    model: Path | None,
    manifest: Path | None = None,
    fast: bool = False,
    inputs: Sequence[Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> PackVerdict:
    """Verify the pack in a file, and the model's files if given, under the caller's own root; raises with every failure.

    Files at hand (the model's, and those at `inputs`) are compared with what others signed of them by other digests than SHA-256.

    By `manifest`, which `keyturn step digest` wrote, files that are not the released ones are named; it decides nothing.
    """
    listed = (
        None if manifest is None else manifests.parse(read_small(manifest, size_bytes_max=manifests.MANIFEST_BYTES_MAX))
    )
    for path in inputs:
        look(path)  # what is not there is said before a pack is verified for minutes
    verdict = examine_pack(_read_pack(pack), **_own_root(root))

    def files(released: ArtifactDigest) -> None:
        if model is not None:
            verify_model(model, released, signed=verdict.files, listed=listed, fast=fast, progress=progress)

    verified = verify_with_files(verdict, files).verdict
    at_hand = [] if model is None or verified.model is None else [(model, verified.model)]
    at_hand += [(path, _identity(path)) for path in inputs]
    compared = compare_evidence(verified, at_hand, needed=inputs, compare=Verifiers().compare_files)
    return replace(verified, compared={**verified.compared, **dict.fromkeys(compared, "here")})


def _identity(path: Path) -> ArtifactDigest:
    return manifest.contents(path).identity


def _own_root(root: Path) -> dict[str, Any]:
    content = read_small(root, size_bytes_max=ROOT_BYTES_MAX)
    return {"root_json": content, "pinned_sha256": sha256(content), "verify": Verifiers().verify}


def _read_pack(path: Path) -> bytes:
    return read_small(path, size_bytes_max=PACK_BYTES_MAX)


def _permit(draft: ReleaseDraft, named: str | None) -> Permit:
    permits = load(draft.history.newest).permits
    found = sorted(id_ for id_, permit in permits.items() if "model:release" in permit.actions and named in (None, id_))
    if not found:
        raise Refused(
            "permit-none",
            f"the policy has no permit {f'`{named}` ' if named else ''}for `model:release`",
            hint="keyturn policy check",
        )
    if len(found) > 1:
        raise Usage(
            "permit-ambiguous",
            f"expected one permit for `model:release`, the policy has {len(found)}: {', '.join(found)}",
            hint="name one with --permit",
        )
    return permits[found[0]]
