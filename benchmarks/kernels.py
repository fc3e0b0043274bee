"""Each kernel as people call it, on float32 NumPy arrays, by backend and size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import BACKENDS, use_backend
from .timing import best_in_turn

LAYERS = [(32, 32, 32), (64, 784, 128), (128, 512, 512), (512, 1024, 2048)]
"""(rows, in_features, out_features) of dense layers."""

ROWS = [(64, 10), (1024, 1000)]
"""(rows, columns) of what is worked on row by row."""

COUNTS = [1_000, 1_000_000]
"""Elements of a parameter."""


class _Kernel:
    """A kernel by backend and size; `bind` returns it with its operands made."""

    param_names = ("backend", "size", "activation")

    def bind(self, kernels: Any, draw: Callable[..., np.ndarray], size: Any, *rest: str) -> Callable[[], Any]:
        raise NotImplementedError

    def setup(self, backend: str, size: Any, *rest: str) -> None:
        import retrograd as rg

        use_backend(backend)
        generator = np.random.default_rng(0)
        self.run = self.bind(rg.kernels, lambda *shape: generator.standard_normal(shape, np.float32), size, *rest)
        self.run()  # here the Numba backend compiles

    def time_kernel(self, *params: Any) -> None:
        self.run()


class _Product(_Kernel):
    """A kernel whose work is `flops` operations of matrix products, which `numpy` makes bare; `bind` sets both."""

    flops: int
    numpy: Callable[[], Any]

    def track_share_of_peak(self, backend, size):
        """Of the multiply-adds that all threads could make in registers, measured before and after."""
        import retrograd as rg
        from retrograd.backends.c import peak

        before = peak.flops(np.float32, rg.get_num_threads())
        seconds = best_in_turn({"retrograd": self.run})["retrograd"]
        return self.flops / seconds / max(before, peak.flops(np.float32, rg.get_num_threads()))

    track_share_of_peak.unit = "ratio"

    def track_speedup_over_numpy(self, backend, size):
        """How many times as fast as numpy.matmul makes the bare products, the two in turn.

        More is better, which asv's graphs do not know."""
        seconds = best_in_turn({"retrograd": self.run, "numpy": self.numpy})
        return seconds["numpy"] / seconds["retrograd"]

    track_speedup_over_numpy.unit = "ratio"


class Product(_Product):
    """A bare product of float32 matrices."""

    params = (BACKENDS, [(1, 1, 1), (64, 64, 64), (512, 512, 512), (1024, 1024, 1024), (1, 2048, 2048)])

    def bind(self, kernels, draw, size):
        m, n, k = size
        a, b = draw(m, k), draw(k, n)
        self.flops = 2 * m * n * k
        self.numpy = lambda: np.matmul(a, b)
        return lambda: kernels.matmul(a, b)


class LinearForward(_Product):
    params = (BACKENDS, LAYERS)

    def bind(self, kernels, draw, size):
        rows, n_in, n_out = size
        x, w, b = draw(rows, n_in), draw(n_out, n_in), draw(n_out)
        self.flops = 2 * rows * n_in * n_out
        self.numpy = lambda: np.matmul(x, w.T)
        return lambda: kernels.linear_forward(x, w, b, "relu")


class LinearBackward(_Product):
    params = (BACKENDS, LAYERS)

    def bind(self, kernels, draw, size):
        rows, n_in, n_out = size
        self.flops = 4 * rows * n_in * n_out
        g, x, w, y = draw(rows, n_out), draw(rows, n_in), draw(n_out, n_in), draw(rows, n_out)
        self.numpy = lambda: (np.matmul(g, w), np.matmul(g.T, x))
        return lambda: kernels.linear_backward(g, x, w, y, "relu")


class Activation(_Kernel):
    params = (BACKENDS, COUNTS, ["relu", "tanh", "sigmoid", "gelu"])

    def bind(self, kernels, draw, size, activation):
        x = draw(size)
        return lambda: kernels.activation_forward(x, activation)


class Softmax(_Kernel):
    params = (BACKENDS, ROWS)

    def bind(self, kernels, draw, size):
        x = draw(*size)
        return lambda: kernels.softmax(x, 1)


class MSELoss(_Kernel):
    params = (BACKENDS, ROWS)

    def bind(self, kernels, draw, size):
        x, target = draw(*size), draw(*size)
        return lambda: kernels.mse_loss(x, target)


class CrossEntropyLoss(_Kernel):
    params = (BACKENDS, ROWS)

    def bind(self, kernels, draw, size):
        x, target = draw(*size), np.arange(size[0]) % size[1]
        return lambda: kernels.cross_entropy_loss(x, target)


class SGDUpdate(_Kernel):
    params = (BACKENDS, COUNTS)

    def bind(self, kernels, draw, size):
        p, g, velocity = draw(size), draw(size), draw(size)
        return lambda: kernels.sgd_update(p, g, velocity, lr=1e-3, momentum=0.9)


class AdamUpdate(_Kernel):
    params = (BACKENDS, COUNTS)

    def bind(self, kernels, draw, size):
        p, g, m, v = draw(size), draw(size), draw(size), np.square(draw(size))
        return lambda: kernels.adam_update(p, g, m, v, lr=1e-3, step=100)
