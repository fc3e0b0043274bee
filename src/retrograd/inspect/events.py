"""A watched run as TensorBoard event files, by the `tensorboard` package (the extra retrograd[tensorboard])."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.spec import Array
from .history import Watch
from .responsibility import LayerReport

SCALARS = (
    *("arriving", "leaving", "gain", "responsibility", "gradient_share", "gradient_norm", "weight_norm"),
    *("update_ratio", "cosine", "dead", "saturated"),
)
"""What is written of each layer, under `measure/layer`."""


def write_events(watch: Watch, directory: str | Path) -> None:
    """Write each measured step's numbers, and its histograms where they were kept; `tensorboard --logdir` shows them.

    Args:
        watch: a run that was watched.
        directory: where the event file goes; made if it is missing.

    Raises:
        TypeError: watch is no Watch. ImportError: the tensorboard package is not installed.

    Example:
        >>> import retrograd as rg
        >>> model = rg.nn.Linear(4, 1)
        >>> with rg.inspect.watch(model) as watch:
        ...     model(rg.ones(3, 4)).square().mean().backward()
        >>> rg.inspect.write_events(watch, "runs/1")      # doctest: +SKIP
    """
    if not isinstance(watch, Watch):
        raise TypeError(f"write_events: got a {type(watch).__name__}, expected what watch() returned")
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise ImportError("inspect: event files need tensorboard; pip install 'retrograd[tensorboard]'") from None
    writer = EventFileWriter(str(directory))
    try:
        for report in watch.reports:
            values = [Summary.Value(tag="depth", simple_value=report.depth)] if report.depth is not None else []
            for layer in report.layers:
                values += [Summary.Value(tag=tag, simple_value=number) for tag, number in _scalars(layer)]
                values += [Summary.Value(tag=tag, histo=_histogram(array)) for tag, array in _arrays(layer)]
            writer.add_event(Event(wall_time=time.time(), step=report.step, summary=Summary(value=values)))
    finally:
        writer.close()


def _scalars(layer: LayerReport) -> list[tuple[str, float]]:
    found = [(f"{measure}/{layer.path or layer.kind}", getattr(layer, measure)) for measure in SCALARS]
    return [(tag, number) for tag, number in found if number is not None and math.isfinite(number)]


def _arrays(layer: LayerReport) -> list[tuple[str, Array]]:
    found = [(f"{kind}/{layer.path or layer.kind}", getattr(layer, kind)) for kind in ("activations", "signals")]
    finite = [(tag, array[np.isfinite(array)]) for tag, array in found if array is not None]
    return [(tag, array) for tag, array in finite if array.size]


def _histogram(values: Array) -> Any:
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    counts, edges = np.histogram(values, bins=30)
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )
