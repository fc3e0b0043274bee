"""Functions with hand-written derivatives, as in JAX: custom_vjp for reverse mode, custom_jvp for both modes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..ops.rule import Op, hung
from ..program.containers import map_arrays
from ..tape import Node, no_grad, state
from ..tensor import Tensor
from .function import check_result, filled, record, tupled
from .functional import vjp
from .recording import flat, like, structure


class _Custom:
    """A function whose derivative is given by hand.

    Args:
        f: its arguments and its value are tensors, or containers of them.
        nondiff_argnums: the positions of arguments that the rules take as they are, before the rest.
    """

    def __init__(self, f: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        functools.update_wrapper(self, f)  # type: ignore[arg-type]
        self.f = f
        self.name = getattr(f, "__name__", type(self).__name__)
        self._constant = tuple(nondiff_argnums)

    def _parted(self, args: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...]]:
        """The arguments that are handed on, and those that are differentiated by."""
        return [args[n] for n in self._constant], tuple(a for n, a in enumerate(args) if n not in self._constant)


class _Running(threading.local):
    """Of each thread: the functions whose fwd runs now."""

    def __init__(self) -> None:
        self.forwards: list[_Custom] = []


_running = _Running()


def _wanted(inputs: Sequence[Tensor]) -> bool:
    return state.recording and any(x.requires_grad for x in inputs)


class custom_vjp(_Custom):
    """A function with its own rule for reverse mode; a decorator.

    After `f.defvjp(fwd, bwd)`: fwd(*args) gives (f's value, residuals), and bwd(residuals, cotangent) a tuple of
    something like each argument, None for one without a gradient. Written in ops they can be differentiated again:
    the derivatives of the residuals are those of fwd.

    Args:
        f: its arguments and its value are tensors, or containers of them.
        nondiff_argnums: the positions of arguments that bwd takes as they are, before the residuals, and gives nothing
            for.

    Raises (when called, or when the derivative is taken):
        RuntimeError: there is no rule yet, or it gives another count, shape or dtype than the arguments have.
        NotImplementedError: forward mode.

    Example:
        >>> import retrograd as rg
        >>> @rg.custom_vjp
        ... def careful(x):
        ...     return x**2
        >>> careful.defvjp(lambda x: (careful(x), x), lambda x, g: ((g * 2 * x).clamp(-1, 1),))
        >>> rg.grad(lambda x: careful(x).sum())(rg.tensor([0.25, 3.0]))
        tensor([0.5, 1. ])
    """

    _rules: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give the rule."""
        self._rules = fwd, bwd

    def __call__(self, *args: Any) -> Any:
        constant, chosen = self._parted(args)
        inputs = flat(chosen)
        if not _wanted(inputs):
            return self.f(*args)
        if self._rules is None:
            raise RuntimeError(f"{self.name}: a custom_vjp without a rule; call {self.name}.defvjp(fwd, bwd) first")
        if self in _running.forwards:  # fwd calls the function itself, and runs again where that is differentiated
            with no_grad():
                made = self.f(*args)

            def rule(cotangent: Any) -> Any:
                return self._rules[1](*constant, self._forward(args)[1], cotangent)  # type: ignore[index]
        else:
            made, residuals = self._forward(args)
            rule = functools.partial(self._rules[1], *constant, residuals)
        value = map_arrays(lambda y: y.detach(), made)
        attributes = {"rule": rule, "value": structure(value), "arguments": structure(chosen)}
        record(_CustomVjp(self.name), attributes, inputs, flat(value))
        return value

    def _forward(self, args: tuple[Any, ...]) -> tuple[Any, Any]:
        _running.forwards.append(self)
        try:
            made = self._rules[0](*args)  # type: ignore[index]
        finally:
            _running.forwards.pop()
        if not isinstance(made, tuple) or len(made) != 2:
            raise RuntimeError(f"{self.name}: fwd returned a {type(made).__name__}, expected (value, residuals)")
        return made


class _CustomVjp(Op):
    def __init__(self, name: str) -> None:
        self.name = name

    def vjp(self, ctx: Node, *gs: Tensor | None) -> tuple[Tensor | None, ...]:
        arguments = ctx["arguments"]
        made = tupled(ctx["rule"](like(ctx["value"], filled(gs, ctx["results"]))))
        if len(made) != len(arguments):
            raise RuntimeError(
                f"{self.name}: bwd returned {len(made)} gradients for {len(arguments)} arguments; expected one for "
                "each, None for what needs none"
            )
        given: list[Tensor | None] = []
        for n, (g, argument) in enumerate(zip(made, arguments, strict=True)):
            tensors = flat(argument)
            found = [None] * len(tensors) if g is None else flat(g)
            if len(found) != len(tensors):
                raise RuntimeError(
                    f"{self.name}: bwd's gradient {n} has {len(found)} tensors, the argument {len(tensors)}"
                )
            given += found
        specs = zip(given, ctx.shapes, ctx["dtypes"], strict=True)
        return tuple(check_result(f"{self.name}: bwd", "gradient", n, *spec) for n, spec in enumerate(specs))

    def jvp(self, ctx: Node, *tangents: Tensor | None) -> Any:
        raise NotImplementedError(
            f"jvp: {self.name} is a custom_vjp, which has no rule for forward mode; use reverse mode (vjp, backward), "
            "or make it a custom_jvp, which has both"
        )


class custom_jvp(_Custom):
    """A function with its own derivative for both modes; a decorator.

    After `f.defjvp(rule)`: rule(primals, tangents) gives (f's value, its tangent), linear in the tangents. Reverse mode
    transposes it. Written in ops it can be differentiated again.

    Args:
        f: its arguments and its value are tensors, or containers of them.
        nondiff_argnums: the positions of arguments that the rule takes as they are, before the primals.

    Raises (when called, or when the derivative is taken):
        RuntimeError: there is no rule yet, or it gives another count, shape or dtype than the value has.

    Example:
        >>> import retrograd as rg
        >>> @rg.custom_jvp
        ... def log1pexp(x):
        ...     return (1 + x.exp()).log()
        >>> log1pexp.defjvp(lambda primals, tangents: (log1pexp(*primals), tangents[0] * primals[0].sigmoid()))
        >>> rg.grad(log1pexp)(100.0), rg.jvp(log1pexp, (rg.tensor(0.0),), (rg.tensor(1.0),))[1]
        (tensor(1.), tensor(0.5))
    """

    _rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> None:
        """Give the rule."""
        self._rule = rule

    def __call__(self, *args: Any) -> Any:
        constant, chosen = self._parted(args)
        inputs = flat(chosen)
        if not _wanted(inputs):
            return self.f(*args)
        if self._rule is None:
            raise RuntimeError(f"{self.name}: a custom_jvp without a rule; call {self.name}.defjvp(rule) first")
        with no_grad():
            value = map_arrays(lambda y: y.detach(), self.f(*args))
        rule = functools.partial(self._rule, *constant)
        record(_CustomJvp(self.name), {"rule": rule, "arguments": structure(chosen)}, inputs, flat(value), inputs)
        return value


class _CustomJvp(Op):
    def __init__(self, name: str) -> None:
        self.name = name

    def jvp(self, ctx: Node, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        return self._tangents(ctx, filled(tangents, list(zip(ctx.shapes, ctx["dtypes"], strict=True))))

    def vjp(self, ctx: Node, *gs: Tensor | None) -> tuple[Tensor | None, ...]:
        nothing = filled([None] * len(ctx.shapes), list(zip(ctx.shapes, ctx["dtypes"], strict=True)))
        _, pull = vjp(lambda *tangents: self._tangents(ctx, tangents), *nothing)
        return pull(filled(gs, ctx["results"]))

    def _tangents(self, ctx: Node, tangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
        saved = zip(ctx.arrays, ctx.versions, ctx.inputs, strict=True)
        primals = [hung(array, counter, where) for array, (counter, _), where in saved]
        made = ctx["rule"](like(ctx["arguments"], primals), like(ctx["arguments"], tangents))
        if not isinstance(made, tuple) or len(made) != 2:
            raise RuntimeError(f"{self.name}: the rule returned a {type(made).__name__}, expected (value, tangent)")
        found = flat(made[1])
        if len(found) != ctx.outputs:
            raise RuntimeError(f"{self.name}: the rule returned {len(found)} tangents, the value has {ctx.outputs}")
        specs = zip(found, ctx["results"], strict=True)
        return tuple(check_result(f"{self.name}: rule", "tangent", n, t, *spec) for n, (t, spec) in enumerate(specs))
