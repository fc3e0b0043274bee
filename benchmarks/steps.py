"""Eager training steps: forward, mean squared error, backward and SGD, by case and backend."""

from __future__ import annotations

from . import BACKENDS, use_backend
from .cases import CASES
from .timing import best_in_turn
from .workload import numpy_step, retrograd_step


class EagerStep:
    params = (["xs", "house", "rl", "mnist", "mid"], BACKENDS)
    param_names = ("case", "backend")

    def setup(self, case, backend):
        use_backend(backend)
        self.step = retrograd_step(CASES[case])
        self.step()  # here the Numba backend compiles

    def time_step(self, case, backend):
        self.step()

    def track_speedup_over_numpy(self, case, backend):
        """How many times as fast as NumPy by hand, the two in turn. More is better, which asv's graphs do not know."""
        seconds = best_in_turn({"retrograd": self.step, "numpy": numpy_step(CASES[case])})
        return seconds["numpy"] / seconds["retrograd"]

    track_speedup_over_numpy.unit = "ratio"

    def peakmem_steps(self, case, backend):
        for _ in range(10):
            self.step()
