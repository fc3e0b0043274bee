"""Whose fault is it: what a backward pass says about a model, and pictures of it and of the graph."""

from . import figures
from .depth import Stop, Thaw, stop_at
from .drawing import Drawing, draw
from .events import write_events
from .history import Watch, watch
from .responsibility import LayerReport, Report
from .sweep import report

__all__ = [
    "Drawing",
    "LayerReport",
    "Report",
    "Stop",
    "Thaw",
    "Watch",
    "draw",
    "figures",
    "report",
    "stop_at",
    "watch",
    "write_events",
]
