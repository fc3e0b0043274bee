"""Automatic differentiation: derivatives of functions, forward and reverse, checked and customized."""

from .reverse import grad

__all__ = ["grad"]
