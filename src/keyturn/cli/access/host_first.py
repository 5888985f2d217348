"""Read a command line as ssh does: options stand before the host or directly behind it, and the rest is for the other side.

So `keyturn ssh gpu1 --reason WHY` and `keyturn ssh --reason WHY gpu1 id -un` are both what they look like, and what `rsync -e
'keyturn ssh'` puts behind the host stays as it is.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperOption

__all__ = ["HostFirst"]


class HostFirst(TyperCommand):
    """A command whose first argument is a host. Its context has `allow_interspersed_args=False`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the options that stand directly behind the host before it."""
        first = self._options_end(args, 0)
        if first < len(args) and "--" not in args[:first]:
            end = self._options_end(args, first + 1)
            args = [*args[:first], *args[first + 1 : end], args[first], *args[end:]]
        return super().parse_args(ctx, args)

    def _options_end(self, args: list[str], at: int) -> int:
        """Where the options that begin at `at` end: behind `--`, or before the first word that is none."""
        valued = {
            name
            for one in self.params
            if isinstance(one, TyperOption) and not one.is_flag
            for name in (*one.opts, *one.secondary_opts)
        }
        while at < len(args) and args[at].startswith("-") and args[at] != "-":
            word = args[at]
            at += 2 if word in valued else 1
            if word == "--":
                break
        return min(at, len(args))
