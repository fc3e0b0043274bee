"""Figures of reports and watched runs, by matplotlib (the extra retrograd[inspect]).

Each function returns a matplotlib Figure, for savefig() or a notebook. Backgrounds are transparent, and lines and text
of a grey that shows on white and on black. So do the colours, Okabe and Ito's blue and vermilion and, in maps, viridis;
any eye tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .history import Watch
from .responsibility import LayerReport, Report

_GREY = "#7A7A7A"
_BLUE, _VERMILION = "#0072B2", "#D55E00"
_MOST_LABELS, _MOST_STEPS, _MOST_LINES = 24, 11, 8


def responsibility(report: Report) -> Any:
    """Bars: each layer's share of the first-order contributions, and of the squared gradient norm.

    Raises:
        TypeError: it is no Report. ImportError: matplotlib is not installed.

    Example:
        >>> import retrograd as rg
        >>> model = rg.nn.Sequential(rg.nn.Linear(4, 8), rg.nn.ReLU(), rg.nn.Linear(8, 1))
        >>> report = rg.inspect.report(model, model(rg.randn(16, 4)).square().mean())
        >>> figure = rg.inspect.figures.responsibility(report)
        >>> figure.savefig("responsibility.png")         # doctest: +SKIP
    """
    layers = _report("responsibility", report).layers
    figure, axes = _figure(6.4, 1.4 + 0.3 * min(len(layers), 16))
    y = np.arange(len(layers))
    for shift, shares, colour, label in (
        (-0.2, [layer.responsibility for layer in layers], _BLUE, "|θ·∂L/∂θ|"),
        (0.2, [layer.gradient_share for layer in layers], _VERMILION, "squared gradient norm"),
    ):
        axes.barh(y + shift, np.multiply(_finite(shares), 100), height=0.4, color=colour, label=label)
    _label_layers(axes.yaxis, layers)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(left=0)
    if not any(np.isfinite(layer.responsibility) for layer in layers):
        _note(axes, "the gradients are not finite")
    axes.set_ylabel("layer")
    axes.set_xlabel("share of responsibility, %")
    axes.set_title(_title(report), loc="left", fontsize=10, color=_GREY)
    _legend(axes, title="share of")
    return figure


def signal(watch: Watch | Sequence[Report]) -> Any:
    """Lines: the size of the signal that arrives at each layer, on a logarithmic scale, one line a step.

    Raises:
        TypeError: watch is neither a Watch nor some Reports. ValueError: no step with its signals was measured.

    Example:
        >>> import retrograd as rg
        >>> model = rg.nn.Sequential(rg.nn.Linear(4, 8), rg.nn.ReLU(), rg.nn.Linear(8, 1))
        >>> with rg.inspect.watch(model, every=1) as watch:
        ...     for _ in range(3):
        ...         model(rg.randn(16, 4)).square().mean().backward()
        >>> figure = rg.inspect.figures.signal(watch)
        >>> figure.savefig("signal.png")         # doctest: +SKIP
    """
    reports = _signals("signal", watch)
    layers = reports[-1].layers
    figure, axes = _figure(6.4, 3.6)
    even = range(0, len(reports), _spacing(len(reports), _MOST_LINES))
    chosen = [reports[i] for i in sorted({*even, len(reports) - 1})]
    colours = _gradation(len(chosen))
    for report, colour in zip(chosen, colours, strict=True):
        values = _positive([layer.arriving for layer in report.layers])
        if not np.isfinite(values).any():
            continue
        axes.plot(range(len(values)), values, marker="o", markersize=3, color=colour, label=str(report.step))
    _whole_decades(axes, [layer.arriving for report in chosen for layer in report.layers])
    _label_layers(axes.xaxis, layers)
    axes.set_xlabel("layer, the loss on the right")
    axes.set_ylabel("signal")
    axes.set_title(_title(reports[-1]), loc="left", fontsize=10, color=_GREY)
    _legend(axes, title="step")
    return figure


def heat_map(watch: Watch | Sequence[Report]) -> Any:
    """A map: the size of the signal at each layer and measured step, on a logarithmic scale; grey where there is
    none, or where it is not finite.

    Raises:
        TypeError: watch is neither a Watch nor some Reports. ValueError: no step with its signals was measured.

    Example:
        >>> import retrograd as rg
        >>> model = rg.nn.Sequential(rg.nn.Linear(4, 8), rg.nn.ReLU(), rg.nn.Linear(8, 1))
        >>> with rg.inspect.watch(model, every=1) as watch:
        ...     for _ in range(3):
        ...         model(rg.randn(16, 4)).square().mean().backward()
        >>> figure = rg.inspect.figures.heat_map(watch)
        >>> figure.savefig("heat_map.png")         # doctest: +SKIP
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    reports = _signals("heat_map", watch)
    layers = reports[-1].layers
    values = np.array([_positive([layer.arriving for layer in report.layers]) for report in reports]).T
    figure, axes = _figure(6.4, 1.4 + 0.24 * min(len(layers), 20))
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.1, 1.0)
    norm = LogNorm(low, high if high > low else low * 10)
    colours = colormaps["viridis"].with_extremes(bad="#b0b0b0")
    image = axes.imshow(values, aspect="auto", norm=norm, cmap=colours, interpolation="nearest")
    _label_layers(axes.yaxis, layers)
    ticks = range(0, len(reports), _spacing(len(reports), _MOST_STEPS))
    axes.set_xticks(ticks, [str(reports[i].step) for i in ticks])
    axes.set_xlabel("step; grey where the signal is zero or not finite" if known.size < values.size else "step")
    axes.set_ylabel("layer")
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("signal", color=_GREY)
    bar.ax.tick_params(colors=_GREY, labelsize=8, which="both")
    bar.outline.set_edgecolor(_GREY)
    axes.set_title(_title(reports[-1]), loc="left", fontsize=10, color=_GREY)
    return figure


def histograms(report: Report) -> Any:
    """For each layer, how its activations and the signals that arrived are distributed.

    Raises:
        TypeError: it is no Report. ValueError: the report kept none: ask report() or watch() for histograms=True.

    Example:
        >>> import retrograd as rg
        >>> model = rg.nn.Sequential(rg.nn.Linear(4, 8), rg.nn.ReLU(), rg.nn.Linear(8, 1))
        >>> loss = model(rg.randn(16, 4)).square().mean()
        >>> figure = rg.inspect.figures.histograms(rg.inspect.report(model, loss, histograms=True))
        >>> figure.savefig("histograms.png")         # doctest: +SKIP
    """
    layers = [layer for layer in _report("histograms", report).layers if layer.signals is not None]
    if not layers:
        raise ValueError("histograms: this report kept no values; ask report() or watch() for histograms=True")
    figure, grid = _figure(6.4, 0.6 + 1.3 * len(layers), rows=len(layers), columns=2)
    for row, layer in zip(grid, layers, strict=True):
        for axes, values, colour in ((row[0], layer.activations, _BLUE), (row[1], layer.signals, _VERMILION)):
            if values is None:
                axes.set(xticks=[], yticks=[])
                _note(axes, "not on the tape")
            else:
                axes.hist(values[np.isfinite(values)], bins=40, color=colour)
                axes.locator_params(axis="x", nbins=4)
                axes.xaxis.get_offset_text().set_fontsize(8)
                _logarithmic(axes)
                axes.set_ylim(bottom=0.7)  # a single value shows
        row[0].set_ylabel(_name(layer), color=_GREY)
    for axes, title in zip(grid[0], ("activations", "signals that arrive"), strict=True):
        axes.set_title(title, fontsize=10, color=_GREY)
    return figure


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("inspect: figures need matplotlib; pip install 'retrograd[inspect]'") from None
    figure = Figure((width, height), dpi=120, layout="constrained", facecolor="none")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_facecolor("none")
        axes.tick_params(colors=_GREY, labelsize=8, which="both")
        for spine in axes.spines.values():
            spine.set_edgecolor(_GREY)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(_GREY)
    return figure, grid if rows * columns > 1 else grid[0][0]


def _legend(axes: Any, title: str) -> None:
    legend = axes.legend(
        title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, labelcolor=_GREY
    )
    legend.get_title().set(color=_GREY, fontsize=8)


def _note(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", color=_GREY, transform=axes.transAxes)


def _logarithmic(axes: Any) -> None:
    """A logarithmic y axis with labels at whole powers of ten alone."""
    from matplotlib.ticker import NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _whole_decades(axes: Any, values: Sequence[float | None]) -> None:
    """A logarithmic y axis from one power of ten to another."""
    _logarithmic(axes)
    known = [v for v in _positive(values) if np.isfinite(v)]
    if known:
        low, high = np.floor(np.log10(min(known))), np.ceil(np.log10(max(known)))
        axes.set_ylim(10.0**low, 10.0 ** max(high, low + 1))


def _label_layers(axis: Any, layers: Sequence[LayerReport]) -> None:
    places = range(0, len(layers), _spacing(len(layers), _MOST_LABELS))
    names = [_name(layers[i]) for i in places]
    turned = axis.axis_name == "x" and max(map(len, names)) * len(names) > 60
    axis.set_ticks(places, names, rotation=90 if turned else 0)


def _spacing(count: int, most: int) -> int:
    """From one to the next, where at most so many of them are shown, evenly."""
    return -(-count // most)


def _name(layer: LayerReport) -> str:
    return layer.path or layer.kind


def _title(report: Report) -> str:
    return report.verdict if report.step is None else f"{report.verdict}, at step {report.step}"


def _report(name: str, report: Report) -> Report:
    if not isinstance(report, Report):
        raise TypeError(f"{name}: got a {type(report).__name__}, expected a Report, such as watch.report()")
    return report


def _signals(name: str, watch: Watch | Sequence[Report]) -> Sequence[Report]:
    """The reports that know the signal."""
    reports = watch.reports if isinstance(watch, Watch) else watch
    if not isinstance(reports, Sequence) or not all(isinstance(report, Report) for report in reports):
        raise TypeError(f"{name}: got a {type(watch).__name__}, expected what watch() returned, or a list of Reports")
    known = [report for report in reports if any(layer.arriving is not None for layer in report.layers)]
    if not known:
        raise ValueError(f"{name}: no step with its signals was measured; run a training inside watch()")
    return known


def _finite(values: Sequence[float]) -> list[float]:
    return [value if np.isfinite(value) else 0.0 for value in values]


def _positive(values: Sequence[float | None]) -> list[float]:
    return [value if value and np.isfinite(value) else np.nan for value in values]


def _gradation(count: int) -> list[Any]:
    """Colours from early to late, none of them too dark or too bright for either background."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("early to late", [_BLUE, _VERMILION])
    return [colours(x) for x in np.linspace(0, 1, count)]
