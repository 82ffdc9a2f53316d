"""A sunburst of verbs and their objects as SVG made of strings: what leads the steps of a set, and on what.

The inner ring shows the most frequent verbs by their shares of one another, the outer one the most frequent objects of
each, stretched over the verb's whole angle: of real sets most objects stand there once, and would be hairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from seqtune.data.folder import replacing
from seqtune.errors import shorten
from seqtune.report.plot import SERIES, percent, tag

Counted = Sequence[tuple[str, int]]
Verbs = Sequence[tuple[str, Counted]]

SIZE = 560.0
RINGS = (68.0, 166.0, 276.0)  # radii: of the hole, and of the ends of both rings
LINE, LETTER = 12.5, 6.8  # of a label: the room that a line needs, and the mean width of a letter
MARGIN = 7.0  # between a label and the ring's edge
NO_OBJECT = "–"
MOST, OBJECTS = 14, 4


class Part(NamedTuple):
    """One piece of a ring.

    Args:
        label: what stands on it; `told` is what the pointer reads there.
        start, end: shares of the whole circle, clockwise from the top.
        ring: 0 for verbs, 1 for objects.
        series: which colour it has.
    """

    label: str
    told: str
    start: float
    end: float
    ring: int
    series: int


def draw_sunburst(verbs: Verbs, *, title: str, most: int = MOST, objects: int = OBJECTS) -> Markup:
    """Verbs in the inner ring, their objects in the outer one; empty where there is nothing.

    Args:
        verbs: each with its objects and their counts, the most frequent first; all of the set, so that what the pointer
            reads are shares of all. An object "" is shown as a dash.
        title: what a screen reader says.
        most: how many verbs are shown.
        objects: how many objects of a verb are shown; less where there is no room to name them.
    """
    total = _steps(verbs)
    if not total:
        return Markup("")
    parts = [*_parts(verbs[:most], total, objects)]
    drawn = [_piece(part) for part in parts] + [_label(part) for part in parts if _fits(part)]
    middle = [
        tag("text", f"{total:,}", x=SIZE / 2, y=SIZE / 2, class_="value middle", style="font-size:22px"),
        tag("text", "steps", x=SIZE / 2, y=SIZE / 2 + 20, class_="middle", style="font-size:13px"),
    ]
    inside = Markup("").join([tag("title", title), *drawn, *middle])
    return tag("svg", inside, viewBox=f"0 0 {SIZE:g} {SIZE:g}", class_="plot sunburst", role="img")


def write_sunburst(verbs: Verbs, path: str | Path, *, title: str = "Verbs and their objects") -> Path:
    """A page with the plot alone, which needs no other file.

    Raises:
        RunFolderError: the place cannot be written.
    """
    css = Markup(resources.files("seqtune.report").joinpath("page.css").read_text("utf-8"))
    page = Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>{title}</title><style>{css}</style><body><h1>{title}</h1>{plot}<p class='note'>{note}</p></body></html>"
    )
    text = page.format(title=title, css=css, plot=draw_sunburst(verbs, title=title), note=describe_sunburst(verbs))
    with replacing(Path(path)) as file:
        file.write(text.encode())
    return Path(path)


def describe_sunburst(verbs: Verbs, *, most: int = MOST) -> str:
    """What is to stand below the plot: how much of the set it shows."""
    total, shown = _steps(verbs), _steps(verbs[:most])
    if not total:
        return ""
    among = f"{min(most, len(verbs))} of {len(verbs):,} verbs, which lead {percent(shown / total)} of the steps"
    return f"The most frequent {among}. The most frequent objects of each share its angle among them."


def _steps(verbs: Verbs) -> int:
    return sum(count for _, found in verbs for _, count in found)


def _parts(verbs: Verbs, total: int, objects: int) -> Iterator[Part]:
    start, shown = 0.0, _steps(verbs)
    for i, (verb, found) in enumerate(verbs):
        count = _steps([(verb, found)])
        end, series = start + count / shown, _series(i, len(verbs))
        yield Part(verb, _told(verb, count, total), start, end, 0, series)
        named = _with_room(found[:objects], end - start)
        turn = (end - start) / sum(number for _, number in named)
        for name, number in named:
            told = _told(f"{verb} {name}".strip(), number, total)
            yield Part(name or NO_OBJECT, told, start, start + number * turn, 1, series)
            start += number * turn
        start = end


def _series(place: int, of: int) -> int:
    """Colours go round; the last part stands beside the first one, and must not have its colour."""
    return SERIES // 2 if place and place == of - 1 and place % SERIES == 0 else place % SERIES


def _told(name: str, count: int, total: int) -> str:
    return f"{name}: {count:,} ({percent(count / total)})"


def _with_room(found: Counted, turn: float) -> Counted:
    """The first objects, as many as can all be named in so much of the circle; one at least."""
    room = turn * 2 * math.pi * (RINGS[1] + MARGIN)
    for count in range(len(found), 1, -1):
        if room * found[count - 1][1] >= LINE * sum(number for _, number in found[:count]):
            return found[:count]
    return found[:1]


def _piece(part: Part) -> Markup:
    # Verbs in the strong colour of a series, objects in its tint; the page sets both for light and dark.
    fill = f"var(--{'t' if part.ring else 'c'}{part.series + 1})"
    return tag("path", tag("title", part.told), d=_outline(part), style=f"fill:{fill};stroke:var(--paper)")


def _outline(part: Part) -> str:
    inner, outer = RINGS[part.ring], RINGS[part.ring + 1]
    end = min(part.end, part.start + 0.9999)  # an arc that ends where it starts is not drawn
    large = int(end - part.start > 0.5)
    corners = [_place(outer, part.start), _place(outer, end), _place(inner, end), _place(inner, part.start)]
    a, b, c, d = (f"{x:.1f} {y:.1f}" for x, y in corners)
    return f"M{a}A{outer:g} {outer:g} 0 {large} 1 {b}L{c}A{inner:g} {inner:g} 0 {large} 0 {d}Z"


def _place(radius: float, turn: float) -> tuple[float, float]:
    """The point at a radius, so many turns clockwise from the top."""
    angle = 2 * math.pi * turn
    return SIZE / 2 + radius * math.sin(angle), SIZE / 2 - radius * math.cos(angle)


def _fits(part: Part) -> bool:
    """Whether the label has room where its piece is narrowest."""
    nearest = RINGS[1] + MARGIN if part.ring else RINGS[1] - MARGIN - LETTER * len(_shortened(part))
    return (part.end - part.start) * 2 * math.pi * nearest >= LINE - 0.5


def _shortened(part: Part) -> str:
    return shorten(part.label, int((RINGS[part.ring + 1] - RINGS[part.ring] - MARGIN) / LETTER))


def _label(part: Part) -> Markup:
    """The label along the radius, from where both rings meet, so that a narrow verb has room; never upside down."""
    turn, left = (part.start + part.end) / 2, part.start + part.end > 1
    x, y = _place(RINGS[1] + (MARGIN if part.ring else -MARGIN), turn)
    ink = "var(--ink)" if part.ring else "var(--paper)"
    return tag(
        "text",
        _shortened(part),
        transform=f"translate({x:.1f} {y:.1f}) rotate({360 * turn + (90 if left else -90):.1f})",
        dy="0.35em",
        class_="end" if left == bool(part.ring) else "",
        style=f"fill:{ink};font-size:12px;pointer-events:none",
    )
