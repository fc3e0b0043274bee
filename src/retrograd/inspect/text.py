"""A Report as text of at most 100 columns, and as HTML for notebooks."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable
from typing import NamedTuple

from .responsibility import LayerReport, Report

WIDTH = 100
_SHORTEST_PATH = 8


class _Column(NamedTuple):
    """A column: its title, what it shows of a layer, and what the title means."""

    title: str
    show: Callable[[LayerReport], str]
    meaning: str


def _size(value: float | None) -> str:
    """A number in at most seven characters."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.1e}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" if math.isfinite(value) else str(value)


def _path(layer: LayerReport) -> str:
    return layer.path or f"({layer.kind})"


def _ending(path: str, width: int) -> str:
    """Of a path that is too long, its last characters: they tell it from others."""
    return path if len(path) <= width else "…" + path[len(path) - width + 1 :]


def _shape(layer: LayerReport) -> str:
    largest = max(layer.parameters.values(), key=len, default=())
    return "x".join(map(str, reversed(largest)))


def _off(layer: LayerReport) -> str:
    return _percent(layer.saturated if layer.dead is None else layer.dead)


COLUMNS = (
    _Column("layer", _path, "the module's path, the first layer on top"),
    _Column("shape", _shape, "inputs by outputs"),
    _Column("params", lambda layer: f"{layer.size:,}", "how many parameters"),
    _Column("signal", lambda layer: _size(layer.arriving), "the size of the gradient that arrives at the result"),
    _Column("gain", lambda layer: _size(layer.gain), "the signal that leaves over the one that arrives"),
    _Column("fault", lambda layer: _percent(layer.responsibility), "share of the sum of |θ·∂L/∂θ|"),
    _Column("grad²", lambda layer: _percent(layer.gradient_share), "share of the squared gradient norm"),
    _Column("update", lambda layer: _size(layer.update_ratio), "norm of the update over that of the weights"),
    _Column("cosine", lambda layer: _size(layer.cosine), "of the gradient with the previous step's"),
    _Column("off", _off, "units that are dead or saturated"),
    _Column("verdict", lambda layer: layer.verdict, ""),
)
_BETWEEN = "  "
_LEFT = ("layer", "shape", "verdict")


def heading(report: Report) -> str:
    """The verdict in a line."""
    facts = [f"verdict: {report.verdict}"]
    if report.depth is not None:
        total = len(report.layers)
        facts.append(f"{report.share:.3g} of the signal at the loss reaches {report.depth} of {total} layers")
    if report.step is not None:
        facts.append(f"step {report.step}")
    if report.rows is not None:
        facts.append("rows " + ", ".join(map(str, report.rows[:8])) + (" …" if len(report.rows) > 8 else ""))
    return "; ".join(facts)


def as_text(report: Report) -> str:
    """The table, under its verdict and over what the columns mean and what usually helps."""
    table = [[column.title for column in COLUMNS]]
    table += [[column.show(layer) for column in COLUMNS] for layer in report.layers]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    room = WIDTH - len(_BETWEEN) * (len(COLUMNS) - 1) - sum(widths[1:])
    widths[0] = min(widths[0], max(room, _SHORTEST_PATH))
    for row in table:
        row[0] = _ending(row[0], widths[0])
    lines = [heading(report), ""]
    for row in table:
        cells = [
            cell.ljust(width) if column.title in _LEFT else cell.rjust(width)
            for cell, width, column in zip(row, widths, COLUMNS, strict=True)
        ]
        lines.append(_BETWEEN.join(cells).rstrip())
    meanings = "; ".join(f"{column.title}: {column.meaning}" for column in COLUMNS if column.meaning)
    notes = [meanings + ".", report.advice, *_units(report)]
    return "\n".join([*lines, "", *(textwrap.fill(note, WIDTH) for note in notes)])


def _units(report: Report) -> list[str]:
    """Of a report on rows: how much of the batch's responsibility is theirs, and where their error is sent."""
    if report.rows is None:
        return []
    part, gradient_part = (sum(getattr(layer, name) for layer in report.layers) for name in ("part", "gradient_part"))
    against = "; below zero, they pull against it" if min(part, gradient_part) < 0 else ""
    notes = [f"These rows have {part:.2%} of the batch's fault and {gradient_part:.2%} of its grad²{against}."]
    for layer in reversed(report.layers):
        units = ", ".join(f"{unit} ({share:.0%})" for unit, share in layer.worst_units())
        if units:
            notes.append(f"{_path(layer)}: the largest parts of the signal go to units {units}.")
    return notes


_COLOURS = {"healthy": "#1A80C4", "frozen": "#777777"}
"""Every other verdict has Okabe and Ito's vermilion. Each has a contrast of 3.8 or more to white and to black."""


def as_html(report: Report) -> str:
    """The same table; a bar stands for each share. It has no background of its own."""
    titles = "".join(
        f'<th style="text-align:{_align(c)}" title="{html.escape(c.meaning)}">{html.escape(c.title)}</th>'
        for c in COLUMNS
    )
    body = "".join("<tr>" + "".join(_cell(c, layer) for c in COLUMNS) + "</tr>" for layer in report.layers)
    notes = "".join(f"<div>{html.escape(note)}</div>" for note in [report.advice, *_units(report)])
    return (
        f"<div><strong>{html.escape(heading(report))}</strong>"
        f'<table style="color:inherit"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>{notes}</div>'
    )


def _align(column: _Column) -> str:
    return "left" if column.title in _LEFT else "right"


def _cell(column: _Column, layer: LayerReport) -> str:
    style = f"text-align:{_align(column)}"
    share = {"fault": layer.responsibility, "grad²": layer.gradient_share}.get(column.title)
    if share is not None and math.isfinite(share):
        style += f";background:linear-gradient(to left,#56B4E966 {share:.0%},transparent {share:.0%})"
    if column.title == "verdict":
        style += f";color:{_COLOURS.get(layer.verdict, '#D55E00')};font-weight:bold"
    return f'<td style="{style}">{html.escape(column.show(layer))}</td>'
