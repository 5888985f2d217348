"""Hold an input that is no plain path: a copy in the builder's own directory, by whatever its source names.

What lies on this machine is looked for where plain paths may lie (`check`), links and all. What lies elsewhere is fetched only
from below an address that the builder's operator listed in `sources`: a member who may order steps has the builder reach nothing
else, and no address on a closed network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from keyturn.adapters.inputs import git_input, hub_input, oci_input, oci_layout
from keyturn.adapters.inputs.oci_place import ANONYMOUS, OciPlace
from keyturn.adapters.inputs.oci_registry import Registry
from keyturn.adapters.inputs.s3_place import S3Place
from keyturn.bulk.manifest import Progress
from keyturn.errors import Refused
from keyturn.formats.input_source import GitCommitSource, HubSnapshot, OciImage, OciRegistryImage, S3Prefix
from keyturn.formats.provenance import Origin

__all__ = ["ANYWHERE", "HeldInputs", "HeldSource"]

ANYWHERE = ("git+https://", "oci://", "s3://")
"""The `sources` of whoever acts on his own machine, and on his own word."""

HeldSource = GitCommitSource | HubSnapshot | OciImage | OciRegistryImage | S3Prefix


@dataclass(frozen=True, slots=True)
class HeldInputs:
    """`check` resolves a path and refuses one that this builder may not read; `sources` are the addresses it may fetch from."""

    base: Path
    check: Callable[[Path], Path]
    sources: tuple[str, ...]
    s3: S3Place | None = None
    oci: OciPlace = ANONYMOUS

    def hold(self, source: HeldSource, into: Path, *, progress: Progress | None = None) -> Origin:
        """Make `into`, which is not there, of what `source` names; or raise, and leave whatever was written to the caller."""
        match source:
            case GitCommitSource(local=True):
                return git_input.hold(source, self.base / source.repository, into, check=self.check)
            case GitCommitSource():
                self._require_listed(source.repository, scheme="git+")
                return git_input.fetch(source, into)
            case HubSnapshot():
                return hub_input.hold(source, self.base / source.repository, into, check=self.check)
            case OciImage():
                with oci_layout.opened(source, self.base / source.layout, check=self.check) as layout:
                    return oci_input.hold(source, layout, into, progress=progress)
            case OciRegistryImage():
                self._require_listed(f"{source.host}/{source.repository}", scheme="oci://")
                return oci_input.hold(source, Registry(source, self.oci), into, progress=progress)
            case S3Prefix():
                self._require_listed(source.uri, scheme="")
                return self._from_s3(source, into, progress)
            case _:
                assert_never(source)

    def _from_s3(self, source: S3Prefix, into: Path, progress: Progress | None) -> Origin:
        from keyturn.adapters.inputs import s3_input  # the extra `s3`: for whoever has inputs there

        if self.s3 is None:
            raise Refused(
                "s3-none",
                f"{source.uri}: this builder knows no S3",
                hint="its operator writes `[s3]` with an `endpoint` into builder.toml",
            )
        return s3_input.hold(source, self.s3, into, progress=progress)

    def _require_listed(self, address: str, *, scheme: str) -> None:
        named = scheme + address
        for one in self.sources:
            if named == one or named.startswith(one if one.endswith("/") else f"{one}/"):
                return
        raise Refused(
            "source-not-allowed",
            f"`{named[:200]}` is not below an address that this builder may fetch from",
            hint="keyturn builder show lists them; its operator adds to `sources` in builder.toml",
        )
