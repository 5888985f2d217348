"""`keyturn stats`: how long people wait for each other, what is stuck, which permits nobody uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from keyturn.app.oversight.show_stats import Stats

__all__ = ["stats"]

_BARS = (60, 300, 900, 3600, 4 * 3600, 86400)
"""Upper ends of the bars, in seconds; the last bar is whatever waited longer."""
_CELLS = 40


def stats(
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far back to look.")] = 90,
    svg: Annotated[Path | None, typer.Option(help="Draw the waits into this new SVG file.", show_default=False)] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Measure two-party control from the log: waits, who waits for whom, stuck requests, unused permits."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.app.oversight.show_stats import read_whole, show_stats
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        known = read_whole(seen.view, seen.reader)
        found = show_stats(seen.view, known, seen.trust, since=seen.now - days * 86400, now=seen.now)
    if svg is not None:
        write_new(svg, _drawn(_bars(found.waits_s)).encode())
    output.emit(found, json=json, human=lambda screen: _show(screen, found, days))


def _show(screen: Console, found: Stats, days: int) -> None:
    from keyturn.formats.posix_time import duration

    def said(seconds: int | None) -> str:
        return "-" if seconds is None else duration(seconds)

    screen.print(
        f"{found.asked} {'request' if found.asked == 1 else 'requests'} in {days} days: "
        f"{found.granted} granted, {found.denied} denied, {found.revoked} revoked, "
        f"{found.lapsed} lapsed, {found.waiting} waiting; median wait {said(found.wait_median_s)}"
    )
    for use in found.unreviewed:
        screen.print(
            output.plain(
                f"break-glass: {use.id} of {use.resource}, not reviewed for {said(use.waits_s)}: keyturn grant review"
            )
        )
    if found.unread:
        screen.print(f"{found.unread} records could not be read, and are not counted")
    if found.erased:
        screen.print(f"{found.erased} records were erased, and their requests are not counted: keyturn tombstone list")
    if found.waits_s:
        most = max(count for _, count in _bars(found.waits_s))
        for label, count in _bars(found.waits_s):
            screen.print(f"  {label:>8}  {'█' * -(-count * _CELLS // most)} {count}".rstrip())
    rows = [
        (p.permit, str(p.asked), str(p.granted), said(p.wait_median_s), "UNUSED" if p.unused else "")
        for p in found.permits
    ]
    output.rows(screen, ("permit", "asked", "granted", "median wait", ""), rows)
    if found.waited:
        waited = [(w.requester, w.approver, str(w.times), said(w.wait_median_s)) for w in found.waited]
        output.rows(screen, ("who waited", "for", "times", "median wait"), waited)
    for one in found.stuck:
        could = ", ".join(one.could_approve) or "nobody"
        screen.print(
            output.plain(
                f"waiting: {one.id} by {one.requester} for {said(one.waits_s)}, permit {one.permit}; could approve: {could}"
            )
        )


def _bars(waits_s: Sequence[int]) -> list[tuple[str, int]]:
    from keyturn.formats.posix_time import duration

    low, bars = 0, []
    for high in _BARS:
        bars.append((f"< {duration(high)}", sum(low <= wait < high for wait in waits_s)))
        low = high
    return [*bars, (f">= {duration(low)}", sum(wait >= low for wait in waits_s))]


def _drawn(bars: Sequence[tuple[str, int]]) -> str:
    """Draw `bars` as an SVG that stands alone: text, rectangles, and nothing that runs."""
    width, step, top = 520, 26, 34
    height = top + step * len(bars) + 10
    most = max((count for _, count in bars), default=0) or 1
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        "<title>How long requests waited for their quorum</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20">requests by how long they waited for their quorum</text>',
    ]
    for number, (label, count) in enumerate(bars):
        y = top + step * number
        lines.append(
            f'<text x="80" y="{y + 15}" text-anchor="end">{label.replace("<", "&lt;").replace(">", "&gt;")}</text>'
        )
        lines.append(f'<rect x="90" y="{y + 2}" width="{count * (width - 150) // most}" height="18" fill="#3465a4"/>')
        lines.append(f'<text x="{96 + count * (width - 150) // most}" y="{y + 15}">{count}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
