"""A step's call, as Python that is generated for its plan: what is known when it is traced is not looked up each time.

A small network's program runs for less than a microsecond; each function and each loop of Python takes a tenth of one.
"""

from __future__ import annotations

import textwrap
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.spec import Array, active, revision
from ..tape import counter, state
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
    """What names in a generated text stand for: `of`, a plain dictionary, which Python reads globals from fastest, and
    `cells`, whose names stand for what they hold."""

    def __init__(self, **of: Any) -> None:
        self.of = of
        self.cells: dict[str, types.CellType] = {}

    def name(self, value: Any) -> str:
        """A name for another."""
        if isinstance(value, types.CellType):
            self.cells[key := f"cell_{len(self.cells)}"] = value
        else:
            self.of[key := f"_{len(self.of)}"] = value
        return key

    def function(self, text: str) -> Any:
        """The function `call` that the text defines, its free variables being the cells."""
        around = "".join(f"    {key} = None\n" for key in self.cells)
        exec(f"def around():\n{around}{textwrap.indent(text, '    ')}    return call\n", self.of)
        code = self.of.pop("around")().__code__
        cells = tuple(self.cells[key] for key in code.co_freevars)
        return types.FunctionType(code, self.of, "call", None, cells)


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
    try:
        if len(args) != {count} or {unlike} or not ({unchanged} or plan.valid()):
            return MISSED
    except (KeyError, NameError):
        return MISSED
    [{arguments}] = args
    {to_arrays}
    take_turn()
    try:
        inputs = plan.inputs
        if not ({same}):
            if not ({fitting}):
                return MISSED
            inputs = plan.inputs = [{read}*inputs[{count}:]]
        {run}
    finally:
        give_turn()
    if (place := next(counter)) != plan.finished + 1:
        plan.count_changes()
    plan.finished = place
    {show_gradients}
    return made
"""
_RUN = """
        results = {results}
        plan.loaded.run(inputs, results, {scalars})
        made = {made}
"""
_RUN_AGAIN = """
        if plan.primed is not inputs and not plan.prime(inputs):
            plan.loaded.run(inputs, places, plan.values)
            made = {made}
        {return_kept}
        else:
            plan.kept, plan.kept_before = plan.kept_before, plan.kept
            if failed := again(plan.step):
                raise plan.loaded.failure(failed)
            made = {made}
"""
_RETURN_KEPT = """
        elif (kept := plan.kept) and {free}:
            plan.kept, plan.kept_before = plan.kept_before, kept
            if failed := again(kept.step):
                raise plan.loaded.failure(failed)
            made = kept.tensor
            {renew}
"""
_TO_ARRAY = """
    if type({a}) is Tensor:
        {a} = {a}.array
    elif type({a}) is not ndarray:
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
        active=active,
        revision=revision,
        ndarray=np.ndarray,
        Tensor=Tensor,
        MISSED=MISSED,
        take_turn=plan.turn.acquire,
        give_turn=plan.turn.release,
        counter=counter,
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
        f"type({a}) is ndarray and {a}.dtype == {dtype} and {a}.shape == {shape}"
        for a, (dtype, shape) in zip(names, forms, strict=True)
    ]
    text = _QUICK_CALL.format(
        count=count,
        unlike=f"state.recording is not {plan.recording} or state.kernels is not active",
        unchanged=" and ".join(plan.unchanged(name)),
        arguments=", ".join(names),
        to_arrays="".join(_TO_ARRAY.format(a=a) for a in names),
        same=" and ".join(f"{a} is inputs[{n}]" for n, a in enumerate(names)) or "True",
        fitting=" and ".join(fitting) or "True",
        read="".join(f"{a} if {as_it_lies.format(a=a)} else readable({a}), " for a in names),
        run=_run(plan, values),
        show_gradients="; ".join(plan.show_gradients(name)),
    )
    return values.function(text)  # type: ignore[no-any-return]


def _run(plan: Plan, values: _Values) -> str:
    """Python that runs the plan on `inputs` and makes of its results what the step returns, `made`."""
    made = _expression(plan.returned, plan.places, values)
    if plan.step is None:
        results = "places" if plan.copies else "result_arrays()"
        return _RUN.format(results=results, scalars="plan.numbers()" if plan.calls_host else "plan.values", made=made)
    values.of["again"] = plan.loaded.again
    kept = ""
    if plan.kept is not None:
        free, renew = plan.kept.is_free(values.name, "kept"), plan.kept.renew(values.name, "made")
        kept = _RETURN_KEPT.format(free=free, renew=renew).strip()
    return _RUN_AGAIN.format(made=made, return_kept=kept)
