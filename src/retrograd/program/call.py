"""A step's call, as Python that is generated for its plan: what is known when it is traced is not looked up each time.

A small network's program runs for less than a microsecond; each function and each loop of Python takes a tenth of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.spec import Array, revision
from ..tape import state
from ..tensor import Tensor

if TYPE_CHECKING:
    from .plan import Plan

MISSED: Any = object()
"""What a quick call returns where it does nothing: another plan may be the one."""


QuickCall = Callable[[tuple[Any, ...]], Any]


class Result:
    """The place of the n-th result in what the step returns."""

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        self.n = n


class _Values:
    """What names in a generated text stand for: `of`, a plain dictionary, which Python reads globals from fastest."""

    def __init__(self, **of: Any) -> None:
        self.of = of

    def name(self, value: Any) -> str:
        """A name for another."""
        self.of[key := f"_{len(self.of)}"] = value
        return key


def builder(returned: Any, places: Sequence[Array | None]) -> Callable[[list[Array]], Any]:
    """What makes of a program's results what the step returns: `returned` with a tensor for each Result, of a copy of
    the result where that has one of the places."""
    values = _Values(Tensor=Tensor)
    return eval(f"lambda results: {_expression(returned, places, values)}", values.of)  # type: ignore[no-any-return]


def _expression(returned: Any, places: Sequence[Array | None], values: _Values) -> str:
    """The text that makes it."""
    if isinstance(returned, Result):
        place = places[returned.n]
        return f"Tensor(results[{returned.n}])" if place is None else f"Tensor({values.name(place.copy)}())"
    if isinstance(returned, (tuple, list)):
        parts = "".join(f"{_expression(r, places, values)}, " for r in returned)
        if type(returned) is tuple:
            return f"({parts})"
        make = values.name(type(returned))
        return f"{make}({parts})" if hasattr(type(returned), "_fields") else f"{make}([{parts}])"
    if isinstance(returned, dict):
        items = (f"{values.name(k)}: {_expression(r, places, values)}" for k, r in returned.items())
        return "{" + ", ".join(items) + "}"
    return values.name(returned)


_QUICK_CALL = """
def call(args):
    if len(args) != {count} or state.recording is not recording or not ({unchanged} or plan.valid()):
        return MISSED
    [{arguments}] = args
    {to_arrays}
    acquire()
    try:
        inputs = plan.inputs
        if not ({same}):
            if not ({fitting}):
                return MISSED
            inputs = plan.inputs = [{read}*inputs[{count}:]]
        results = {results}
        plan.loaded.run(inputs, results, {scalars})
        made = {made}
    finally:
        release()
    plan.finish()
    return made
"""
_TO_ARRAY = """
    if {a}.__class__ is not ndarray:
        if not isinstance({a}, Tensor):
            return MISSED
        {a} = {a}.array
"""


def quick_call(plan: Plan, count: int) -> QuickCall:
    """Plan.run() of a step whose arguments are `count` arrays or tensors, of the shapes and dtypes of plan.inputs, as a
    function of the tuple of them; inputs beyond those stay as they are. It looks itself whether the plan is good for
    them, and returns MISSED where it is not."""
    values = _Values(
        plan=plan,
        state=state,
        recording=plan.recording,
        revision=revision,
        ndarray=np.ndarray,
        Tensor=Tensor,
        MISSED=MISSED,
        acquire=plan.lock.acquire,
        release=plan.lock.release,
        readable=plan.readable,
        written=plan.written,
        places=plan.places,
        result_arrays=plan.result_arrays,
    )
    name = values.name
    names = [f"a{n}" for n in range(count)]
    forms = [(name(like.dtype), name(like.shape)) for like in plan.inputs[:count]]
    as_it_lies = "{a}.flags.carray and id({a}) not in written and id({a}.base) not in written"
    fitting = [
        f"{a}.__class__ is ndarray and {a}.dtype == {dtype} and {a}.shape == {shape}"
        for a, (dtype, shape) in zip(names, forms, strict=True)
    ]
    text = _QUICK_CALL.format(
        count=count,
        unchanged=" and ".join(plan.unchanged(name)),
        arguments=", ".join(names),
        to_arrays="".join(_TO_ARRAY.format(a=a) for a in names),
        same=" and ".join(f"{a} is inputs[{n}]" for n, a in enumerate(names)) or "True",
        fitting=" and ".join(fitting) or "True",
        read="".join(f"{a} if {as_it_lies.format(a=a)} else readable({a}), " for a in names),
        results="places" if plan.copies else "result_arrays()",
        scalars="plan.numbers()" if plan.calls_host else "plan.values",
        made=_expression(plan.returned, plan.places, values),
    )
    exec(text, values.of)
    return values.of.pop("call")  # type: ignore[no-any-return]
