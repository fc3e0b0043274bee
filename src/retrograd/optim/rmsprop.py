"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..tape import state as thread
from .optimizer import Optimizer, Ready, remembered


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e of Neural Networks for Machine Learning, 2012).

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the learning rate.
        alpha: how much is kept of the running mean of the squared gradient.
        eps: added to the quotient's denominator.
        weight_decay: factor of the parameter that is added to its gradient.
        momentum: the share of the velocity that is kept.
        centered: divide by the estimated standard deviation instead of the root mean square.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0]))
        >>> optimizer = rg.optim.RMSprop([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()[0] < 1.0
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        self.require(group["eps"] >= 0, "epsilon value", group["eps"])
        self.require(group["momentum"] >= 0, "momentum value", group["momentum"])
        self.require(group["weight_decay"] >= 0, "weight_decay value", group["weight_decay"])
        self.require(group["alpha"] >= 0, "alpha value", group["alpha"])

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        lr, alpha, eps, weight_decay, momentum = k.read(
            lambda: (group["lr"], group["alpha"], group["eps"], group["weight_decay"], group["momentum"]), 5
        )
        self.count(ready)
        for p, w, g in ready:
            kept = self.state[p]
            v = remembered(kept, "square_avg", w)
            velocity = remembered(kept, "momentum_buffer", w) if group["momentum"] else None
            g_mean = remembered(kept, "grad_avg", w) if group["centered"] else None
            k.rmsprop_update(w, g, v, velocity, g_mean, lr, alpha, eps, weight_decay, momentum)
