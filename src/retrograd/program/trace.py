"""The trace: runs a step with arrays that hold no numbers, and writes down the kernel calls.

While a thread traces, `state.kernels` is a Tracer: the ops, the rules and the optimizers are the ones that run eagerly,
and only the moment of execution differs.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import get_default_dtype
from ..kernels.precision import get_matmul_precision
from ..kernels.spec import TABLE, Composed, Kernel, Spec, active
from ..ops.rule import Number
from ..tape import state
from ..tensor import Tensor
from .ir import CONSTANT, HELD, INPUT, TEMPORARY, Buffer, Instruction, Operand, Scalar, c_strides, sliced

_LIBRARIES = (str(Path(__file__).parent.parent), str(Path(np.__file__).parent))


class TraceError(RuntimeError):
    """A step did something that a program cannot hold; names the line and the alternatives."""


def _form(leaf: Tensor) -> tuple[Any, ...]:
    """What of a leaf decides how a step runs, beside its gradient."""
    return leaf.requires_grad, tuple(leaf._hooks or ())


def user_line() -> str:
    """Where in the user's code the trace is, as file:line: code."""
    frames = [f for f in traceback.extract_stack(sys._getframe(1)) if not f.filename.startswith(_LIBRARIES)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "?"


def is_of_library(code: CodeType) -> bool:
    """Whether a function is of this package, or of NumPy."""
    return code.co_filename.startswith(_LIBRARIES)


def _refuse(what: str) -> TraceError:
    if state.kernels is active:
        return TraceError(
            f"compile: {what} of a tensor that was made while a step was traced, at {user_line()}; it stands for what "
            "the step calculates, and has no value outside of it. Return it from the step; or keep a tensor outside, "
            "and write into it in the step, with copy_() or add_() under rg.no_grad()"
        )
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


def memory_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of this one, or the nearest to it that is an array."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _strides(array: np.ndarray) -> tuple[int, ...]:
    return c_strides(array.shape) if array.flags.c_contiguous else tuple(s // array.itemsize for s in array.strides)


VIEWS = ("reshape", "transpose", "broadcast_to", "slice_view")
"""Kernels that only look at memory another way: no call is written down for them."""


class Tracer:
    """A kernel table that writes calls down. `tracer.name(…)` for each kernel of the vocabulary.

    Args:
        gradients: leaves that the step may ask for, each with its grad as the step begins; those of other leaves are
            taken to be what they are when the step first meets them.
    """

    def __init__(self, gradients: Iterable[tuple[Tensor, Tensor | None]] = ()) -> None:
        self.first_grads = {id(leaf): grad for leaf, grad in gradients}
        self.instructions: list[Instruction] = []
        self.buffers: list[Buffer] = []
        self.scalars: list[Scalar] = []
        self.reads: list[tuple[Callable[[], Any], int]] = []
        self.host_calls: list[tuple[Callable[[], Any], int]] = []
        self.host_scalars: list[Scalar] = []
        self.held: dict[int, tuple[Tensor | np.ndarray, Operand]] = {}
        self.made_here: dict[int, np.ndarray] = {}
        self.looked_at: dict[int, tuple[np.ndarray, bytes, str]] = {}
        self.leaves: dict[int, Tensor] = {}
        self.cleared: dict[int, Tensor] = {}
        self.asked: set[int] = set()
        self.guards: list[tuple[Callable[[], Any], Any]] = []
        self.functions: list[Callable[..., Any]] = []
        self.guard(get_matmul_precision)
        self.guard(get_default_dtype)
        self.entry_grads: dict[int, tuple[Tensor, Tensor | None]] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in TABLE:
            raise AttributeError(name)
        kernel = TABLE[name]
        call = getattr(self, f"_{name}") if name in VIEWS else None

        def record(*args: Any, **attributes: Any) -> Any:
            return self._record(kernel, dict(zip(kernel.parameters, args, strict=False)) | attributes)

        chosen = kernel.by(self) if isinstance(kernel, Composed) else call or record
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
            if id(t.array) in self.made_here:
                if t.requires_grad:  # a leaf of the step's own, at each call another
                    t.array = self.copy(t.array)
                continue
            if id(t) not in self.leaves:
                self.leaves[id(t)] = t
                self._outside(t.array, HELD, t)
                self.guard(functools.partial(_form, t))
            self.entry_grads.setdefault(id(t), (t, self.first_grads.get(id(t), t._grad)))

    def new(self, array: np.ndarray) -> np.ndarray:
        """The step has made this array: it starts with the same numbers at each call."""
        self.made_here[id(array)] = array
        return array

    def look(self, array: Any) -> None:
        """Python reads these numbers: the trace is good only while they are the same."""
        if isinstance(array, np.ndarray) and array.flags.writeable and id(array) not in self.looked_at:
            self.looked_at[id(array)] = array, array.tobytes(), user_line()

    def require_unchanged(self, written: frozenset[int]) -> list[tuple[np.ndarray, bytes]]:
        """The arrays outside that Python read, each with its bytes.

        Raises:
            TraceError: the step changes one of them.
        """
        for key, (array, _, line) in self.looked_at.items():
            base = id(array if array.base is None else array.base)
            if key in written or base in written or self.is_rewritten(array):
                raise TraceError(
                    f"compile: the value of a tensor of shape {array.shape} is read, at {line}, which the step "
                    "changes; read it outside of the step, and pass what was read as an argument"
                )
        return [(a, numbers) for key, (a, numbers, _) in self.looked_at.items() if key not in self.made_here]

    def is_rewritten(self, array: np.ndarray) -> bool:
        """Whether the step has made this array, and changed it since."""
        return id(array) in self.made_here and id(array) in self.held and self.held[id(array)][1].buffer.array is None

    def ask(self, tensors: Any) -> None:
        """Whether these have gradients decides what follows; where the step has dropped them, it is known."""
        self.hold(tensors)
        self.asked.update(id(t) for t in tensors if id(t) not in self.cleared)

    def calls(self, function: Callable[..., Any]) -> None:
        """A function of the user's runs, as a part of the step."""
        self.functions.append(function)

    def clear(self, tensors: Any) -> None:
        """The gradients of these are dropped: what they were before the step does not matter from here on."""
        self.cleared.update((id(t), t) for t in tensors)

    def relied_on(self) -> list[tuple[Tensor, Tensor | None]]:
        """The leaves whose gradients before the step decide what it does, each with that gradient."""
        return [
            (leaf, grad)
            for leaf, grad in self.entry_grads.values()
            if (id(leaf) in self.asked if grad is None else id(grad.array) in self.held)
        ]

    def relied_on_to_be_there(self) -> list[Tensor]:
        """The leaves that had a gradient before the step, where that it was there decides what the step does, but not
        what it was."""
        return [
            leaf
            for leaf, grad in self.entry_grads.values()
            if grad is not None and id(leaf) in self.asked and id(grad.array) not in self.held
        ]

    def share(self, a: Any, b: Any) -> bool:
        """Whether these are views of one buffer."""
        return self.operand(a).buffer is self.operand(b).buffer

    def made(self, op: Any, operands: Any, results: Any) -> None:
        """An op has made these: nothing to look at."""

    def watch(self, algebra: Any) -> Any:
        """A sweep begins: nothing to look at."""
        return algebra

    def guard(self, read: Callable[[], Any]) -> None:
        """The trace is good only while read() returns what it returns now."""
        self.guards.append((read, read()))

    def _outside(self, array: np.ndarray, role: str, owner: Tensor | np.ndarray) -> Operand:
        """The operand of an array that lives outside. Arrays that are views of one memory are views of one buffer."""
        if id(array) in self.held:
            return self.held[id(array)][1]
        memory = memory_of(array)
        flat = memory if memory.flags.c_contiguous else memory.T
        if not flat.flags.c_contiguous or flat.dtype != array.dtype:
            memory = flat = array
            if not array.flags.c_contiguous:
                raise TraceError(
                    f"compile: the memory of an array of shape {array.shape} that the step holds on to is not of one "
                    "piece; clone() it"
                )
        if id(memory) not in self.held:
            if array.flags.c_contiguous and array.size == flat.size:
                flat = array  # the name by which others know all of this memory
            buffer = self.buffer(flat.size, flat.dtype, role, flat)
            self.held[id(memory)] = memory, Operand(buffer, 0, memory.shape, _strides(memory))
        buffer = self.held[id(memory)][1].buffer
        begin = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
        operand = Operand(buffer, begin // array.itemsize, array.shape, _strides(array))
        self.held[id(array)] = owner, operand
        return operand

    def operand(self, value: Any) -> Operand:
        """The operand that an argument of a kernel stands for."""
        if isinstance(value, Traced):
            buffer = value.operand.buffer
            if buffer.number >= len(self.buffers) or self.buffers[buffer.number] is not buffer:
                raise TraceError(
                    f"compile: a tensor that was made while a step was traced is used in another trace, at "
                    f"{user_line()}; it has no value outside of its step. Return it from there, and pass it to the "
                    "other step; or keep a tensor outside, and write into it, with copy_() under rg.no_grad()"
                )
            return value.operand
        array = np.asarray(value)
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
                self._is_written(operand.buffer)
        self.instructions.append(Instruction(kernel.name, call, outputs, writes))
        made = tuple(None if o is None else Traced(o) for o in outputs)
        return made[0] if isinstance(spec, Spec) else made if specs else None

    def _is_written(self, buffer: Buffer) -> None:
        """A constant that is none after all: memory of an optimizer, say, or what the step has made to write to."""
        start = buffer.array
        if id(start) not in self.made_here:
            buffer.role = HELD
            return
        buffer.role, buffer.array = TEMPORARY, None
        whole = Operand(self.buffer(buffer.size, buffer.dtype, CONSTANT, start), 0, (buffer.size,), (1,))
        begin = Instruction("copy", {"x": whole}, (whole._replace(buffer=buffer),), ())
        self.instructions.insert(0, begin)

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
        return Traced(sliced(self.operand(x), key))
