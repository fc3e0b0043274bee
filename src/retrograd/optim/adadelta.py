"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..tape import state as thread
from .optimizer import Optimizer, Ready, remembered


class Adadelta(Optimizer):
    """Adadelta (Zeiler, arXiv:1212.5701): each weight's gradient in units of its root mean square, times the root mean
    square of the weight's own changes, so that no learning rate needs to be found.

    Args:
        params: tensors, or dicts of parameter groups.
        lr: factor of the change.
        rho: how much is kept of the running means of the squared gradient and of the squared change.
        eps: added to both of them, in their roots.
        weight_decay: factor of the parameter that is added to its gradient.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0]))
        >>> optimizer = rg.optim.Adadelta([w])
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> round(w.item(), 4)
        0.9968
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        self.require(0 <= group["rho"] <= 1, "rho value", group["rho"])
        self.require(group["eps"] >= 0, "epsilon value", group["eps"])
        self.require(group["weight_decay"] >= 0, "weight_decay value", group["weight_decay"])

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        k.guard(lambda: group["eps"])
        lr, rho, back = k.read(lambda: (group["lr"], group["rho"], -group["weight_decay"]), 3)
        self.count(ready)
        for p, w, g in ready:
            v, u = (remembered(self.state[p], name, w) for name in ("square_avg", "acc_delta"))
            eps = np.asarray(group["eps"], w.dtype)
            if group["weight_decay"]:
                g = k.copy(g)
                k.sgd_update(g, w, None, back)
            k.rmsprop_update(w, g, v, None, None, 0.0, rho, 1.0)  # at a rate of 0: the running mean alone
            d = k.multiply(k.divide(k.sqrt(k.add(u, eps)), k.sqrt(k.add(v, eps))), g)
            k.rmsprop_update(w, d, u, None, None, 0.0, rho, 1.0)
            k.sgd_update(w, d, None, lr)
