"""Limits on gradients, between backward() and step()."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..ops.elementwise import abs as absolute
from ..ops.elementwise import clamp, sqrt, square
from ..ops.shape import stack
from ..tape import no_grad
from ..tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    return [g for p in listed if (g := p.grad) is not None]


def _norm(x: Tensor, order: float) -> Tensor:
    if order == 2:
        return sqrt(square(x).sum())
    if order == math.inf:
        return absolute(x).max() if x.size else x.sum()
    return (absolute(x) ** order).sum() ** (1 / order)


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together, in place, so that their norm, as of one vector, is at most max_norm.

    Args:
        parameters: whose gradients; those without one are passed over.
        max_norm: the largest norm, in the gradients' unit.
        norm_type: 2, or the order of another norm; math.inf for the largest absolute value.
        error_if_nonfinite: whether a norm that is infinite or not a number is an error.

    Returns:
        the norm before.

    Raises:
        RuntimeError: the norm is not finite and error_if_nonfinite; nothing is changed then.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0]))
        >>> w.grad = rg.tensor([5.0])
        >>> rg.nn.clip_grad_norm_([w], 1.0)
        tensor(5.)
        >>> w.grad
        tensor([1.])
    """
    gradients = _gradients(parameters)
    if not gradients:
        return Tensor(np.zeros((), np.float32))
    order = float(norm_type)
    total = _norm(stack([_norm(g, order) for g in gradients]), order)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"clip_grad_norm_: the total norm of order {norm_type} is {total.item()}, so gradients cannot be clipped; "
            "pass error_if_nonfinite=False to scale them all the same"
        )
    factor = clamp(max_norm / (total + 1e-6), max=1.0)
    for g in gradients:
        g.mul_(factor.to(g.dtype))
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit each element of the gradients to [-clip_value, clip_value], in place.

    Example:
        >>> import retrograd as rg
        >>> w = rg.nn.Parameter(rg.tensor([1.0, 2.0]))
        >>> w.grad = rg.tensor([5.0, -0.5])
        >>> rg.nn.clip_grad_value_([w], 1.0)
        >>> w.grad
        tensor([ 1. , -0.5])
    """
    for g in _gradients(parameters):
        g.clamp_(-float(clip_value), float(clip_value))
