"""NAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..tape import state as thread
from .adam import Moments
from .optimizer import Ready, decay, remembered


class NAdam(Moments):
    """NAdam (Dozat, Incorporating Nesterov Momentum into Adam, ICLR workshop 2016): Adam that looks a step ahead, with
    a momentum that grows from half of betas[0] to all of it.

    Args:
        params: tensors, or dicts of parameter groups.
        lr: the learning rate.
        betas: how much is kept of the running means of the gradient and of its square.
        eps: added to the quotient's denominator.
        weight_decay: factor of the parameter that is added to its gradient.
        momentum_decay: how fast the momentum grows: it is betas[0] * (1 - 0.96**(step * momentum_decay) / 2).
        decoupled_weight_decay: shrink the parameter by lr * weight_decay instead, as AdamW does.
        maximize: go up instead of down.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0]))
        >>> optimizer = rg.optim.NAdam([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()[0] < 1.0
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        self.require(group["momentum_decay"] >= 0, "momentum_decay value", group["momentum_decay"])

    def update(self, group: Mapping[str, Any], ready: Ready) -> None:
        k = thread.kernels
        beta1, beta2, weight_decay = k.read(lambda: (*group["betas"], group["weight_decay"]), 3)
        self.count(ready)
        states = [self.state[p] for p, _, _ in ready]
        numbers = iter(k.host(lambda: [n for each in states for n in _rates(group, each)], 3 * len(states)))
        if group["decoupled_weight_decay"]:
            decay(group, ready)
            weight_decay = 0.0
        for (_, w, g), kept in zip(ready, states, strict=True):
            m, v = remembered(kept, "exp_avg", w), remembered(kept, "exp_avg_sq", w)
            of_gradient, of_mean, eps = next(numbers), next(numbers), next(numbers)
            k.adam_update(w, g, m, v, None, 0.0, beta1, beta2, 1.0, weight_decay)  # at a rate of 0: the means alone
            k.rmsprop_update(w, g, v, None, None, of_gradient, 1.0, eps, weight_decay)  # alpha 1 keeps v
            k.rmsprop_update(w, m, v, None, None, of_mean, 1.0, eps)


def _rates(group: Mapping[str, Any], kept: dict[str, Any]) -> tuple[float, float, float]:
    """The rates of g / (sqrt(v) + eps) and of m / (sqrt(v) + eps), and that eps; counts the product of the momenta."""
    lr, (beta1, beta2), step = group["lr"], group["betas"], kept["step"]
    momentum, ahead = (beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
    product = kept["mu_product"] = kept.get("mu_product", 1.0) * momentum
    root = math.sqrt(1 - beta2**step)
    return lr * root * (1 - momentum) / (1 - product), lr * root * ahead / (1 - product * ahead), group["eps"] * root
