"""Automatic differentiation: derivatives of functions, forward and reverse, checked and customized."""

from . import forward_ad
from .anomaly import detect_anomaly
from .function import Function
from .reverse import grad

__all__ = ["Function", "detect_anomaly", "forward_ad", "grad"]
