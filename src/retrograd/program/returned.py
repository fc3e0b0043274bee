"""What a step returns, made of its program's results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..kernels.spec import Array
from ..tensor import Tensor


class Result:
    """The place of the n-th result in what the step returns."""

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        self.n = n


def builder(returned: Any, places: Sequence[Array | None]) -> Callable[[Sequence[Array]], Any]:
    """What makes of a program's results what the step returns: `returned` with a tensor for each Result, of a copy of
    the result where that has one of the places. It is Python that is generated once, not a walk at each call."""
    values: dict[str, Any] = {"Tensor": Tensor}
    return eval(f"lambda results: {_expression(returned, places, values)}", values)  # type: ignore[no-any-return]


def _expression(returned: Any, places: Sequence[Array | None], values: dict[str, Any]) -> str:
    """The text that makes it; what its names stand for goes into values."""

    def name(value: Any) -> str:
        values[key := f"_{len(values)}"] = value
        return key

    if isinstance(returned, Result):
        place = places[returned.n]
        return f"Tensor(results[{returned.n}])" if place is None else f"Tensor({name(place.copy)}())"
    if isinstance(returned, (tuple, list)):
        parts = "".join(f"{_expression(r, places, values)}, " for r in returned)
        if type(returned) is tuple:
            return f"({parts})"
        make = name(type(returned))
        return f"{make}({parts})" if hasattr(type(returned), "_fields") else f"{make}([{parts}])"
    if isinstance(returned, dict):
        items = (f"{name(k)}: {_expression(r, places, values)}" for k, r in returned.items())
        return "{" + ", ".join(items) + "}"
    return name(returned)
