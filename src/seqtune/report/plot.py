"""Plots as SVG made of strings: lines with direct labels, bars, and dots with intervals.

Colours and fonts come from the page's style sheet by class (`s0` to `s5`), so that one plot serves light and dark.
Series differ by dashes and marker shapes too, not by colour alone: 36 of them can be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from seqtune.errors import shorten

WIDTH = 560.0
SERIES = 6  # colours, and as many dashes and markers
MOST_POINTS = 300  # of a line: more than the plot has pixels for only makes the page larger
LARGEST = 1e15  # more is no loss and no number of tokens
LETTER = 10.0  # width of a letter at the size that the style sheet gives phones
LABEL_LETTERS = 16
LABEL_GAP = 20.0
ROW_PITCH = 17.0
DASHES = ("", "7 4", "2 4", "10 4 2 4", "4 2", "1 3")


def series_of(colour: int, mark: int) -> int:
    """The series with that colour, dash and marker; the first six differ in all of them."""
    return colour % SERIES + SERIES * ((mark - colour) % SERIES)


def _mark(series: int) -> int:
    """Which dash and marker a series has."""
    return (series + series // SERIES) % SERIES


class Line(NamedTuple):
    """One line: its name, its points in order of x, and which series it is."""

    name: str
    points: Sequence[tuple[float, float]]
    series: int


class Dot(NamedTuple):
    """A share (0 to 1) with its interval, and which series it belongs to."""

    series: int
    value: float
    low: float
    high: float
    title: str = ""


class Group(NamedTuple):
    """The dots that stand together in one row, what the row is called, and a note below that."""

    label: str
    note: str
    dots: Sequence[Dot]


class Frame(NamedTuple):
    """The part of the picture that data are drawn in, and the ranges that it shows."""

    left: float
    right: float
    top: float
    bottom: float
    x_most: float
    y_most: float

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * value / self.x_most

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.y_most


def draw_lines(lines: Sequence[Line], *, x_label: str, y_label: str, title: str) -> Markup:
    """A line plot from zero on both axes, each line named at its end; empty where no point is a number.

    Args:
        lines: points below zero, above LARGEST or without a number are left out.
        x_label, y_label: what the axes show, with units.
        title: what a screen reader says.
    """
    lines = [line for line in map(_drawable, lines) if line.points]
    if not lines:
        return Markup("")
    height = 330.0
    letters = max(len(_label(line.name)) for line in lines)
    x_ticks = ticks(max(x for line in lines for x, _ in line.points))
    y_ticks = ticks(max(y for line in lines for _, y in line.points))
    frame = Frame(58, WIDTH - 18 - letters * LETTER, 38, height - 52, x_ticks[-1], y_ticks[-1])
    parts = [*_y_axis(frame, y_ticks, y_label), *_x_axis(frame, x_ticks, x_label)]
    parts += [_path(line, frame) for line in lines]
    parts += _end_labels(lines, frame)
    return _svg(height, title, parts)


def _drawable(line: Line) -> Line:
    points = [(x, y) for x, y in line.points if 0 <= x <= LARGEST and 0 <= y <= LARGEST]
    every = max(1, math.ceil(len(points) / MOST_POINTS))
    return line._replace(points=[*points[:-1:every], *points[-1:]])


def _y_axis(frame: Frame, marks: Sequence[float], label: str) -> list[Markup]:
    parts = [tag("text", label, x=2, y=14, class_="axis")]
    for mark in marks:
        y = frame.y(mark)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid" if mark else "base"))
        parts.append(tag("text", compact(mark), x=frame.left - 8, y=y + 4.5, class_="tick end"))
    return parts


def _x_axis(frame: Frame, marks: Sequence[float], label: str) -> list[Markup]:
    parts = [
        tag("text", compact(mark), x=frame.x(mark), y=frame.bottom + 20, class_=f"tick middle{' odd' if i % 2 else ''}")
        for i, mark in enumerate(marks)
    ]
    return [*parts, tag("text", label, x=(frame.left + frame.right) / 2, y=frame.bottom + 44, class_="axis middle")]


def _path(line: Line, frame: Frame) -> Markup:
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = tag("polyline", points=points, class_="line", **_dashes(line.series))
    return tag("g", drawn + marker(line.series, *places[-1]), class_=f"s{line.series % SERIES}")


def _dashes(series: int) -> dict[str, str]:
    dash = DASHES[_mark(series)]
    return {"stroke_dasharray": dash} if dash else {}


def _end_labels(lines: Sequence[Line], frame: Frame) -> list[Markup]:
    """A name at the end of each line, moved apart where they would overlap; none where they do not fit."""
    if len(lines) * LABEL_GAP > frame.bottom - frame.top:
        return []
    order = sorted(lines, key=lambda line: frame.y(line.points[-1][1]))
    wanted = [frame.y(line.points[-1][1]) for line in order]
    return [
        tag("text", _label(line.name), x=frame.right + 12, y=y + 4.5, class_=f"name s{line.series % SERIES}")
        for line, y in zip(order, spread(wanted, frame.top, frame.bottom), strict=True)
    ]


def _label(name: str) -> str:
    """Both ends of a long name: arms begin, and seeds end it."""
    name = " ".join(name.split())
    return name if len(name) <= LABEL_LETTERS else f"{name[:8]}…{name[8 - LABEL_LETTERS + 1 :]}"


def spread(places: Sequence[float], low: float, high: float) -> list[float]:
    """The sorted places, moved as little as needed to be LABEL_GAP apart and between low and high."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + LABEL_GAP if moved else low))
    limit = high
    for i in range(len(moved) - 1, -1, -1):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - LABEL_GAP
    return moved


def draw_bars(counts: Sequence[tuple[str, int]], *, title: str) -> Markup:
    """Lying bars, each with its label at left, its count and share at right; empty where there is nothing."""
    total = sum(count for _, count in counts)
    if not total:
        return Markup("")
    left, right, pitch = 96.0, WIDTH - 136, 30.0
    most = max(count for _, count in counts)
    parts: list[Markup] = []
    for i, (label, count) in enumerate(counts):
        y = 4 + pitch * i
        width = (right - left) * count / most
        parts.append(tag("text", shorten(label, 10), x=left - 10, y=y + 16, class_="tick end"))
        parts.append(tag("rect", x=left, y=y + 2, width=max(width, 1.0), height=18, rx=2, class_="bar"))
        value = f"{count:,} · {percent(count / total)}"
        parts.append(tag("text", value, x=left + width + 8, y=y + 16, class_="value"))
    return _svg(pitch * len(counts) + 6, title, parts)


def draw_intervals(groups: Sequence[Group], *, x_label: str, title: str) -> Markup:
    """Shares as dots with whiskers, a row for each group, on an axis from 0 to 100 %; empty where there is nothing.

    Lying rows rather than standing bars: their labels stay whole on a phone, and a value of 0 is still a mark to see.
    """
    return _draw_rows(groups, [(at, percent(at)) for at in (0, 0.25, 0.5, 0.75, 1)], x_label, title)


def draw_differences(groups: Sequence[Group], *, x_label: str, title: str, points: float = 100) -> Markup:
    """Differences as dots with whiskers, a row for each group, with nought in the middle; empty where there is nothing.

    Args:
        groups: dots as differences, -1 to 1 of shares.
        x_label: what the axis shows, with units.
        title: what a screen reader says.
        points: what a difference of 1 is called on the axis: 100 points of a share.
    """
    reach = [abs(end) * points for group in groups for dot in group.dots for end in (dot.value, dot.low, dot.high)]
    most = ticks(max(reach, default=0), 4)[-1]
    marks = [(place, f"{(2 * place - 1) * most:+.4g}" if place != 0.5 else "0") for place in (0, 0.25, 0.5, 0.75, 1)]
    moved = [group._replace(dots=[_moved(dot, most / points) for dot in group.dots]) for group in groups]
    return _draw_rows(moved, marks, x_label, title)


def _moved(dot: Dot, most: float) -> Dot:
    """A difference as a share of an axis from -most to most."""
    value, low, high = ((end + most) / (2 * most) for end in (dot.value, dot.low, dot.high))
    return dot._replace(value=value, low=low, high=high)


def _draw_rows(groups: Sequence[Group], marks: Sequence[tuple[float, str]], x_label: str, title: str) -> Markup:
    groups = [group for group in groups if group.dots]
    if not groups:
        return Markup("")
    heights = [max(ROW_PITCH * len(group.dots) + 18, 52.0 if group.note else 0.0) for group in groups]
    frame = Frame(184, WIDTH - 24, 6, 6 + sum(heights), 1.0, 1.0)
    parts = _lying_axis(frame, marks, x_label)
    top = frame.top
    for group, height in zip(groups, heights, strict=True):
        parts += _row(group, frame, top, height)
        top += height
    return _svg(top + 52, title, parts)


def _lying_axis(frame: Frame, marks: Sequence[tuple[float, str]], label: str) -> list[Markup]:
    parts = [tag("text", label, x=(frame.left + frame.right) / 2, y=frame.bottom + 44, class_="axis middle")]
    for i, (at, told) in enumerate(marks):
        x, odd = frame.x(at), " odd" if i % 2 else ""
        nought = " nought" if told == "0" else ""
        parts.append(tag("line", x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_=f"grid{nought}"))
        parts.append(tag("text", told, x=x, y=frame.bottom + 20, class_=f"tick middle{odd}"))
    return parts


def _row(group: Group, frame: Frame, top: float, height: float) -> list[Markup]:
    middle, bottom, x = top + height / 2, top + height, frame.left - 14
    label = middle - 5 if group.note else middle + 4.5
    parts = [tag("line", x1=0, x2=frame.right, y1=bottom, y2=bottom, class_="base")]
    parts.append(tag("text", shorten(group.label, LABEL_LETTERS), x=x, y=label, class_="group end"))
    if group.note:
        parts.append(tag("text", shorten(group.note, 24), x=x, y=middle + 15, class_="small end"))
    first = middle - ROW_PITCH * (len(group.dots) - 1) / 2
    return parts + [_whisker(dot, frame, first + ROW_PITCH * i) for i, dot in enumerate(group.dots)]


def _whisker(dot: Dot, frame: Frame, y: float) -> Markup:
    low, value, high = (frame.x(min(1.0, max(0.0, share))) for share in (dot.low, dot.value, dot.high))
    whisker = tag("line", x1=low, x2=high, y1=y, y2=y, class_="whisker")
    inside = Markup("").join([tag("title", dot.title), whisker, marker(dot.series, value, y)])
    return tag("g", inside, class_=f"s{dot.series % SERIES}")


def marker(series: int, x: float, y: float) -> Markup:
    """The mark of a series: circle, square, diamond, triangle, ring, hollow square."""
    shape = _mark(series)
    hollow = " hollow" if shape >= 4 else ""
    if shape in (0, 4):
        return tag("circle", cx=x, cy=y, r=5, class_=f"dot{hollow}")
    if shape in (1, 5):
        return tag("rect", x=x - 4.5, y=y - 4.5, width=9, height=9, class_=f"dot{hollow}")
    corners = ((0, -6), (6, 0), (0, 6), (-6, 0)) if shape == 2 else ((0, -6), (6, 5), (-6, 5))
    return tag("polygon", points=" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners), class_="dot")


def draw_key(series: int) -> Markup:
    """A small swatch for legends and tables: the line and the mark of a series."""
    line = tag("line", x1=1, x2=29, y1=8, y2=8, class_="line", **_dashes(series))
    inside = Markup("").join([line, marker(series, 15, 8)])
    return tag("svg", inside, viewBox="0 0 30 16", class_=f"key s{series % SERIES}", aria_hidden="true")


def ticks(most: float, count: int = 5) -> list[float]:
    """Round numbers from 0 to at least `most`, about `count` steps: 0, 2, 4, ...; the last one ends the axis."""
    most = max(most, 1e-9)
    size = 10.0 ** math.floor(math.log10(most / count))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size * count >= most * (1 - 1e-9))
    steps = max(1, math.ceil(most / step - 1e-9))
    return [i * step for i in range(steps + 1)]


def compact(value: float) -> str:
    """A number of an axis: 0.25, 12, 400k, 2.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """12 %, with a decimal only where rounding would hide something: 0.4 %, 99.6 %."""
    near_end = 0 < share < 0.01 or 0.99 < share < 1
    return f"{share:.1%}".replace("%", " %") if near_end else f"{share:.0%}".replace("%", " %")


def tag(name: str, text: str = "", /, **attributes: str | float) -> Markup:
    """One element; text and attributes are escaped, numbers rounded, `class_` and `stroke_width` named as in SVG."""
    written = "".join(
        f' {key if key == "viewBox" else key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{escape(text)}</{name}>")


def _value(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def _svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    inside = Markup("").join([tag("title", title), *parts])
    return tag("svg", inside, viewBox=f"0 0 {WIDTH:g} {height:g}", class_="plot", role="img")
