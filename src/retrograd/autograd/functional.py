"""Derivatives of functions: what takes a function and gives its gradient, its products with vectors, its matrices.

A function runs once, recorded from fresh places for its inputs (see Recording); then cotangents travel back along what
was recorded, or tangents forwards. The rules that they follow are ops too, and are recorded where something around asks
for it: so these functions nest in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.shape import concatenate, reshape, stack
from ..tape import set_grad_enabled
from ..tensor import Tensor
from .batching import RowArray, rows_at_once
from .carrier import Carrier, stand_ins
from .graph import NoHistory
from .recording import Recording, check_inputs, flat, like, matching, zeros_like


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that gives f's value and its gradient, from one run of f.

    Args:
        f: gives a tensor of one element or, with has_aux, a tuple of it and anything else.
        argnums: the position of the argument to differentiate by, or several.
        has_aux: whether f returns something beside the value, which is handed on.

    Returns:
        a function of f's arguments that gives (value, gradient), with has_aux ((value, aux), gradient). The gradient
        is like the argument: a tensor, or tuples, lists and dicts of them; for several argnums a tuple of such.
        Arguments are tensors, NumPy arrays or floats; other values in a container stay as they are.

    Raises (when called):
        TypeError: an argument to differentiate by is not floating, or there is none.
        RuntimeError: f does not return a tensor of one element.

    Example:
        >>> import retrograd as rg
        >>> def loss(params, x):
        ...     return ((params["w"] * x + params["b"]) ** 2).sum()
        >>> params = {"w": rg.tensor(2.0), "b": rg.tensor(1.0)}
        >>> rg.value_and_grad(loss)(params, rg.tensor([1.0, 2.0]))
        (tensor(34.), {'w': tensor(26.), 'b': tensor(16.)})
    """

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        run, chosen = _record("grad", f, argnums, args, kwargs)
        value = _with_aux("grad", run.value)[0] if has_aux else run.value
        gradient = like(chosen, run.pull(_seed("grad", run, value)))
        returned, gradient = run.release((run.value, gradient))
        return returned, gradient[0] if isinstance(argnums, int) else gradient

    return differentiated


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives f's gradient: value_and_grad without the value; with has_aux, (gradient, aux).

    Example:
        >>> import retrograd as rg
        >>> rg.grad(rg.grad(lambda x: x**3))(2.0)
        tensor(12.)
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, g = both(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return gradient


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """f's value at the primals, and a function that multiplies vectors by its Jacobian from the left: reverse mode.

    Args:
        f: gives a tensor or a container of them; with has_aux, (that, anything).
        primals: f's arguments: floating tensors or arrays, or containers of them.

    Returns:
        (value, pull) or (value, pull, aux). pull(cotangent), which can be called often, takes something like the value
        and gives a tuple of something like each primal.

    Raises:
        TypeError: a primal is not floating. ValueError (from pull): a cotangent is unlike the value.

    Example:
        >>> import retrograd as rg
        >>> value, pull = rg.vjp(lambda x, y: x * y, rg.tensor([1.0, 2.0]), rg.tensor([3.0, 4.0]))
        >>> pull(rg.tensor([1.0, 10.0]))
        (tensor([ 3., 40.]), tensor([ 1., 20.]))
    """
    run, chosen = _record("vjp", f, range(len(primals)), primals, {})
    value, *aux = _with_aux("vjp", run.value) if has_aux else (run.value,)
    run.differentiate(value)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        return like(chosen, run.pull(matching("vjp", "cotangent", run.outputs, value, cotangent), retain=True))

    return (run.show(value), pull, *aux)


def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """f's value at the primals, and a function that multiplies its Jacobian by vectors: forward mode, f run once.

    Returns:
        (value, push) or (value, push, aux). push(*tangents), which can be called often, takes something like each
        primal and gives something like the value.

    Raises:
        TypeError: a primal is not floating. ValueError (from push): a tangent is unlike its primal.

    Example:
        >>> import retrograd as rg
        >>> value, push = rg.linearize(lambda x: x**2, rg.tensor([1.0, 2.0]))
        >>> push(rg.tensor([1.0, 0.0])), push(rg.tensor([0.0, 1.0]))
        (tensor([2., 0.]), tensor([0., 4.]))
    """
    run, chosen = _record("linearize", f, range(len(primals)), primals, {})
    value, *aux = _with_aux("linearize", run.value) if has_aux else (run.value,)
    run.differentiate(value)

    def push(*tangents: Any) -> Any:
        return like(value, run.push(matching("linearize", "tangent", run.inputs, chosen, tangents), retain=True))

    return (run.show(value), push, *aux)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """f's value, and its derivative along the tangents: forward mode.

    Tangents are calculated as f runs, and memory is freed as it goes on; tensors that f leaves behind have no history.
    Should f itself differentiate by a tensor of its own, by autograd.grad or backward(), it runs once more, recorded.

    The tangent of a product x @ w is tx @ w + x @ tw: with its value two products where one operand has a tangent, and
    three where both have. So a network's jvp takes the products of 2 forward passes by its input; by its weights of 2
    for the first layer and of 3 for the others. Its other costs grow less: `python -m benchmarks.derivatives`.

    Args:
        f: gives a tensor or a container of them; with has_aux, (that, anything).
        primals: a tuple of f's arguments: floating tensors or arrays, or containers of them.
        tangents: a tuple of something like each primal.

    Returns:
        (value, tangent) or (value, tangent, aux); the tangent is like the value.

    Raises:
        TypeError: a primal is not floating. ValueError: a tangent is unlike its primal.
        NotImplementedError: an op has no rule for forward mode; names it.

    Example:
        >>> import retrograd as rg
        >>> rg.jvp(rg.exp, (rg.tensor(0.0),), (rg.tensor(2.0),))
        (tensor(1.), tensor(2.))
    """
    primals, tangents = _tupled("jvp", "primals", primals), _tupled("jvp", "tangents", tangents)
    carried = stand_ins(primals, tangents)
    if carried is not None:
        standing, known = carried
        try:
            return _pushed(Carrier(lambda _: f(*standing), known), Carrier.tangents, has_aux)
        except NoHistory:
            pass
    chosen = tuple([check_inputs("jvp", x) for x in primals])
    inputs = flat(chosen)
    given = matching("jvp", "tangent", inputs, chosen, tangents)
    run = Recording(lambda inputs: f(*like(chosen, inputs)), inputs)
    return _pushed(run, lambda run: run.push(given), has_aux)


def _pushed(run: Any, tangents: Callable[[Any], list[Tensor]], has_aux: bool) -> tuple[Any, ...]:
    value, *aux = _with_aux("jvp", run.value) if has_aux else (run.value,)
    run.differentiate(value)
    return run.release((value, like(value, tangents(run)), *aux))


def hvp(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The Hessian of f, which gives a tensor of one element, times a vector: forward mode over reverse mode.

    Args:
        f: of one argument or several, each a floating tensor or array or a container of them.
        primals: the argument, or a tuple of several.
        tangents: something like the primals.

    Returns:
        something like the primals.

    Example:
        >>> import retrograd as rg
        >>> rg.hvp(lambda x: (x**3).sum(), rg.tensor([1.0, 2.0]), rg.tensor([1.0, 10.0]))
        tensor([  6., 120.])
    """
    several = isinstance(primals, tuple)
    run, chosen = _record("hvp", f, range(len(primals)) if several else 0, primals if several else (primals,), {})
    gradient = run.pull(_seed("hvp", run, run.value), create_graph=True)
    run.differentiate(gradient)
    given = matching("hvp", "tangent", run.inputs, chosen if several else chosen[0], tangents)
    made = like(chosen, run.push(given))
    return run.release(made if several else made[0])


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str = "auto") -> Callable[..., Any]:
    """A function that gives all of f's first derivatives.

    Args:
        f: gives a tensor or a container of them.
        argnums: the position of the argument to differentiate by, or several.
        mode: "reverse", a sweep for each element of the value; "forward", one for each element of the arguments;
            "auto", whichever are fewer.

    Returns:
        a function of f's arguments. For a value of shape (m, …) and an argument of shape (n, …) it gives a tensor of
        shape (m, …, n, …); for containers, something like the value, with something like the argument in the place of
        each tensor.

    Raises:
        ValueError: an unknown mode.

    Example:
        >>> import retrograd as rg
        >>> rg.jacobian(lambda x: x[:2] * x[2])(rg.tensor([1.0, 2.0, 3.0]))
        tensor([[3., 0., 1.],
                [0., 3., 2.]])
    """
    if mode not in ("forward", "reverse", "auto"):
        raise ValueError(f"jacobian: unknown mode {mode!r}; expected 'forward', 'reverse' or 'auto'")

    @functools.wraps(f)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        run, chosen = _record("jacobian", f, argnums, args, kwargs)
        run.differentiate(run.value)
        rows, columns = (sum(t.size for t in tensors) for tensors in (run.outputs, run.inputs))
        forward = mode == "forward" or (mode == "auto" and columns < rows)
        sweep = functools.partial(run.push if forward else run.pull, retain=True)
        over, others = (run.inputs, run.outputs) if forward else (run.outputs, run.inputs)
        with set_grad_enabled(run.recorded):
            swept = (_one_by_one if run.recorded else _together)(sweep, over, others)
            blocks = [like(chosen, row) for row in _blocks(run.outputs, run.inputs, swept, forward)]
        if isinstance(argnums, int):
            blocks = [row[0] for row in blocks]
        return run.release(like(run.value, blocks))

    return matrix


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of f, which gives a tensor of one element: forward over reverse.

    Returns:
        a function of f's arguments. For an argument of shape (n, …) it gives a tensor of shape (n, …, n, …); for
        containers, something like the argument with something like the argument in the place of each tensor.

    Example:
        >>> import retrograd as rg
        >>> rg.hessian(lambda x: x[0] ** 2 * x[1])(rg.tensor([3.0, 4.0]))
        tensor([[8., 6.],
                [6., 0.]])
    """
    return jacobian(grad(f, argnums), argnums, mode="forward")


def _record(name: str, f: Callable[..., Any], argnums: Any, args: Sequence[Any], kwargs: Any) -> tuple[Recording, Any]:
    """f's run, and those of its arguments that are differentiated by."""
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for i, n in enumerate(numbers):
        if not -len(args) <= n < len(args):
            raise TypeError(f"{name}: argnums {argnums} asks for argument {n}, but the function was given {len(args)}")
        numbers[i] = n % len(args)
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"{name}: argnums {argnums} names an argument twice")
    chosen = tuple(check_inputs(name, args[n]) for n in numbers)

    def call(inputs: list[Tensor]) -> Any:
        given = list(args)
        for n, argument in zip(numbers, like(chosen, inputs), strict=True):
            given[n] = argument
        return f(*given, **kwargs)

    return Recording(call, flat(chosen)), chosen


def _seed(name: str, run: Recording, value: Any) -> list[Tensor]:
    """The cotangent that the gradient of the run's value starts from.

    Raises:
        RuntimeError: the value is not a tensor of one element.
    """
    if not isinstance(value, Tensor) or value.size != 1 or value.dtype.kind != "f":
        given = f"{value.dtype} of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise RuntimeError(
            f"{name}: the function returned {given}, expected a floating tensor of one element; reduce it, as with "
            "sum(), or use rg.jacobian or rg.vjp"
        )
    run.differentiate(value)
    return [Tensor(np.ones(value.shape, value.dtype))]


def _tupled(name: str, what: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name}: {what} are a {type(value).__name__}, expected a tuple, of one for each argument")
    return tuple(value)


def _with_aux(name: str, returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{name}: with has_aux the function returns (value, aux); it gave a {type(returned).__name__}")
    return returned


Sweep = Callable[[list[Tensor]], list[Tensor]]

ROWS_AT_ONCE = 64
"""So many sweeps run together; what they calculate takes as many times the memory of one."""


def _one_by_one(sweep: Sweep, over: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """For each of the others, its (co)tangents for each element of the tensors in turn: (elements, *its shape)."""
    swept = []
    for i, t in enumerate(over):
        for n in range(t.size):
            basis = [zeros_like(x) for x in over]
            basis[i].array.reshape(-1)[n] = 1
            swept.append(sweep(basis))
    return [
        stack([found[j] for found in swept]) if swept else Tensor(np.zeros((0, *y.shape), y.dtype))
        for j, y in enumerate(others)
    ]


def _together(sweep: Sweep, over: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """The same, many elements in one sweep: for what is not recorded."""
    total = sum(t.size for t in over)
    starts = np.cumsum([0, *(t.size for t in over)])
    parts: list[list[Tensor]] = [[Tensor(np.empty((0, *y.shape), y.dtype))] for y in others]
    for first in range(0, total, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, total - first)
        with rows_at_once(count) as table:
            basis = [
                Tensor(RowArray(np.eye(count, t.size, first - start, t.dtype).reshape(count, *t.shape)))  # type: ignore[arg-type]
                for t, start in zip(over, starts[:-1], strict=True)
            ]
            for part, found in zip(parts, sweep(basis), strict=True):
                part.append(Tensor(table.stretched(found.array)))
    return [concatenate(part) for part in parts]


def _blocks(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], swept: list[Tensor], forward: bool
) -> list[list[Tensor]]:
    """The Jacobian of each output by each input, from the inputs' cotangents for each element of the outputs or, in
    forward mode, the outputs' tangents for each element of the inputs."""
    ends = np.cumsum([t.size for t in (inputs if forward else outputs)])

    def block(i: int, y: Tensor, j: int, x: Tensor) -> Tensor:
        n, t, found = (j, x, swept[i]) if forward else (i, y, swept[j])
        part = found[int(ends[n]) - t.size : int(ends[n])]
        if forward:
            part = part.permute(*range(1, part.ndim), 0)
        return reshape(part, y.shape + x.shape)

    return [[block(i, y, j, x) for j, x in enumerate(inputs)] for i, y in enumerate(outputs)]
