"""What a kernel is: a named, documented function from arrays to arrays, and the table of those that run.

A kernel is declared once, by its NumPy reference: the function's body is the arithmetic in the plainest form,
its docstring is the contract, and `infer` gives the shape and dtype of the results without running it. Backends
replace the body, never the contract. `active` holds the implementations in force; ops call kernels through it,
unchecked, because the op has already checked its operands. People call the `Kernel` objects themselves,
which check first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Spec(NamedTuple):
    """The shape and dtype of an array that does not exist yet."""

    shape: tuple[int, ...]
    dtype: np.dtype


def aligned(value: Any) -> Array:
    """The array of a value; a copy where its elements do not lie at multiples of their size, which compiled code takes
    for granted."""
    array = value if type(value) is Array else np.asarray(value)
    return array if array.flags.aligned else array.copy()


class Kernel:
    """A kernel of the vocabulary; calling it checks the operands, then runs the backend in force.

    Attributes:
        name: the kernel's name in every backend's table.
        reference: the NumPy implementation that every backend is held to.
        infer: same parameters as the kernel; reads only `.shape` and `.dtype` of the arrays, raises
            ValueError or TypeError where they do not fit, and returns a Spec (or a tuple of them, None
            where the kernel returns None).
        parameters: the parameter names, in order.
        arrays: those of them that are arrays.
        sequences: those of `arrays` that are tuples of arrays.
        mutates: those of them that the kernel changes in place.
    """

    def __init__(
        self, reference: Callable[..., Any], infer: Callable[..., Any], mutates: tuple[str, ...], arithmetic: bool
    ) -> None:
        code = getattr(reference, "__wrapped__", reference).__code__
        self.name = reference.__name__
        self.reference = np.errstate(all="ignore")(reference) if arithmetic else reference
        self.infer = infer
        self.mutates = mutates
        self.parameters = code.co_varnames[: code.co_argcount]
        self.arrays = frozenset(p for p in self.parameters if "Array" in str(reference.__annotations__[p]))
        self.sequences = frozenset(p for p in self.arrays if str(reference.__annotations__[p]).startswith("tuple["))
        self._take = {p: self._how_to_take(p) for p in self.arrays}
        self.__doc__ = reference.__doc__

    def __call__(self, *args: Any, **attributes: Any) -> Any:
        if len(args) > len(self.parameters):
            raise TypeError(f"{self.name}: takes {len(self.parameters)} arguments {self.parameters}, got {len(args)}")
        take = self._take
        operands = [
            take[name](value) if name in take and value is not None else value
            for name, value in zip(self.parameters, args, strict=False)
        ]
        for name, value in attributes.items():
            if name in take and value is not None:
                attributes[name] = take[name](value)
        self.infer(*operands, **attributes)
        made = getattr(active, self.name)(*operands, **attributes)
        if type(made) is tuple:
            return tuple(np.asarray(a) if isinstance(a, np.generic) else a for a in made)
        return np.asarray(made) if isinstance(made, np.generic) else made

    def _changeable(self, name: str, value: Any) -> Array:
        array = np.asarray(value)
        if not array.flags.aligned:
            raise ValueError(f"{self.name}: {name} is changed in place, and its elements lie at odd addresses; copy it")
        return array

    def _how_to_take(self, name: str) -> Callable[[Any], Any]:
        """What makes an argument the operand that the kernel expects."""
        if name in self.sequences:
            return lambda values: tuple(map(aligned, values))
        return functools.partial(self._changeable, name) if name in self.mutates else aligned

    def __repr__(self) -> str:
        return f"<kernel {self.name}({', '.join(self.parameters)})>"


class Composed(Kernel):
    """A kernel that is a composition of others, which a backend may have in one pass: it is written as
    composition(k, …), with k a table of kernels. Tables that run nothing themselves take the composition."""

    def __init__(
        self, composition: Callable[..., Any], infer: Callable[..., Any], mutates: tuple[str, ...], arithmetic: bool
    ) -> None:
        @functools.wraps(composition)
        def reference(*args: Any, **attributes: Any) -> Any:
            return composition(references, *args, **attributes)

        super().__init__(reference, infer, mutates, arithmetic)
        self.composition = composition
        self.parameters = self.parameters[1:]

    def by(self, table: Any) -> Callable[..., Any]:
        """The kernel, made of the table's."""
        return functools.partial(self.composition, table)


TABLE: dict[str, Kernel] = {}
"""The vocabulary: every kernel by name."""


class _References:
    """The reference of each kernel, by name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in TABLE:
            raise AttributeError(name)
        return TABLE[name].reference


references = _References()
"""A table like `active`: what runs is the same whatever backend is in force."""

active = SimpleNamespace(
    hold=lambda tensors: None,
    new=lambda array: array,
    look=lambda array: None,
    calls=lambda function: None,
    ask=lambda tensors: None,
    clear=lambda tensors: None,
    guard=lambda read: None,
    read=lambda function, count: function(),
    host=lambda function, count: function(),
    share=np.may_share_memory,
    made=lambda op, operands, results: None,
    watch=lambda algebra: algebra,
)
"""The implementations in force, by kernel name; `retrograd.backends.use` fills it.

Beside the kernels it has what only a table that writes calls down needs to be told: `hold(tensors)`, these lend their
memory to the calls that follow; `new(array)`, this one was just made, and is made anew when the calls are repeated;
`look(array)`, Python is about to read its numbers; `calls(function)`, this one of the user's is about to run;
`ask(tensors)`, whether these have gradients decides what follows; `clear(tensors)`, the gradients of these were
dropped; `guard(read)`, what follows depends on what read() returns; `read(function, count)`, which gives the `count`
numbers that function() reads from settings; and `host(function, count)`, the same for a function that changes
something, to be called at this step and at every later one. `share(a, b)` says whether two arrays lie in one memory. A
table that looks at what is calculated is told of each op's results by `made(op, operands, results)`, on tensors, and of
each sweep by `watch(algebra)`, whose answer takes the algebra's place."""


revision = [0]
"""How often a setting changed that a compiled step may depend on: the backend, what requires grad, where a parameter's
memory is, an optimizer's options, a module's mode, members and hooks. A step that has looked need not look again before
this moves."""


def revise() -> None:
    """Count such a change."""
    revision[0] += 1


def kernel(
    infer: Callable[..., Any], mutates: tuple[str, ...] = (), arithmetic: bool = True, kind: type[Kernel] = Kernel
) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare a kernel: the decorated function is its reference, `infer` its shape rule, `mutates` what it changes.

    A kernel gives inf or NaN without a warning, as IEEE arithmetic does, whatever np.seterr says; one that does no
    `arithmetic` has none to silence. A reference may give a NumPy scalar for an array without axes.
    """

    def declare(reference: Callable[..., Any]) -> Kernel:
        declared = kind(reference, infer, mutates, arithmetic)
        TABLE[declared.name] = declared
        setattr(active, declared.name, declared.reference)
        return declared

    return declare


def activate(table: dict[str, Callable[..., Any]]) -> None:
    """Put a backend's implementations in force; a kernel that `table` lacks runs its reference or, if it is composed,
    the kernels that it is made of."""
    for name, declared in TABLE.items():
        otherwise = declared.by(active) if isinstance(declared, Composed) else declared.reference
        setattr(active, name, table.get(name, otherwise))
    revise()


def broadcast(name: str, *arrays: Any) -> tuple[int, ...]:
    """The shape that the operands of `name` broadcast to, or a ValueError that shows them."""
    shape = arrays[0].shape
    for a in arrays[1:]:
        if a.shape != shape:
            joint = _joint(shape, a.shape)
            if joint is None:
                shapes = " and ".join(str(tuple(a.shape)) for a in arrays)
                raise ValueError(
                    f"{name}: shapes {shapes} do not broadcast; from the last axis backwards, "
                    "sizes must be equal or one of them 1"
                )
            shape = joint
    return shape


def _joint(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    # ten times as fast as np.broadcast_shapes, and an op asks at every call
    if len(a) < len(b):
        a, b = b, a
    sizes = list(a)
    for i, n in enumerate(b, len(a) - len(b)):
        if sizes[i] == 1:
            sizes[i] = n
        elif n not in (1, sizes[i]):
            return None
    return tuple(sizes)


def reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape that is left of `shape` when `axes` (each in [0, ndim)) are reduced."""
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def same_shape(name: str, **arrays: Any) -> tuple[int, ...]:
    """The one shape that all the named arrays have, or a ValueError that shows them."""
    shapes = {k: tuple(a.shape) for k, a in arrays.items() if a is not None}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{name}: expected equal shapes, got " + ", ".join(f"{k} {s}" for k, s in shapes.items()))
    return next(iter(shapes.values()))


def same_dtype(name: str, *arrays: Any) -> np.dtype:
    """The one floating dtype that all the arrays have, or a TypeError that shows them."""
    dtypes = [a.dtype for a in arrays if a is not None]
    dtype = dtypes[0]
    if dtypes.count(dtype) != len(dtypes) or dtype.kind != "f":
        raise TypeError(f"{name}: expected one floating dtype, got {', '.join(map(str, dtypes))}")
    return dtype
