"""The rule of an op: its forward in kernels, its vjp and jvp, side by side; and recording it on the tape.

An op is a subclass of Op in the file of its family, and a public function beside it that checks what people pass
and calls the op. Nothing else has to change for a new one:

    class Tanh(Op):
        saves = (OUTPUT,)                       # what the vjp reads

        def forward(self, k, x):                # arrays to arrays, in kernels
            return k.tanh(x)

        def vjp(self, ctx, g):                  # tensors to tensors, in ops: differentiable again
            (y,) = self.saved(ctx)
            return (g * (1 - y * y),)

        def jvp(self, ctx, t):                  # the same forwards
            (y,) = self.saved(ctx)
            return t * (1 - y * y)

    @method
    def tanh(x): ...                            # rg.tanh(x) and x.tanh()
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import dtypes
from ..kernels.spec import Array, active, aligned
from ..tape import Node, state
from ..tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
Operand = Tensor | Array | bool | int | float
OPERANDS = (Tensor, Array, np.generic, bool, int, float, list, tuple)
"""What an op takes: tensors, and what as_tensor_operand makes tensors of."""

OUTPUT = -1
"""The first output, among what a rule saves; OUTPUT - 1 is the second, and so on."""


def _jvp_kernels_of_linear(self: Op, k: Any, ctx: Node, *tangents: Array | None) -> Any:
    return self.forward(k, *tangents, **ctx.attributes) if self.linear and len(tangents) == 1 else None


def _jvp_of_linear(self: Op, ctx: Node, *tangents: Tensor | None) -> Any:
    if not self.linear:
        raise NotImplementedError(f"jvp: {self.name} has no rule for forward mode; reverse mode (vjp, backward) has")
    if len(tangents) == 1:
        return self(*tangents, **ctx.attributes)
    given = next(t for t in tangents if t is not None)
    return self(
        *(
            t if t is not None or shape is None else Tensor(np.zeros(shape, given.dtype))
            for t, shape in zip(tangents, ctx.shapes, strict=True)
        ),
        **ctx.attributes,
    )


class Op:
    """The rule of one op. Subclasses are instantiated once; an instance is called on tensors (None for an operand
    left out) and keyword attributes, and records a Node where a gradient is asked for.

    Attributes:
        name: what errors and graphs call it; the class's name, in small letters, unless it is given.
        saves: which operands (by position) and outputs (OUTPUT) the vjp reads; nothing else is kept alive.
        residuals: how many of the arrays that `forward` returns, the last ones, are kept for `vjp_kernels` only.
        view: whether the output shares the first operand's memory.
        fresh: whether what `vjp_kernels` returns is newly made, held by nothing else.
        differentiable: whether there is a vjp; without one nothing is recorded.
        linear: whether the outputs are linear in the operands together, so that the jvp is the op itself.
    """

    name: str = ""
    saves: tuple[int, ...] = ()
    residuals: int = 0
    view: bool = False
    fresh: bool = False
    differentiable: bool = True
    linear: bool = False

    def __init_subclass__(cls) -> None:
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    forward: Callable[..., Any]
    """forward(k, *arrays, **attributes) -> the output's array, or a tuple of outputs and residuals. `k` is the kernel
    table to call: the one in force, or one that writes the calls down."""

    vjp: Callable[..., tuple[Tensor | None, ...]]
    """vjp(ctx, *cotangents of the outputs) -> the cotangent of each operand, on tensors, in ops. `ctx` is the Node."""

    vjp_kernels: Callable[..., tuple[Any, ...] | None] | None = None
    """The same for a first derivative, vjp_kernels(k, ctx, *arrays) -> arrays, in fused kernels; may return None to
    leave the case to `vjp`."""

    jvp: Callable[..., Any] = _jvp_of_linear
    """jvp(ctx, *tangents of the operands) -> the tangent of each output, on tensors, in ops. A tangent that is None is
    zero; not all are."""

    jvp_kernels: Callable[..., Any] = _jvp_kernels_of_linear
    """The same where it is not recorded, jvp_kernels(k, ctx, *arrays) -> an array or a tuple of them, in fused kernels;
    may return None to leave the case to `jvp`."""

    dual: Callable[..., Any] | None = None
    """The forward and jvp_kernels at once, dual(k, arrays, tangents, **attributes) -> (outputs, tangents), in fused
    kernels; may return None to leave the case to them."""

    def __call__(self, *operands: Tensor | None, **attributes: Any) -> Any:
        k = state.kernels
        if k is not active:  # a quick test of what is rare: eager calls have nothing to hold
            k.hold(operands)
        arrays: list[Any] = []
        wanted = False
        for t in operands:
            if t is None:
                arrays.append(None)
            else:
                arrays.append(t.array)
                if t._requires_grad:
                    wanted = True
        try:
            if wanted and self.dual is not None and k is active and state.recording and state.carrier is not None:
                results = state.carrier.run(self, operands, arrays, attributes)
                if results is not None:
                    return results[0] if len(results) == 1 else results
            made = self.forward(k, *arrays, **attributes)
        except (TypeError, AttributeError):
            if k is active:
                for array in arrays:
                    np.asarray(array)  # one that was kept from a trace says so
            raise
        residuals: tuple[Any, ...] = ()
        if type(made) is tuple:
            cut = len(made) - self.residuals
            residuals = made[cut:]
            results = tuple([Tensor(_array(a)) for a in made[:cut]])
        else:
            results = (Tensor(made if type(made) is Array else _array(made)),)
        if self.view:
            results[0].share(operands[0])  # type: ignore[arg-type]
        if wanted and self.differentiable and state.recording:
            self._record(operands, attributes, results, residuals)
        if k is not active:
            k.made(self, operands, results)
        return results[0] if len(results) == 1 else results

    def saved(self, ctx: Node) -> list[Tensor]:
        """What a node saved, as tensors that hang on the graph where the originals did, in the order of `saves`."""
        return [
            hung(array, counter, (ctx, OUTPUT - i) if i < 0 else ctx.inputs[i])
            for i, array, (counter, _) in zip(self.saves, ctx.arrays, ctx.versions, strict=True)
        ]

    def _record(
        self,
        operands: tuple[Tensor | None, ...],
        attributes: dict[str, Any],
        results: tuple[Tensor, ...],
        residuals: tuple[Any, ...],
    ) -> None:
        carrier = state.carrier
        if carrier is not None and carrier.carry(self, operands, attributes, results, residuals):
            return
        inputs: list[Any] = []
        shapes: list[Any] = []
        for t in operands:
            if t is None:
                inputs.append(None)
                shapes.append(None)
            else:
                inputs.append((t.edge or t) if t._requires_grad else None)
                shapes.append(t.array.shape)
        arrays, versions = [], []
        for i in self.saves:
            t = results[OUTPUT - i] if i < 0 else operands[i]
            arrays.append(t.array)
            versions.append((t._version, t._version[0]))
        node = Node(self, attributes, inputs, shapes, arrays, versions, residuals, len(results))
        for i, t in enumerate(results):
            t._requires_grad = True
            t.edge = (node, i)


def hung(array: Array, counter: list[int], where: Any) -> Tensor:
    """A tensor over a saved array, with its version counter, in its place of the graph, as in Node.inputs."""
    if isinstance(where, Tensor):
        return where
    tensor = Tensor(array)
    tensor._version = counter
    if where is not None:
        tensor._requires_grad, tensor.edge = True, where
    return tensor


def _array(made: Any) -> Any:
    """What a kernel made; an array too where a NumPy function of arrays without axes gives a scalar."""
    return np.asarray(made) if isinstance(made, np.generic) else made


def named(function: F, name: str, says: str, given: str, gives: str) -> F:
    """Name a function that was made for an op, and document it with an example: its arguments, and what that prints."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{says}

    Example:
        >>> import retrograd as rg
        >>> rg.{name}({given})
        {gives}
    """
    return function


def method(function: F) -> F:
    """Make a function of a tensor its method too, under the same name."""
    setattr(Tensor, function.__name__, function)
    return function


class Number(Tensor):
    """The operand that a Python number stands for. Nobody else has it: a step that is traced may keep its value."""

    __slots__ = ()


def as_tensor_operand(name: str, value: Any, beside: Tensor | None = None) -> Tensor:
    """The tensor that an operand stands for; a Python number takes the dtype of the tensor beside it.

    Raises:
        TypeError: it is neither a tensor, an array, a number nor a list of numbers; names the op.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float)):
        dtype = dtypes.of_scalar(value, dtypes.bool_ if beside is None else beside.array.dtype)
        try:
            return Number(np.asarray(value, dtype))
        except OverflowError:
            raise OverflowError(f"{name}: {value} does not fit into {dtype}") from None
    if isinstance(value, OPERANDS):
        array = aligned(value)
        dtype = dtypes.supported(array.dtype, name)
        if isinstance(value, (list, tuple)) and dtype == dtypes.float64:
            dtype = dtypes.get_default_dtype()
        return Tensor(np.asarray(array, dtype))
    raise TypeError(f"{name}: cannot take a {type(value).__name__}; expected a Tensor, a NumPy array or a number")


def operands(name: str, *values: Any) -> list[Tensor]:
    """Tensors of one dtype from what an op was given: tensors, arrays and numbers, promoted.

    Floating dtypes win over integer ones whatever their width; a Python number never widens a tensor.
    """
    anchor = None
    for v in values:
        if isinstance(v, Tensor):
            anchor = v
            break
    if anchor is None:
        anchor = next((as_tensor_operand(name, v) for v in values if isinstance(v, np.ndarray)), None)
    tensors = [v if isinstance(v, Tensor) else as_tensor_operand(name, v, anchor) for v in values]
    first = tensors[0].array.dtype
    for t in tensors:
        if t.array.dtype != first:
            break
    else:
        return tensors
    target = dtypes.promote([t.array.dtype for t in tensors])
    return [t if t.array.dtype == target else t.to(target) for t in tensors]


def known(x: Tensor) -> bool:
    """Whether x has numbers to look at: while a step is traced, it has a shape only."""
    return isinstance(x.array, np.ndarray)


def looked_at(name: str, x: Tensor, instead: str) -> Array:
    """The numbers of x, for an op whose result has a shape that depends on them; a step that is traced is good only
    while they stay.

    Raises:
        RuntimeError: they are not known, since x is what a traced step works on; says what to do instead.
    """
    if not known(x):
        raise RuntimeError(
            f"{name}: the shape of the result depends on the numbers of a tensor of shape {x.shape}, which are not "
            f"known while a step is traced, and a program has fixed shapes; {instead}; or do it outside of the step"
        )
    state.kernels.look(x.array)
    return x.array


def floating(name: str, x: Any) -> Tensor:
    """The operand as a floating tensor: integers and booleans become the default dtype."""
    x = as_tensor_operand(name, x)
    return x if x.array.dtype.kind == "f" else x.to(dtypes.get_default_dtype())


def normalize_axis(name: str, dim: int, ndim: int) -> int:
    """The axis in [0, ndim) that `dim`, perhaps negative, means.

    Raises:
        IndexError: there is none; names the op.
    """
    if not -ndim <= dim < ndim:
        raise IndexError(f"{name}: dim {dim} is out of range for {ndim} axes; expected {-ndim} to {ndim - 1}")
    return dim % ndim


def normalize_axes(name: str, dim: int | tuple[int, ...] | list[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes in [0, ndim), ascending, that `dim` means: all of them for None.

    Raises:
        IndexError: one is out of range. ValueError: one is named twice.
    """
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, (tuple, list)):
        axes = tuple(sorted(normalize_axis(name, d, ndim) for d in dim))
        if len(set(axes)) != len(axes):
            raise ValueError(f"{name}: dim {tuple(dim)} names an axis twice")
        return axes
    if ndim == 0 and dim in (0, -1):
        return ()
    return (normalize_axis(name, dim, ndim),)
