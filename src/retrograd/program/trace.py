"""The trace: runs a step with arrays that hold no numbers, and writes down the kernel calls.

While a thread traces, `state.kernels` is a Tracer: the ops, the rules and the optimizers are the ones that run eagerly,
and only the moment of execution differs.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..kernels.precision import get_matmul_precision
from ..kernels.spec import TABLE, Kernel, Spec
from ..ops.rule import Number
from ..tensor import Tensor
from .ir import CONSTANT, HELD, INPUT, TEMPORARY, Buffer, Instruction, Operand, Scalar, c_strides

_PACKAGE = str(Path(__file__).parent.parent)


class TraceError(RuntimeError):
    """A step did something that a program cannot hold; names the line and the alternatives."""


def user_line() -> str:
    """Where in the user's code the trace is, as file:line: code."""
    frames = [f for f in traceback.extract_stack(sys._getframe(1)) if not f.filename.startswith(_PACKAGE)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "?"


def _refuse(what: str) -> TraceError:
    return TraceError(
        f"compile: {what} of a tensor whose value is not known yet, at {user_line()}; while a step is traced, "
        "tensors have shapes but no numbers. Return the tensor from the step and look at it outside; for a branch use "
        "rg.where(), rg.maximum() or rg.clamp(); or leave @rg.compile away"
    )


class _Flags(NamedTuple):
    """What eager code asks of an array's memory."""

    carray: bool
    writeable: bool = True


class Traced:
    """What stands in a Tensor for its array during a trace: a shape and a dtype, and where the numbers will be."""

    __slots__ = ("operand",)

    def __init__(self, operand: Operand) -> None:
        self.operand = operand

    @property
    def shape(self) -> tuple[int, ...]:
        return self.operand.shape

    @property
    def dtype(self) -> np.dtype:
        return self.operand.buffer.dtype

    @property
    def ndim(self) -> int:
        return len(self.operand.shape)

    @property
    def size(self) -> int:
        return self.operand.size

    @property
    def nbytes(self) -> int:
        return self.operand.nbytes

    @property
    def flags(self) -> _Flags:
        return _Flags(self.operand.contiguous)

    @property
    def T(self) -> Traced:
        return Traced(_transposed(self.operand, tuple(range(self.ndim))[::-1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise _refuse("NumPy's reading")

    def reshape(self, shape: tuple[()]) -> Traced:
        """A tensor's way to its one element, of which something is asked then."""
        return self

    def __bool__(self) -> bool:
        raise _refuse("the truth")

    def __float__(self) -> float:
        raise _refuse("the value")

    def __int__(self) -> int:
        raise _refuse("the value")

    def __getattr__(self, name: str) -> Any:
        raise _refuse("NumPy's reading" if name.startswith("__array") else f"{name}()")


def _transposed(x: Operand, axes: tuple[int, ...]) -> Operand:
    return x._replace(shape=tuple(x.shape[a] for a in axes), strides=tuple(x.strides[a] for a in axes))


def reshaped(x: Operand, shape: tuple[int, ...]) -> Operand | None:
    """The same elements under another shape, or None where strides cannot express it."""
    if x.contiguous:
        return x._replace(shape=shape, strides=c_strides(shape))
    # let NumPy's rule decide, on an array that only pretends to have memory
    item = x.dtype.itemsize
    pretend = np.lib.stride_tricks.as_strided(np.empty(0, x.dtype), x.shape, [s * item for s in x.strides])
    try:
        pretend.shape = shape
    except AttributeError:
        return None
    return x._replace(shape=shape, strides=tuple(s // item for s in pretend.strides))


def _sliced(x: Operand, key: Any) -> Operand:
    parts = list(key) if isinstance(key, tuple) else [key]
    named = sum(1 for p in parts if p is not None and p is not Ellipsis)
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (x.ndim - named)
    offset, shape, strides, axis = x.offset, [], [], 0
    for part in parts:
        if part is None:
            shape.append(1)
            strides.append(0)
            continue
        n, s = x.shape[axis], x.strides[axis]
        axis += 1
        if isinstance(part, slice):
            start, stop, step = part.indices(n)
            count = len(range(start, stop, step))
            offset += start * s if count else 0
            shape.append(count)
            strides.append(s * step)
        else:
            offset += (int(part) % n) * s
    return Operand(x.buffer, offset, tuple(shape), tuple(strides))


VIEWS = ("reshape", "transpose", "broadcast_to", "slice_view")
"""Kernels that only look at memory another way: no call is written down for them."""


class Tracer:
    """A kernel table that writes calls down. `tracer.name(…)` for each kernel of the vocabulary."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.buffers: list[Buffer] = []
        self.scalars: list[Scalar] = []
        self.reads: list[tuple[Callable[[], Any], int]] = []
        self.host_calls: list[tuple[Callable[[], Any], int]] = []
        self.host_scalars: list[Scalar] = []
        self.held: dict[int, tuple[Tensor | np.ndarray, Buffer]] = {}
        self.leaves: dict[int, Tensor] = {}
        self.cleared: set[int] = set()
        self.guards: list[tuple[Callable[[], Any], Any]] = []
        self.guard(get_matmul_precision)
        self.entry_grads: list[tuple[Tensor, Tensor | None]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in TABLE:
            raise AttributeError(name)
        kernel = TABLE[name]
        call = getattr(self, f"_{name}") if name in VIEWS else None

        def record(*args: Any, **attributes: Any) -> Any:
            return self._record(kernel, dict(zip(kernel.parameters, args, strict=False)) | attributes)

        chosen = call or record
        self.__dict__[name] = chosen
        return chosen

    # Memory

    def buffer(self, size: int, dtype: np.dtype, role: str, array: np.ndarray | None = None) -> Buffer:
        made = Buffer(len(self.buffers), size, np.dtype(dtype), role, array)
        self.buffers.append(made)
        return made

    def input(self, shape: tuple[int, ...], dtype: np.dtype) -> Traced:
        """The next array argument of the step."""
        size = int(np.prod(shape, dtype=np.int64))
        return Traced(Operand(self.buffer(size, dtype, INPUT), 0, shape, c_strides(shape)))

    def hold(self, tensors: Any) -> None:
        """These tensors' memory lives outside the step: the program reads and writes it where it is."""
        for t in tensors:
            if t is None or isinstance(t, Number) or t.edge is not None or type(t.array) is not np.ndarray:
                continue
            if id(t) not in self.leaves:
                self.leaves[id(t)] = t
                self._outside(t.array, HELD, t)
                self.guard(functools.partial(getattr, t, "requires_grad"))
                if t.requires_grad:
                    self.entry_grads.append((t, t.grad))

    def clear(self, tensors: Any) -> None:
        """The gradients of these were dropped inside the step: what they were before it does not matter."""
        self.cleared.update(id(t) for t in tensors)

    def made(self, op: Any, operands: Any, results: Any) -> None:
        """An op has made these: nothing to look at."""

    def watch(self, algebra: Any) -> Any:
        """A sweep begins: nothing to look at."""
        return algebra

    def guard(self, read: Callable[[], Any]) -> None:
        """The trace is good only while read() returns what it returns now."""
        self.guards.append((read, read()))

    def _outside(self, array: np.ndarray, role: str, owner: Tensor | np.ndarray) -> Operand:
        found = self.held.get(id(array))
        if found is None:
            flat = array if array.flags.c_contiguous else None
            if flat is None:
                raise TraceError(
                    f"compile: a tensor of shape {array.shape} that the step holds on to is not contiguous; clone() it"
                )
            buffer = self.buffer(array.size, array.dtype, role, array)
            found = self.held[id(array)] = (owner, buffer)
        return Operand(found[1], 0, array.shape, c_strides(array.shape))

    def operand(self, value: Any) -> Operand:
        """The operand that an argument of a kernel stands for."""
        if isinstance(value, Traced):
            return value.operand
        array = np.asarray(value)
        if id(array) not in self.held:
            base = array
            while isinstance(base.base, np.ndarray):
                base = base.base
            if id(base) in self.held and base.flags.c_contiguous:  # a view of memory that is held
                start = (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // base.itemsize
                strides = tuple(s // array.itemsize for s in array.strides)
                return Operand(self.held[id(base)][1], start, array.shape, strides)
            array = np.ascontiguousarray(array).reshape(array.shape)
        return self._outside(array, CONSTANT, array)

    # Calls

    def read(self, function: Callable[[], Any], count: int) -> tuple[Scalar, ...]:
        """Numbers that are read from settings, again whenever those may have changed."""
        made = [Scalar() for _ in range(count)]
        self.scalars += made
        self.reads.append((function, count))
        return tuple(made)

    def host(self, function: Callable[[], Any], count: int) -> tuple[Scalar, ...]:
        """Numbers that Python works out at each call of the step, before its program runs."""
        made = [Scalar() for _ in range(count)]
        self.host_scalars += made
        self.host_calls.append((function, count))
        return tuple(made)

    def number_scalars(self) -> list[Scalar]:
        """All of them, those that are read first."""
        scalars = self.scalars + self.host_scalars
        for number, scalar in enumerate(scalars):
            scalar.number = number
        return scalars

    def _record(self, kernel: Kernel, call: dict[str, Any]) -> Any:
        for name in kernel.arrays & call.keys():
            value = call[name]
            if isinstance(value, (tuple, list)):
                call[name] = tuple(self.operand(v) for v in value)
            elif value is not None:
                call[name] = self.operand(value)
        spec = kernel.infer(**call)
        specs = () if spec is None else (spec,) if isinstance(spec, Spec) else spec
        outputs = tuple(None if s is None else self._temporary(s) for s in specs)
        writes = tuple(call[name] for name in kernel.mutates if call.get(name) is not None)
        for operand in writes:
            if operand.buffer.role == CONSTANT:
                operand.buffer.role = HELD  # not constant after all: memory of an optimizer, say
        self.instructions.append(Instruction(kernel.name, call, outputs, writes))
        made = tuple(None if o is None else Traced(o) for o in outputs)
        return made[0] if isinstance(spec, Spec) else made if specs else None

    def _temporary(self, spec: Spec) -> Operand:
        shape = tuple(int(n) for n in spec.shape)
        size = int(np.prod(shape, dtype=np.int64))
        return Operand(self.buffer(size, spec.dtype, TEMPORARY), 0, shape, c_strides(shape))

    # Views: other operands over the same buffer, no call

    def _reshape(self, x: Any, shape: tuple[int, ...]) -> Traced:
        view = reshaped(self.operand(x), tuple(shape))
        return Traced(view) if view is not None else self.reshape(self.copy(x), shape)

    def _transpose(self, x: Any, axes: tuple[int, ...]) -> Traced:
        return Traced(_transposed(self.operand(x), axes))

    def _broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Traced:
        x = self.operand(x)
        lead = len(shape) - x.ndim
        strides = (0,) * lead + tuple(
            s if n == m else 0 for n, m, s in zip(x.shape, shape[lead:], x.strides, strict=True)
        )
        return Traced(x._replace(shape=tuple(shape), strides=strides))

    def _slice_view(self, x: Any, key: Any) -> Traced:
        return Traced(_sliced(self.operand(x), key))
