"""What PyTorch keeps under this name: limits on gradients, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from ..ops.shape import concatenate, reshape
from ..tape import no_grad
from ..tensor import Tensor
from .clip import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The parameters' elements, one parameter after the other, as one vector; gradients flow through."""
    return concatenate([reshape(p, -1) for p in parameters])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector, in the order of parameters_to_vector(), into the parameters.

    Raises:
        ValueError: it has more or fewer elements than they have; nothing is changed then.
    """
    parameters = list(parameters)
    count = sum(p.size for p in parameters)
    if vec.shape != (count,):
        raise ValueError(f"vector_to_parameters: vec has shape {vec.shape}, expected ({count},)")
    begin = 0
    for p in parameters:
        p.copy_(reshape(vec[begin : begin + p.size], p.shape))
        begin += p.size
