"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..tape import state as thread
from .optimizer import Optimizer, Ready, remembered


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller and Braun, IEEE International Conference on Neural Networks 1993): each
    weight has a step of its own, which grows while its gradient keeps its sign and shrinks when that turns. For whole
    batches: only the signs of gradients count.

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the first step.
        etas: by how much a step shrinks, below 1, and grows, above 1.
        step_sizes: the smallest and the largest step.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0, 100.0]))
        >>> optimizer = rg.optim.Rprop([w], lr=0.25)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.75, 99.75]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        less, more = group["etas"]
        self.require(0 < less < 1 < more, "eta values", f"{less}, {more}")

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        k.guard(lambda: group["etas"])
        smallest, largest = k.read(lambda: group["step_sizes"], 2)
        self.count(ready)
        for p, w, g in ready:
            before, step = remembered(self.state[p], "prev", w), remembered(self.state[p], "step_size", w, group["lr"])
            less, more, one, zero = (np.asarray(n, w.dtype) for n in (*group["etas"], 1.0, 0.0))
            kept = k.multiply(g, before)
            turned = k.less(kept, zero)
            factor = k.where(turned, less, k.where(k.greater(kept, zero), more, one))
            k.assign(step, k.clamp(k.multiply(step, factor), smallest, largest))
            k.assign(before, k.where(turned, zero, g))
            k.sgd_update(w, k.multiply(k.sign(before), step), None, 1.0)
