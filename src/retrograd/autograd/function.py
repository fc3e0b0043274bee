"""Own ops with derivatives of one's own: Function, as in PyTorch.

An op records one node on the tape in the place of what its forward pass would have recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..ops.rule import Op, hung
from ..tape import Node, no_grad, state
from ..tensor import Tensor
from .graph import place


def record(
    op: Op,
    attributes: dict[str, Any],
    inputs: Sequence[Tensor],
    results: Sequence[Tensor],
    saved: Sequence[Tensor] = (),
    constant: Collection[int] = (),
) -> None:
    """Put an op on the tape that takes the inputs and made the results, which are leaves until now.

    Args:
        op: its rules read the attributes, and "dtypes" of the inputs and "results", (shape, dtype) of each.
        saved: what the rules read that must not change until then.
        constant: the numbers of the results that carry no gradient.
    """
    facts = {"dtypes": [x.dtype for x in inputs], "results": [(y.shape, y.dtype) for y in results]}
    node = Node(
        op,
        attributes | facts,
        [place(x) if x.requires_grad else None for x in inputs],
        [x.shape for x in inputs],
        [t.array for t in saved],
        [(t._version, t._version[0]) for t in saved],
        (),
        len(results),
    )
    for i, y in enumerate(results):
        if y.dtype.kind == "f" and i not in constant:
            y._requires_grad, y.edge = True, (node, i)


def filled(given: Sequence[Tensor | None], specs: Sequence[tuple[tuple[int, ...], np.dtype]]) -> list[Tensor]:
    """Zeros in the place of the tangents or cotangents that are None."""
    return [Tensor(np.zeros(*spec)) if g is None else g for g, spec in zip(given, specs, strict=True)]


def check_result(name: str, what: str, n: int, g: Any, shape: tuple[int, ...], dtype: np.dtype) -> Tensor | None:
    """The n-th thing that a hand-written rule gave.

    Raises:
        RuntimeError: it is neither None nor a tensor of this shape and dtype.
    """
    if g is None:
        return None
    if not isinstance(g, Tensor) or g.shape != shape or g.dtype != dtype:
        given = f"{g.dtype} of shape {g.shape}" if isinstance(g, Tensor) else f"a {type(g).__name__}"
        raise RuntimeError(f"{name}: {what} {n} is {given}; expected a Tensor, {dtype} of shape {shape}, or None")
    return g


def tupled(value: Any) -> tuple[Any, ...]:
    """A tuple itself, anything else as a tuple of one."""
    return value if isinstance(value, tuple) else (value,)


class Context:
    """What `forward` hands on to `backward` and `jvp`; any attribute can be set on it.

    Attributes:
        needs_input_grad: for each argument of forward, whether a derivative by it is asked for.
        saved_tensors: in backward and jvp, what save_for_backward kept, in its order.
    """

    saved_tensors: tuple[Tensor | None, ...] = ()
    to_save: tuple[Tensor | None, ...] = ()
    constant: tuple[Tensor, ...] = ()

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep arguments or results of forward for backward; changing them in place before it is an error. Other
        tensors are kept as constants, which no derivative of the derivative sees through."""
        self.to_save = tensors

    def mark_non_differentiable(self, *results: Tensor) -> None:
        """These results carry no gradient."""
        self.constant = results


class FunctionOp(Op):
    """The rule of a Function, by its static methods."""

    def __init__(self, function: type[Function]) -> None:
        self.name = function.__name__
        self.function = function

    def vjp(self, ctx: Node, *gs: Tensor | None) -> tuple[Tensor | None, ...]:
        name = f"{self.name}.backward"
        if self.function.backward is Function.backward:
            raise NotImplementedError(
                f"{name}: there is no rule for reverse mode; give the Function a static method "
                "backward(ctx, *cotangents), or use forward mode (jvp) where it has that"
            )
        given = tupled(self.function.backward(self._context(ctx), *filled(gs, ctx["results"])))
        if len(given) != ctx["arguments"]:
            raise RuntimeError(
                f"{name}: returned {len(given)} gradients for the {ctx['arguments']} arguments of forward; expected "
                "one for each, None for what needs none"
            )
        for n, g in enumerate(given):
            if g is not None and n not in ctx["positions"]:
                raise RuntimeError(f"{name}: returned a gradient for argument {n}, which is no tensor")
        return tuple(
            check_result(name, "gradient", n, given[n], shape, dtype)
            for n, shape, dtype in zip(ctx["positions"], ctx.shapes, ctx["dtypes"], strict=True)
        )

    def jvp(self, ctx: Node, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        name = f"{self.name}.jvp"
        if self.function.jvp is Function.jvp:
            raise NotImplementedError(
                f"{name}: there is no rule for forward mode; give the Function a static method jvp(ctx, *tangents), or "
                "use reverse mode (vjp, backward)"
            )
        given: list[Any] = [None] * ctx["arguments"]
        for n, t in zip(ctx["positions"], tangents, strict=True):
            given[n] = t
        made = tupled(self.function.jvp(self._context(ctx), *given))
        if len(made) != ctx.outputs:
            raise RuntimeError(f"{name}: returned {len(made)} tangents for the {ctx.outputs} results of forward")
        return tuple(
            check_result(name, "tangent", i, t, shape, dtype)
            for i, (t, (shape, dtype)) in enumerate(zip(made, ctx["results"], strict=True))
        )

    def _context(self, ctx: Node) -> Context:
        context: Context = ctx["context"]
        kept = zip(ctx.arrays, ctx.versions, strict=True)
        tensors: list[Tensor | None] = []
        for kind, n in ctx["sources"]:
            if kind == "none":
                tensors.append(None)
                continue
            array, (counter, _) = next(kept)
            where = ctx.inputs[n] if kind == "argument" else (ctx, n) if kind == "result" else None
            tensors.append(hung(array, counter, where))
        context.saved_tensors = tuple(tensors)
        return context


class Function:
    """An op of one's own, as in PyTorch: subclass it, and call `apply`.

    Static methods:
        forward(ctx, *args) -> a tensor or a tuple of them. Nothing is recorded in it. Arguments that are tensors can be
            differentiated by.
        backward(ctx, *cotangents of the results) -> a gradient for each argument of forward, None where there is none.
            Written in ops it can be differentiated again.
        jvp(ctx, *tangents of the arguments) -> a tangent for each result; a tangent is None for what is constant.
            Only for forward mode.

    Raises (when the derivative is taken):
        RuntimeError: backward or jvp returns another count, shape or dtype than its results must have; names it.
        NotImplementedError: forward mode, without a jvp.

    Example:
        >>> import retrograd as rg
        >>> class Cube(rg.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         (x,) = ctx.saved_tensors
        ...         return g * 3 * x * x
        >>> rg.grad(rg.grad(Cube.apply))(2.0)
        tensor(12.)
    """

    _op: FunctionOp

    def __init_subclass__(cls) -> None:
        cls._op = FunctionOp(cls)

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        raise NotImplementedError("Function: a subclass defines forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *cotangents: Tensor) -> Any:
        raise NotImplementedError

    @staticmethod
    def jvp(ctx: Context, *tangents: Tensor | None) -> Any:
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward on the arguments, and record the op where a gradient is asked for.

        Raises:
            TypeError: forward returns something else than tensors.
        """
        tensors = [a for a in args if isinstance(a, Tensor)]
        context = Context(tuple(isinstance(a, Tensor) and a.requires_grad for a in args))
        with no_grad():
            returned = cls.forward(context, *args)
        made = tupled(returned)
        for y in made:
            if not isinstance(y, Tensor):
                raise TypeError(f"{cls.__name__}.forward: returned a {type(y).__name__}, expected tensors")
        results = [y.detach() for y in made]
        if state.recording and any(context.needs_input_grad):
            attributes = {
                "context": context,
                "sources": [_source(t, tensors, made) for t in context.to_save],
                "positions": [n for n, a in enumerate(args) if isinstance(a, Tensor)],
                "arguments": len(args),
            }
            constant = {i for i, y in enumerate(made) if any(y is t for t in context.constant)}
            record(cls._op, attributes, tensors, results, [t for t in context.to_save if t is not None], constant)
        context.to_save = context.constant = ()
        return tuple(results) if isinstance(returned, tuple) else results[0]


def _source(saved: Tensor | None, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> tuple[str, int]:
    """What a saved tensor is: a result or an argument, by its number among the tensors, or neither."""
    for kind, candidates in (("argument", tensors), ("result", results)):
        for n, t in enumerate(candidates):
            if t is saved:
                return kind, n
    return ("none" if saved is None else "constant"), 0
