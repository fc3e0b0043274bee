"""The verdict on a layer and on a network, in words; the thresholds below say where they come from.

Glorot and Bengio (2010, section 4.2.1) ask that the signal keep its size from layer to layer, a gain of one: what the
gains multiply up to over the depth decides whether the first layers learn at the pace of the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

HEALTHY, FROZEN, VANISHING, SATURATED, DEAD, EXPLODING = VERDICTS = (
    "healthy",
    "frozen",
    "vanishing",
    "saturated",
    "dead",
    "exploding",
)
"""From the best to the worst."""

VANISHED = 1e-3
"""Of the signal at the loss, what must arrive: with one learning rate for all, a layer that gets less learns a thousand
times more slowly than the last. He et al. (2015, section 2.2) saw a network of ten convolutions train badly whose first
layers got 1/(1.7e4), and one of thirty layers stall."""
EXPLODED = 1e3
"""How many times as large as at the loss the signal may be; the same the other way round (Pascanu, Mikolov and Bengio
2013, section 2)."""
OVERTURNED = 1.0
"""The ratio of the update to the weights at which nothing is left of these; Stanford's CS231n notes call 1e-3 usual."""
DEAD_SHARE = 0.6
"""Of a layer's ReLUs, how many may be active on no row. CS231n's notes name 40 % as the sign of a learning rate that is
too high; narrow networks of thirty layers with He's initialization have up to half of them from the start, and learn.
A layer without any left cuts the signal off (Lu, Shin, Su and Karniadakis 2020)."""
SATURATED_SHARE = 0.6
"""The same for units that have lost their slope (Glorot and Bengio 2010, section 3)."""
SATURATED_SLOPE = 0.05
"""A unit is saturated whose slope, on the mean of the rows, is below this share of the activation's greatest."""

ADVICE = {
    HEALTHY: "The signal reaches every layer that learns.",
    FROZEN: "Nothing here learns: check requires_grad, detach(), and that the optimizer was given the parameters.",
    VANISHING: "Initialize so that the signal keeps its size (nn.init.kaiming_*_ for ReLU, xavier_*_ for tanh), take "
    "ReLU-like activations instead of sigmoids, add skip connections, or use fewer layers.",
    SATURATED: "Draw smaller initial weights (nn.init.xavier_*_), scale the inputs to unit variance, lower the "
    "learning rate, or take an activation that does not flatten.",
    DEAD: "Lower the learning rate, start with smaller biases, or take an activation with a slope below zero "
    "(leaky_relu, gelu, silu).",
    EXPLODING: "Lower the learning rate, clip the gradients (nn.clip_grad_norm_), or draw smaller initial "
    "weights (nn.init.kaiming_*_).",
}
"""What usually helps."""


def of_layer(
    signal: float | None,
    at_loss: float | None,
    gradient: float | None,
    update: float | None,
    dead: float | None,
    saturated: float | None,
) -> str:
    """The verdict on a layer.

    Args:
        signal: what arrives at the layer, or None where that was not measured; at_loss: what arrives at the last one.
        gradient: the norm of its parameters' gradient; None where it has none.
        update: the ratio of the update to the weights.
        dead, saturated: the shares of its units that are so.
    """
    known = [x for x in (signal, gradient, update) if x is not None]
    ratio = signal / at_loss if signal is not None and at_loss else None
    if not all(map(math.isfinite, known)) or (ratio or 0) > EXPLODED or (update or 0) >= OVERTURNED:
        return EXPLODING
    if (dead or 0) >= DEAD_SHARE:
        return DEAD
    if (saturated or 0) >= SATURATED_SHARE:
        return SATURATED
    if gradient is None:
        return FROZEN
    if ratio is not None and ratio < VANISHED:
        return VANISHING
    return FROZEN if gradient == 0 else HEALTHY


def of_network(verdicts: Sequence[str]) -> str:
    """The worst of the layers' verdicts; frozen only where all of them are, for that can be a choice."""
    found = [v for v in verdicts if v != FROZEN]
    return max(found, key=VERDICTS.index) if found else FROZEN


def depth(signals: Sequence[float | None], share: float) -> int | None:
    """How many layers back from the loss the signal stays at or above a share of its strength there.

    Args:
        signals: what arrives at each layer, in the order of the forward pass.

    Returns:
        a number from 0 (nothing arrived at all) to the number of layers; None where signals were not measured.

    Example:
        >>> depth([0.001, 0.2, 0.5, 1.0], 0.1)
        3
    """
    if not signals or signals[-1] is None:
        return None
    reached = 0
    for signal in reversed(signals):
        if signal is None or not signal >= share * signals[-1] or signal == 0:
            break
        reached += 1
    return reached
