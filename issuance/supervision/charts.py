"""Charts as SVG that a strict Content-Security-Policy lets through.

Made by pygal, then freed of what it brings for browsers: its style block, its script, its address, its tool tips' data.
Colours are presentation attributes and the design kit's classes (`oc-chart`, `s1` to `s4`, `axis`, `grid`), so that a
chart looks the same in a page and as a picture of its own. Title and description are there for those who cannot see it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Literal

from issuance.supervision.schemas import Breakdown, Figures, Statistics

SVG_TYPE: Final = "image/svg+xml"
Language = Literal["zh", "en"]
_SVG: Final = "http://www.w3.org/2000/svg"
_SIZE: Final = (540, 220)
_FONT: Final = "Noto Sans CJK SC, Source Han Sans SC, Microsoft YaHei, PingFang SC, sans-serif"
SERIES: Final = ("#1d3f72", "#96580a", "#2f7d6b", "#8a94a0")
"""The kit's `--oc-s1` to `--oc-s4`."""
INK_2, EDGE, LINE = "#3d4a56", "#76838e", "#d5dbdf"
_MOST_BARS: Final = 12
_FEWEST_BARS: Final = 6
"""Fewer leave room below, so that a bar is no block."""
_MOST_LETTERS: Final = 14
_PICTURES: Final = 256
"""So many are kept, of about 10 KB each."""
_FEW: Final = 5
"""Up to so many, the axis has every number, and none between them."""


class ChartName(StrEnum):
    APPLICATIONS = "applications"
    TIMES = "times"
    REGIONS = "regions"
    SPOILED = "spoiled"


@dataclass(frozen=True, slots=True)
class Chart:
    by: Breakdown
    draw: Callable[[Statistics, Language], bytes]


def applications(table: Statistics, language: Language) -> bytes:
    """Applied and issued a day."""
    title = _say(language, "每天申领与发卡（件、张）", "Applications and cards a day")
    series = [
        (_say(language, "申领", "applied"), [row.applied for row in table.rows]),
        (_say(language, "发卡", "issued"), [row.issued for row in table.rows]),
    ]
    return _drawn("Bar", title, [_day(row) for row in table.rows], series, _sums(series))


def times(table: Statistics, language: Language) -> bytes:
    """Hours from application to card, of half and of nine tenths."""
    title = _say(language, "从申领到拿卡（小时）", "From application to card (hours)")
    series = [
        (_say(language, "一半人以内", "half within"), [_hours(row.seconds_p50) for row in table.rows]),
        (_say(language, "九成人以内", "nine tenths within"), [_hours(row.seconds_p90) for row in table.rows]),
    ]
    latest = "; ".join(
        f"{name}: {next((v for v in reversed(values) if v is not None), '-')}" for name, values in series
    )
    return _drawn("Line", title, [_day(row) for row in table.rows], series, latest)


def regions(table: Statistics, language: Language) -> bytes:
    """Issued cards of the regions that issued most."""
    title = _say(language, "各地区发卡（张）", "Cards issued by region")
    if table.by == "office":
        title = _say(language, "各机构发卡（张）", "Cards issued by office")
    rows = sorted(table.rows, key=lambda row: row.issued, reverse=True)[:_MOST_BARS]
    names = [_short(row.name_zh if language == "zh" else row.name_en) for row in rows]
    listed = "; ".join(f"{name}: {row.issued}" for name, row in zip(names, rows, strict=True))
    room = _FEWEST_BARS - len(rows)
    labels = [f"{name} {row.issued:,}" for name, row in zip(names, rows, strict=True)] + [""] * room
    values = [*(row.issued for row in rows), *[None] * room]
    series = [(_say(language, "发卡", "issued"), values[::-1])]  # drawn from the bottom up
    return _drawn("HorizontalBar", title, labels[::-1], series, listed)


def spoiled(table: Statistics, language: Language) -> bytes:
    """Spoiled cards a day."""
    title = _say(language, "每天废卡（张）", "Spoiled cards a day")
    series = [(_say(language, "废卡", "spoiled"), [row.spoiled for row in table.rows])]
    return _drawn("Bar", title, [_day(row) for row in table.rows], series, _sums(series))


CHARTS: Final[dict[ChartName, Chart]] = {
    ChartName.APPLICATIONS: Chart("day", applications),
    ChartName.TIMES: Chart("day", times),
    ChartName.REGIONS: Chart("region", regions),
    ChartName.SPOILED: Chart("day", spoiled),
}


def _say(language: Language, zh: str, en: str) -> str:
    return zh if language == "zh" else en


def _day(row: Figures) -> str:
    return row.key[5:]


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 2)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def _beyond(labels: Sequence[str]) -> float:
    """Pixels by which the widest label is wider than pygal reckons: it takes every letter for a Latin one."""
    return max(
        (sum(12.5 if letter > "\u2e80" else 7.5 for letter in text) - 7.2 * len(text) for text in labels), default=0
    )


def _sums(series: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    return "; ".join(f"{name}: {sum(value or 0 for value in values)}" for name, values in series)


def _drawn(
    kind: str,
    title: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float | None]]],
    description: str,
) -> bytes:
    return _picture(kind, title, tuple(labels), tuple((name, tuple(values)) for name, values in series), description)


@lru_cache(maxsize=_PICTURES)
def _picture(
    kind: str,
    title: str,
    labels: tuple[str, ...],
    series: tuple[tuple[str, tuple[float | None, ...]], ...],
    description: str,
) -> bytes:
    """Drawing takes longer than all the rest of a dashboard; the same numbers give the same picture."""
    import pygal
    from pygal.style import Style

    is_plain, is_lying = len(series) == 1, kind == "HorizontalBar"
    options: dict[str, Any] = {
        "width": _SIZE[0],
        "height": _SIZE[1],
        "js": [],
        "show_legend": not is_plain,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": len(series),
        "legend_box_size": 10,
        "include_x_axis": True,
        "show_y_guides": True,
        "show_minor_x_labels": False,
        "dots_size": 2.5,
        "margin": 10,
        "margin_left": 10 + (_beyond(labels) if is_lying else 0),
        "max_scale": 5,
        "no_data_text": "",
        "truncate_label": -1,
        "allow_interruptions": True,
        "value_formatter": lambda value: "" if value is None else f"{value:g}",
        "style": Style(font_family=_FONT, label_font_size=12, legend_font_size=12, value_font_size=12, colors=SERIES),
    }
    chart = getattr(pygal, kind)(**options)
    chart.x_labels = list(labels)
    if not is_lying:
        chart.x_labels_major_count = min(5, max(2, len(labels)))
    for name, values in series:
        chart.add(name, list(values))
    most = max((value or 0 for _, values in series for value in values), default=0)
    if kind == "Bar" and most <= _FEW:
        chart.y_labels = list(range(int(most) + 1)) if most else [0, 1]
    return _plain(chart.render_tree(), title, description)


# -- what the policy lets through -------------------------------------------------------------------------------------

_SHAPES: Final = frozenset({"g", "rect", "path", "circle", "text"})
_KEPT: Final = frozenset({"x", "y", "cx", "cy", "r", "d", "width", "height", "transform"})
_LEFT_OUT: Final = frozenset({"background", "tooltip", "tooltip-overlay"})


def _plain(root: Any, title: str, description: str) -> bytes:
    """The tree rebuilt from the elements and attributes named here, and nothing else."""
    ElementTree.register_namespace("", _SVG)
    attributes = {
        "viewBox": f"0 0 {_SIZE[0]} {_SIZE[1]}",
        "role": "img",
        "class": "oc-chart",
        "aria-label": f"{title}. {description}",
        "font-family": _FONT,
        "font-size": "12",
    }
    made = ElementTree.Element(f"{{{_SVG}}}svg", attributes)
    ElementTree.SubElement(made, f"{{{_SVG}}}title").text = title
    ElementTree.SubElement(made, f"{{{_SVG}}}desc").text = description
    for child in root:
        _copy(child, made, _Place())
    body: str = ElementTree.tostring(made, encoding="unicode")
    return body.encode()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the chart: which way the bars lie, the number of the series, the part: axis `x` or `y`."""

    is_lying: bool = False
    series: int | None = None
    part: str = ""

    def inside(self, classes: Sequence[str]) -> _Place:
        place = self
        for name in classes:
            kind, _, number = name.rpartition("-")
            if kind in ("serie", "color", "activate-serie") and number.isdigit():
                place = replace(place, series=int(number))
            elif name == "horizontal":
                place = replace(place, is_lying=True)
            elif name in ("x", "y") and "axis" in classes:
                place = replace(place, part=name)
            elif name == "legends":
                place = replace(place, part="")
        return place


def _copy(element: Any, parent: ElementTree.Element, place: _Place) -> None:
    tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    classes = (element.get("class") or "").split()
    if tag not in _SHAPES or not _LEFT_OUT.isdisjoint(classes):
        return
    place = place.inside([*classes, element.get("id") or ""])
    if _is_needless(tag, classes, place):
        return
    made = ElementTree.SubElement(parent, f"{{{_SVG}}}{tag}")
    attributes = {name: value for name, value in element.attrib.items() if name in _KEPT} | _paint(tag, classes, place)
    for name, value in attributes.items():
        made.set(name, value)
    if tag == "text":
        made.text = element.text
    for child in element:
        _copy(child, made, place)


def _is_needless(tag: str, classes: Sequence[str], place: _Place) -> bool:
    """Upright charts have lines across only; lying bars tell their values and need the line they begin at."""
    if place.is_lying:
        return place.part == "x" and (tag == "text" or "guide" in classes)
    return place.part == "x" and tag == "path"


def _paint(tag: str, classes: Sequence[str], place: _Place) -> dict[str, str]:
    if tag == "g":
        return {}
    if tag == "text":
        return _TEXTS[place.part]
    if place.part in ("x", "y"):
        is_guide = "guide" in classes
        return {"fill": "none", "stroke": LINE if is_guide else EDGE, "class": "grid" if is_guide else "axis"}
    number = (place.series or 0) % len(SERIES)
    colour, name = SERIES[number], f"s{number + 1}"
    if tag != "path":
        return {"fill": colour, "class": name}
    dash = {"stroke-dasharray": "6 5", "class": f"line {name} dash"} if number == 1 else {"class": f"line {name}"}
    return {"fill": "none", "stroke": colour, "stroke-width": "2.5", "stroke-linejoin": "round"} | dash


_TEXTS: Final[dict[str, dict[str, str]]] = {
    "": {"fill": INK_2},
    "x": {"fill": INK_2, "text-anchor": "middle", "class": "mid"},
    "y": {"fill": INK_2, "text-anchor": "end", "class": "end"},
}
