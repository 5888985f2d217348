"""Draw a lineage: as Graphviz text, and as SVG by a small layout of our own.

No library of pure Python lays out layered graphs and is well kept, and the picture must not need a program beside this one: each
node stands in the column behind everything that it rests on, columns are ordered by the middle of their neighbours, and links are
curves. Whoever wants more beauty gives the Graphviz text to `dot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import fmean
from typing import Literal

from keyturn.formats.plain_text import plain

__all__ = ["Picture", "as_dot", "as_svg"]

Shape = Literal["artifact", "asked", "step", "release", "outside"]

_FILLS: Mapping[Shape, str] = {
    "artifact": "#ffffff",
    "asked": "#fff2b3",
    "step": "#e3ecf7",
    "release": "#dff2df",
    "outside": "#f0e4f5",
}
_LETTER, _LINE, _PAD, _GAP_X, _GAP_Y = 7.3, 16, 8, 60, 18
_SWEEPS = 4
_Place = tuple[float, float, float, float]
_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"
  font-family="monospace" font-size="12">
<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z"/></marker></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


@dataclass
class Picture:
    """Boxes by key, each with its shape, its lines of text and what it says in full; links (from, to, whether dashed)."""

    boxes: dict[str, tuple[Shape, tuple[str, ...], str]] = field(default_factory=dict)
    links: dict[tuple[str, str], bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def box(self, key: str, shape: Shape, lines: Sequence[str], whole: str = "") -> None:
        """Add a box, unless it is there."""
        self.boxes.setdefault(key, (shape, tuple(plain(line) for line in lines), plain(whole)))

    def link(self, source: str, target: str, *, dashed: bool = False) -> None:
        """Link two boxes; not dashed when any link between them is not."""
        self.links[source, target] = self.links.get((source, target), True) and dashed


def as_dot(picture: Picture) -> str:
    """The picture in the language of Graphviz: `dot -Tsvg`, `dot -Tpdf`."""
    ids = {key: f"n{number}" for number, key in enumerate(picture.boxes)}
    said = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, style=filled, fontname="monospace"];']
    said += [f"  // {_quoted(note)}" for note in picture.notes]
    for key, (shape, lines, whole) in picture.boxes.items():
        text = "\\n".join(map(_quoted, lines))
        said.append(f'  {ids[key]} [label="{text}", tooltip="{_quoted(whole)}", fillcolor="{_FILLS[shape]}"];')
    for (source, target), dashed in picture.links.items():
        said.append(f"  {ids[source]} -> {ids[target]}{' [style=dashed]' if dashed else ''};")
    return "\n".join([*said, "}"]) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def as_svg(picture: Picture) -> str:
    """The picture as one SVG document without scripts, styles from elsewhere or links."""
    places, width, height = _placed(picture)
    height += _LINE * (len(picture.notes) + 1)
    said = [
        _HEAD.format(width=round(width), height=round(height)),
        *(_curve(places[source], places[target], dashed) for (source, target), dashed in picture.links.items()),
    ]
    for key, (shape, lines, whole) in picture.boxes.items():
        x, y, w, h = places[key]
        said.append(
            f'<g><title>{escape(whole)}</title><rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{h:.0f}" rx="4" '
            f'fill="{_FILLS[shape]}" stroke="#556"/>'
        )
        said += [
            f'<text x="{x + _PAD:.0f}" y="{y + _PAD + _LINE * (number + 0.75):.0f}">{escape(line)}</text>'
            for number, line in enumerate(lines)
        ]
        said.append("</g>")
    said += [
        f'<text x="{_PAD}" y="{height - _LINE * (number + 0.5):.0f}">{escape(plain(note))}</text>'
        for number, note in enumerate(reversed(picture.notes))
    ]
    return "\n".join([*said, "</svg>"]) + "\n"


def _curve(source: _Place, target: _Place, dashed: bool) -> str:
    (x, y, wide, high), (to_x, to_y, _, to_high) = source, target
    start, end = f"{x + wide:.0f} {y + high / 2:.0f}", f"{to_x:.0f} {to_y + to_high / 2:.0f}"
    bend = max(30.0, (to_x - x - wide) / 2)
    control = f"{x + wide + bend:.0f} {y + high / 2:.0f} {to_x - bend:.0f} {to_y + to_high / 2:.0f}"
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<path d="M{start}C{control} {end}" fill="none" stroke="#889"{dashes} marker-end="url(#to)"/>'


def _placed(picture: Picture) -> tuple[dict[str, _Place], float, float]:
    """Where each box is, as x, y, width and height; and the whole's width and height."""
    columns = _ordered(_columns(picture), picture)
    places: dict[str, _Place] = {}
    x, bottom = float(_PAD), 0.0
    for keys in columns:
        sizes = {key: _size(picture.boxes[key][1]) for key in keys}
        y = float(_PAD)
        for key in keys:
            places[key] = (x, y, *sizes[key])
            y += sizes[key][1] + _GAP_Y
        bottom = max(bottom, y)
        x += max(wide for wide, _ in sizes.values()) + _GAP_X
    return places, x, bottom


def _size(lines: Sequence[str]) -> tuple[float, float]:
    return 2 * _PAD + _LETTER * max(map(len, lines)), 2 * _PAD + _LINE * len(lines)


def _columns(picture: Picture) -> list[list[str]]:
    """Each box in the column behind all that it rests on; what rests on nothing directly before the first that rests on it."""
    before, after = _neighbours(picture.links)
    column: dict[str, int] = {}
    waiting = {key: len(before.get(key, ())) for key in picture.boxes}
    ready = [key for key, number in waiting.items() if not number]
    while len(column) < len(waiting):
        if not ready:  # a cycle: begin with whichever comes first
            ready = [next(key for key in waiting if key not in column)]
        key = ready.pop()
        if key in column:
            continue
        column[key] = 1 + max((column[one] for one in before.get(key, ()) if one in column), default=-1)
        for one in after.get(key, ()):
            waiting[one] -= 1
            if waiting[one] == 0:
                ready.append(one)
    for key in picture.boxes:
        if not before.get(key) and after.get(key):
            column[key] = max(0, min(column[one] for one in after[key]) - 1)
    found: dict[int, list[str]] = {}
    for key in picture.boxes:
        found.setdefault(column[key], []).append(key)
    return [found[number] for number in sorted(found)]


def _ordered(columns: list[list[str]], picture: Picture) -> list[list[str]]:
    """The columns with fewer crossings: each box near the middle of its neighbours, swept to and fro."""
    before, after = _neighbours(picture.links)
    rank = {key: float(number) for keys in columns for number, key in enumerate(keys)}
    for sweep in range(_SWEEPS):
        near = after if sweep % 2 else before
        for keys in reversed(columns) if sweep % 2 else columns:
            middle = {key: fmean([rank[one] for one in near.get(key, ())] or [rank[key]]) for key in keys}
            keys.sort(key=lambda key: middle[key])
            rank.update((key, float(number)) for number, key in enumerate(keys))
    return columns


def _neighbours(links: Iterable[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for source, target in links:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    return before, after
