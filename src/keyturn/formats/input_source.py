"""Read what `source` of an input in a STEP.toml names: a path, or something that is pinned by whoever keeps it.

    ../data                                          a file or directory
    git+https://git.example/train@<commit>           the tree of one commit; `#subdirectory=DIR` for a part of it
    git+file:../train@<commit>                       the same, of a repository on the builder's machine
    ../hub/models--acme--tiny/snapshots/<revision>   a snapshot in the cache of huggingface_hub, or a part of it
    oci:../image@sha256:<64 hex>                     an image in an OCI layout; `#platform=OS/ARCHITECTURE` of an index
    oci://registry.example/a/b@sha256:<64 hex>       the same, of a registry
    s3://bucket/data/                                the objects below a prefix of S3: what lies there when it is read

The words are pip's for git (`git+https`, `@`, `#subdirectory=`), huggingface_hub's for its cache, and skopeo's for a layout
(`oci:`). What may move under its name (a branch, a tag) is refused: a source names one content. A prefix of S3 moves, and S3
has no name that does not: there the input's `digest` alone says which content, as for a path. It must hold whatever the source
says.

This is NOT where anything is fetched: see `adapters.inputs`. Normative page docs/formats/step-toml.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyturn.errors import Malformed
from keyturn.formats import oci_image
from keyturn.formats.digest import Sha256, check_path
from keyturn.formats.git_commit import is_object_id
from keyturn.formats.oci_image import Platform
from keyturn.formats.text import is_hex_digest, is_printable

__all__ = [
    "GitCommitSource",
    "HubSnapshot",
    "OciImage",
    "OciRegistryImage",
    "PathSource",
    "S3Prefix",
    "Source",
    "parse",
]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&'()*+,;=:-]+)+\Z")
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<prefix>(?:.+/)?)\Z")
_REPOSITORY_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(
    rf"//(?P<host>(?:[a-z0-9][a-z0-9.-]*|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?)"
    rf"/(?P<repository>{_REPOSITORY_NAME}(?:/{_REPOSITORY_NAME})*)(?P<tag>:[A-Za-z0-9_.-]{{1,128}})?\Z"
)
"""By the OCI Distribution Specification."""
_REPOSITORY_LENGTH_MAX = 255
_LENGTH_MAX = 2048
_SUBDIRECTORY = "subdirectory="
_PLATFORM = "platform="
_HUB = re.compile(
    r"(?P<repository>(?:.*/)?(?P<kind>model|dataset|space)s--(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*))"
    r"/snapshots/(?P<revision>[0-9a-f]{40})(?:/(?P<part>.+?))?/?\Z"
)


@dataclass(frozen=True, slots=True)
class PathSource:
    """A file or directory of the builder's machine. It has no `uri`: paths of a machine are nobody's business elsewhere."""

    path: str

    @property
    def uri(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class GitCommitSource:
    """The tree of `commit`, or the directory `part` in it. `repository` is an https URL, or a path when it is `local`."""

    repository: str
    local: bool
    commit: str
    part: str = ""

    @property
    def uri(self) -> str:
        scheme = "git+file:" if self.local else "git+"
        part = f"#{_SUBDIRECTORY}{_shown(self.part)}" if self.part else ""
        return f"{scheme}{_shown(self.repository)}@{self.commit}{part}"


@dataclass(frozen=True, slots=True)
class HubSnapshot:
    """`part` (empty: all) of the snapshot `revision` that lies below `repository`, the cache's directory of one repository."""

    repository: str
    kind: str
    name: str
    revision: str
    part: str = ""

    @property
    def uri(self) -> str:
        """As huggingface_hub writes it: `hf://acme/tiny@<revision>`, `hf://datasets/acme/text@<revision>/train`."""
        kind = "" if self.kind == "model" else f"{self.kind}s/"
        part = f"/{_shown(self.part)}" if self.part else ""
        return f"hf://{kind}{self.name}@{self.revision}{part}"


@dataclass(frozen=True, slots=True)
class OciImage:
    """The image whose manifest is `digest` in the layout `layout`; of an index with that digest, the image for `platform`."""

    layout: str
    digest: Sha256
    platform: Platform | None = None

    @property
    def uri(self) -> str:
        platform = f"#{_PLATFORM}{self.platform}" if self.platform else ""
        return f"oci:{_shown(self.layout)}@sha256:{self.digest}{platform}"


@dataclass(frozen=True, slots=True)
class OciRegistryImage:
    """The same of `repository` at the registry `host`, which may have a port."""

    host: str
    repository: str
    digest: Sha256
    platform: Platform | None = None

    @property
    def uri(self) -> str:
        platform = f"#{_PLATFORM}{self.platform}" if self.platform else ""
        return f"oci://{self.host}/{self.repository}@sha256:{self.digest}{platform}"


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """Every object of `bucket` whose key begins with `prefix` and a slash; of the whole bucket when it is empty."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return (
            f"s3://{self.bucket}/{_shown(self.prefix.replace('%', '%25'))}/" if self.prefix else f"s3://{self.bucket}/"
        )


Source = PathSource | GitCommitSource | HubSnapshot | OciImage | OciRegistryImage | S3Prefix


def parse(text: str) -> Source:
    """Read `text`, or raise `Malformed` saying what to type instead."""
    if len(text) > _LENGTH_MAX or not is_printable(text):
        raise Malformed(
            "input-source", f"expected at most {_LENGTH_MAX} visible characters as `source`, got {text[:80]!r}"
        )
    if text.startswith("git+"):
        return _git(text)
    if text.startswith("oci:"):
        return _oci(text)
    if text.startswith("s3:"):
        return _s3(text)
    if _SCHEME.match(text):
        raise Malformed(
            "input-source",
            f"expected a path or one of `git+https:` `git+file:` `oci:` `s3:` as `source`, got the URI `{text[:80]}`",
            hint="fetch it into a directory that the builder allows, and name that",
        )
    hub = _HUB.match(text)
    if hub is None:
        return PathSource(text)
    part = hub["part"] or ""
    if part:
        check_path(part)
    return HubSnapshot(hub["repository"], hub["kind"], hub["name"].replace("--", "/"), hub["revision"], part)


def _shown(text: str) -> str:
    """As a URI has it: visible ASCII as it is, all else by its bytes, `%C3%A9`."""
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in text.encode("utf-8"))


def _git(text: str) -> GitCommitSource:
    address, _, fragment = text.removeprefix("git+").partition("#")
    repository, at, commit = address.rpartition("@")
    local = address.startswith("file:")
    if fragment and not fragment.startswith(_SUBDIRECTORY):
        raise Malformed("input-source", f"expected `#subdirectory=DIR` behind a commit, got `#{fragment[:80]}`")
    place = repository.removeprefix("file:") if local else repository
    if not at or not is_object_id(commit):
        named = f"`{commit[:80]}`" if at else "none"
        where = (place or address.removeprefix("file:")) if at else address.removeprefix("file:")
        find = f"git -C {where} rev-parse" if local else f"git ls-remote {where}"
        raise Malformed(
            "input-unpinned",
            f"expected a whole commit id behind `@` in `{text[:200]}`, got {named}: branches and tags move",
            hint=f"`{find} {commit[:80] if at else 'HEAD'}` prints it",
        )
    if local:
        place = "/" + place.lstrip("/") if place.startswith("//") else place  # file:///srv/x is /srv/x
    elif not _HTTPS.match(place) or {".", ".."} & set(place.split("/")):
        raise Malformed(
            "input-source",
            f"expected `git+https://HOST/REPOSITORY@COMMIT`, without a user, or `git+file:PATH@COMMIT`, got `{text[:200]}`",
            hint="clone what needs a password to where the builder may read, and name it with git+file:",
        )
    part = fragment.removeprefix(_SUBDIRECTORY).strip("/")
    if part:
        check_path(part)
    return GitCommitSource(place, local, commit, part)


def _oci(text: str) -> OciImage | OciRegistryImage:
    address, _, fragment = text.removeprefix("oci:").partition("#")
    layout, at, digest = address.rpartition("@")
    remote = _REGISTRY.match(layout or address)
    wrong = remote is None or len(remote["repository"]) > _REPOSITORY_LENGTH_MAX or (at and remote["tag"])
    if address.startswith("//") and wrong:
        raise Malformed(
            "input-source",
            f"expected `oci://REGISTRY/REPOSITORY@sha256:…`, in lower case, without a user or tag, got `{text[:200]}`",
            hint="a layout on the builder's machine is `oci:DIRECTORY@sha256:…`, with one slash if it is absolute",
        )
    if not at or not layout or not digest.startswith("sha256:") or not is_hex_digest(digest.removeprefix("sha256:")):
        tagged = f"{layout}:{digest}" if at and layout else address
        raise Malformed(
            "input-unpinned",
            f"expected {'a registry' if remote else 'a directory'} and `@sha256:<64 hex>` behind it in `{text[:200]}`: tags move",
            hint=f"`skopeo inspect --format '{{{{.Digest}}}}' {'docker' if remote else 'oci'}:{tagged[:200]}` prints it"
            + ("" if remote else "; it stands in index.json there"),
        )
    if fragment and not fragment.startswith(_PLATFORM):
        raise Malformed("input-source", f"expected `#platform=OS/ARCHITECTURE` behind a digest, got `#{fragment[:80]}`")
    platform = oci_image.parse_platform(fragment.removeprefix(_PLATFORM)) if fragment else None
    named = Sha256(digest.removeprefix("sha256:"))
    if remote is not None:
        return OciRegistryImage(remote["host"], remote["repository"], named, platform)
    return OciImage(layout, named, platform)


def _s3(text: str) -> S3Prefix:
    found = _S3.match(text)
    if found is None:
        raise Malformed(
            "input-source",
            f"expected `s3://BUCKET/PREFIX/`, with a slash behind the prefix, got `{text[:200]}`",
            hint="an object alone is named by what it lies below; endpoint and keys are the builder's own",
        )
    prefix = found["prefix"].removesuffix("/")
    return S3Prefix(found["bucket"], check_path(prefix) if prefix else "")
