"""Training steps, eager and compiled: forward, mean squared error, backward and SGD, by case and backend."""

from __future__ import annotations

from . import BACKENDS, use_backend
from .cases import CASES
from .timing import best_in_turn
from .workload import LOOP, numpy_step, retrograd_compiled_step, retrograd_run_step, retrograd_step


class EagerStep:
    make = staticmethod(retrograd_step)
    params = (["xs", "house", "rl", "mnist", "mid"], BACKENDS)
    param_names = ("case", "backend")

    def setup(self, case, backend):
        use_backend(backend)
        self.step = self.make(CASES[case])
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


class CompiledStep(EagerStep):
    make = staticmethod(retrograd_compiled_step)


class Run:
    """Many batches in one call."""

    params = (["xs", "house", "rl", "mnist", "mid"], BACKENDS)
    param_names = ("case", "backend")

    def setup(self, case, backend):
        use_backend(backend)
        self.run = retrograd_run_step(CASES[case])
        self.run()  # here the Numba backend compiles

    def time_hundred_steps(self, case, backend):
        self.run()

    def track_speedup_over_numpy(self, case, backend):
        """How many times as fast as NumPy by hand, the two in turn."""
        seconds = best_in_turn({"retrograd": self.run, "numpy": numpy_step(CASES[case])})
        return seconds["numpy"] / seconds["retrograd"] * LOOP

    track_speedup_over_numpy.unit = "ratio"


class Arena:
    """What a compiled step needs beside its inputs and parameters."""

    params = (["xs", "house", "rl", "mnist", "mid", "matexp"],)
    param_names = ("case",)

    def track_arena_bytes(self, case):
        import retrograd as rg

        from .workload import _retrograd

        step, x, y = _retrograd(CASES[case])
        compiled = rg.compile(step)
        compiled(x, y)
        return compiled.program.arena_bytes + compiled.program.slice_bytes

    track_arena_bytes.unit = "bytes"
