"""Say where a step may read and write, by where a path really leads, and not by what it is called.

This is NOT what keeps a step in: the sandbox does (`adapters.sandbox_bwrap`). It keeps the builder itself from reading and
writing for a member what that member may not; a name is its owner's to change a moment later, so whoever opens it looks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyturn.errors import Refused

__all__ = ["Allowed"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where steps may read and write (`work`), where runtimes lie, and what neither may touch (`private`)."""

    work: tuple[Path, ...]
    runtime: tuple[Path, ...]
    private: tuple[Path, ...]

    def check(self, path: Path, *, what: str, roots: tuple[Path, ...]) -> Path:
        """Resolve `path` through every link, and accept it below one of `roots`; or raise `Refused`."""
        real = path.resolve()
        if not any(real.is_relative_to(root.resolve()) for root in roots):
            raise Refused(
                "path-not-allowed",
                f"{what} `{path}` lies outside of what this builder may use",
                hint="keyturn builder show lists its directories",
            )
        for place in self.private:
            private = place.resolve()
            if real.is_relative_to(private) or private.is_relative_to(real):
                raise Refused("path-private", f"{what} `{path}` touches `{place}`, which no step may reach")
        return real
