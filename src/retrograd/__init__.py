"""retrograd: a backpropagation engine for CPUs."""

from . import backends, kernels
