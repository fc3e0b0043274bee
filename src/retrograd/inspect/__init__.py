"""Whose fault is it: what a backward pass says about a model, and pictures of it and of the graph."""

from .depth import Stop, Thaw, stop_at
from .history import Watch, watch
from .responsibility import LayerReport, Report
from .sweep import report

__all__ = ["LayerReport", "Report", "Stop", "Thaw", "Watch", "report", "stop_at", "watch"]
