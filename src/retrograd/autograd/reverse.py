"""Reverse mode towards chosen tensors: cotangents that leave every `grad` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tape import set_grad_enabled, state
from ..tensor import Tensor, algebra_of, cotangent_of
from .graph import Place, Region, place, pull


def gradients(
    region: Region,
    inputs: Sequence[Place],
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    create_graph: bool,
    retain: bool,
) -> list[Tensor | None]:
    """The cotangent of each input; None where no output hangs on it."""
    algebra = algebra_of(create_graph)
    roots = [(place(y), g if create_graph else g.array) for y, g in zip(outputs, cotangents, strict=True)]
    with set_grad_enabled(create_graph):
        made = pull(region, roots, algebra, retain)
        return [_tensor(*made[p]) if p in made else None for p in inputs]


def _tensor(g: Any, ours: bool) -> Tensor:
    if isinstance(g, Tensor):
        return g
    return Tensor(g if ours else state.kernels.copy(g))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The sum of the outputs' derivatives with respect to each of the inputs, as in PyTorch. Only what leads to the
    inputs is calculated, and no `grad` changes.

    Args:
        outputs: a tensor or several, each with a history.
        inputs: a tensor or several that require grad: leaves, or what ops made.
        grad_outputs: the cotangent of each output, of its shape and dtype; None for one of one element is 1.
        retain_graph: keep what the graph saved, to walk it again; by default as create_graph.
        create_graph: record this derivative, so that it can be differentiated.
        allow_unused: give None for an input that no output hangs on, rather than an error; by default as
            materialize_grads.
        materialize_grads: give zeros for such an input.

    Returns:
        a tuple of a gradient for each input, of its shape and dtype.

    Raises:
        RuntimeError: an output or input does not require grad, an input is not used, a cotangent is missing or
            unlike its output, the graph was freed, or a tensor that it saved was changed in place.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor(3.0, requires_grad=True)
        >>> (slope,) = rg.autograd.grad(x**3, x, create_graph=True)
        >>> (curvature,) = rg.autograd.grad(slope, x)
        >>> slope.item(), curvature.item()
        (27.0, 18.0)
    """
    outputs, inputs = _listed("outputs", outputs), _listed("inputs", inputs)
    given = [None] * len(outputs) if grad_outputs is None else _listed("grad_outputs", grad_outputs)
    if len(given) != len(outputs):
        raise RuntimeError(f"autograd.grad: {len(given)} grad_outputs for {len(outputs)} outputs")
    for what, tensors in (("output", outputs), ("input", inputs)):
        for i, t in enumerate(tensors):
            if not t.requires_grad:
                raise RuntimeError(
                    f"autograd.grad: {what} {i}, of shape {t.shape}, does not require grad; set requires_grad=True on "
                    "the leaves before the forward pass, and run it outside no_grad()"
                )
    cotangents = [cotangent_of("autograd.grad", y, g) for y, g in zip(outputs, given, strict=True)]
    places = [place(x) for x in inputs]
    region = Region(places, [place(y) for y in outputs])
    retain = create_graph if retain_graph is None else retain_graph
    found = gradients(region, places, outputs, cotangents, create_graph, retain)
    for i, (x, g) in enumerate(zip(inputs, found, strict=True)):
        if g is not None:
            continue
        if materialize_grads:
            found[i] = Tensor(np.zeros(x.shape, x.dtype))
        elif not allow_unused:
            raise RuntimeError(
                f"autograd.grad: no output hangs on input {i}, of shape {x.shape}; pass allow_unused=True to get None "
                "for it, or materialize_grads=True for zeros"
            )
    return tuple(found)


def _listed(what: str, tensors: Any) -> list[Any]:
    listed = list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
    for t in listed:
        if not isinstance(t, Tensor) and (what != "grad_outputs" or not (t is None or isinstance(t, np.ndarray))):
            raise TypeError(f"autograd.grad: {what} hold a {type(t).__name__}, expected tensors")
    return listed
