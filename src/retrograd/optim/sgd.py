"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..tape import state as thread
from .optimizer import Optimizer, Ready, remembered


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al. 2013) if asked for.

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the learning rate.
        momentum: the share of the velocity that is kept.
        dampening: the share of the gradient that the velocity does without.
        weight_decay: factor of the parameter that is added to its gradient.
        nesterov: look ahead along the velocity; needs a momentum and no dampening.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> from retrograd import optim
        >>> w = rg.tensor([1.0], requires_grad=True)
        >>> optimizer = optim.SGD([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w
        tensor([0.8], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        self.require(group["lr"] >= 0, "learning rate", group["lr"])
        self.require(group["momentum"] >= 0, "momentum value", group["momentum"])
        self.require(group["weight_decay"] >= 0, "weight_decay value", group["weight_decay"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: Nesterov momentum requires a momentum and zero dampening")

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        lr, momentum, dampening, weight_decay = k.read(
            lambda: (group["lr"], group["momentum"], group["dampening"], group["weight_decay"]), 4
        )
        velocity, first, nesterov = None, False, group["nesterov"]
        for p, w, g in ready:
            if group["momentum"]:
                kept = self.state[p]
                first = "momentum_buffer" not in kept
                k.guard(lambda kept=kept: "momentum_buffer" in kept)
                velocity = remembered(kept, "momentum_buffer", w)
            k.sgd_update(w, g, velocity, lr, momentum, dampening, weight_decay, nesterov, first)
