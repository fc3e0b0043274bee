"""rg.compile: a step that is traced once for each signature of its inputs, and then runs as one Program."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.spec import Array
from ..backends import registry
from ..ops.rule import as_tensor_operand
from ..tape import state
from ..tensor import Tensor
from .ir import CONSTANT, HELD, RESULT, TEMPORARY, Instruction, Operand, Program, c_strides
from .fuse import fuse
from .memory import plan_memory
from .prune import prune
from .tile import tile
from .trace import Traced, TraceError, Tracer

PASSES = ("prune", "fuse", "tile", "plan_memory")


class Plan:
    """A traced step: its program, what it belongs to, and the backend's loaded form of it."""

    def __init__(self, tracer: Tracer, program: Program, structure: Any, grads: list[tuple[Tensor, Tensor]]) -> None:
        self.program = program
        self.structure = structure
        self.grads = grads
        self.host_calls = tracer.host_calls
        self.guards = tracer.guards
        self.leaves = list(tracer.leaves.values())
        self.arrays = [t.array for t in self.leaves]
        written = {id(o.buffer.array) for i in program.instructions for o in i.written() if o.buffer.role == HELD}
        made = {id(leaf) for leaf, _ in grads}
        self.entry_grads = [
            (t, g)
            for t, g in tracer.entry_grads
            if id(t) not in tracer.cleared and (id(t) in made or (g is not None and id(g.array) in written))
        ]
        self.changed = [t for t in self.leaves if id(t.array) in written]
        self.backend = ""
        self.loaded: Any = None

    def valid(self) -> bool:
        """Whether what the trace depended on is as it was."""
        return (
            all(read() == value for read, value in self.guards)
            and all(t.array is a for t, a in zip(self.leaves, self.arrays, strict=True))
            and all(t.grad is g for t, g in self.entry_grads)
        )

    def run(self, inputs: list[Array]) -> Any:
        if self.backend != registry.current():
            self.backend = registry.current()
            self.loaded = registry.load_program(self.program)
        scalars: list[Any] = []
        for function, made in self.host_calls:
            values = function()
            scalars += values if len(made) > 1 or isinstance(values, tuple) else (values,)
        results = [np.empty(o.shape, o.dtype) for o in self.program.results]
        self.loaded.run(inputs, results, scalars)
        for t in self.changed:
            t._version[0] += 1
        for leaf, grad in self.grads:
            leaf.grad = grad
        return _fill(self.structure, [Tensor(r) for r in results])


class CompiledStep:
    """What rg.compile returns: call it as the step itself."""

    def __init__(
        self, function: Callable[..., Any], passes: tuple[str, ...], cache_size: int, slice_rows: int | None
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._passes = passes
        self._cache_size = cache_size
        self._slice_rows = slice_rows
        self._plans: dict[Any, list[Plan]] = {}
        self._latest: Plan | None = None

    @property
    def program(self) -> Program:
        """The program that ran last.

        Raises:
            RuntimeError: the step has not been called yet.
        """
        if self._latest is None:
            raise RuntimeError("compile: the step has no program before its first call")
        return self._latest.program

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inputs: list[Array] = []
        signature = (state.recording, _signature((args, kwargs), inputs))
        plans = self._plans.setdefault(signature, [])
        plan = next((p for p in plans if p.valid()), None)
        if plan is None:
            self._make_room()
            plan = self._trace(args, kwargs)
            plans.append(plan)
        self._latest = plan
        return plan.run(inputs)

    def _make_room(self) -> None:
        traced = sum(len(plans) for plans in self._plans.values())
        if traced >= self._cache_size:
            warnings.warn(
                f"compile: {self.__name__} was traced {traced} times, for {sum(map(bool, self._plans.values()))} signatures of "
                "its inputs; the oldest program is dropped. Keep shapes, dtypes and Python arguments the same between "
                "calls, or raise cache_size",
                stacklevel=4,
            )
            oldest = next(key for key, plans in self._plans.items() if plans)
            self._plans[oldest].pop(0)
            if not self._plans[oldest]:
                del self._plans[oldest]

    def _trace(self, args: Any, kwargs: Any) -> Plan:
        tracer = Tracer()
        inputs: list[Operand] = []
        state.kernels, previous = tracer, state.kernels
        try:
            traced_args, traced_kwargs = _traced((args, kwargs), tracer, inputs)
            returned = self._function(*traced_args, **traced_kwargs)
            results: list[Operand] = []
            structure = _results(returned, tracer, results)
            grads = _gradients(tracer)
        except BaseException:
            for leaf in tracer.leaves.values():
                if leaf.grad is not None and isinstance(leaf.grad.array, Traced):
                    leaf.grad = None
            for leaf, grad in tracer.entry_grads:
                leaf.grad = grad
            raise
        finally:
            state.kernels = previous
        program = Program(tracer.instructions, tracer.buffers, inputs, results, tracer.scalars)
        if "prune" in self._passes:
            prune(program)
        if "fuse" in self._passes:
            fuse(program)
        if "tile" in self._passes:
            tile(program, self._slice_rows)
        plan_memory(program, share="plan_memory" in self._passes)
        return Plan(tracer, program, structure, grads)


def compile(
    function: Callable[..., Any] | None = None,
    *,
    passes: tuple[str, ...] = PASSES,
    cache_size: int = 16,
    slice_rows: int | None = None,
) -> Any:
    """Turn a step into one program that the backend runs in one call.

    The step is any function written with the public API: forward, loss, backward, optimizer, or a forward pass alone.
    Its first call, for each signature of its inputs (shapes, dtypes, Python values, training mode), runs it with tensors
    that hold no numbers, to write down the kernel calls; every call runs the program. Parameters, optimizer state and
    learning rates are read at each call. What the step returns comes back as tensors without history.

    Args:
        function: the step; its arguments are arrays, tensors, containers of them, or plain Python values.
        passes: which of PASSES to apply.
        cache_size: how many programs are kept; beyond it the oldest goes, with a warning.
        slice_rows: the rows of the batch that run together; by default as many as the cache holds.

    Raises (at a call):
        TraceError: the step looked at a value (a branch, item(), numpy()), or did what a program cannot hold.

    Example:
        >>> import retrograd as rg
        >>> w = rg.tensor([1.0, 2.0], requires_grad=True)
        >>> @rg.compile
        ... def step(x):
        ...     w.grad = None
        ...     loss = (w * x).sum()
        ...     loss.backward()
        ...     return loss
        >>> step(rg.tensor([3.0, 4.0])), w.grad
        (tensor(11.), tensor([3., 4.]))
    """
    if function is None:
        return lambda f: compile(f, passes=passes, cache_size=cache_size, slice_rows=slice_rows)
    unknown = set(passes) - set(PASSES)
    if unknown:
        raise ValueError(f"compile: unknown passes {sorted(unknown)}; expected some of {', '.join(PASSES)}")
    return CompiledStep(function, tuple(passes), cache_size, slice_rows)


# Containers of arrays: tuples, lists and dicts, nested; everything else is a plain value


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray)) or hasattr(value, "__dlpack__")


def _signature(value: Any, inputs: list[Array]) -> Any:
    if _is_array(value):
        array = value.array if isinstance(value, Tensor) else as_tensor_operand("compile", np.asarray(value)).array
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        inputs.append(array)
        return array.shape, array.dtype
    if isinstance(value, (tuple, list)):
        return type(value), tuple(_signature(v, inputs) for v in value)
    if isinstance(value, dict):
        return dict, tuple((k, _signature(v, inputs)) for k, v in value.items())
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"compile: an argument of type {type(value).__name__} is neither an array nor hashable") from None
    return type(value), value


def _traced(value: Any, tracer: Tracer, inputs: list[Operand]) -> Any:
    if _is_array(value):
        like = value.array if isinstance(value, Tensor) else as_tensor_operand("compile", np.asarray(value)).array
        made = tracer.input(like.shape, like.dtype)
        inputs.append(made.operand)
        tensor = Tensor(made)  # type: ignore[arg-type]
        tensor._requires_grad = isinstance(value, Tensor) and value.requires_grad
        return tensor
    if isinstance(value, (tuple, list)):
        return type(value)(_traced(v, tracer, inputs) for v in value)
    if isinstance(value, dict):
        return {k: _traced(v, tracer, inputs) for k, v in value.items()}
    return value


class _Slot:
    """Where the n-th result goes in what the step returns."""

    def __init__(self, n: int) -> None:
        self.n = n


def _results(value: Any, tracer: Tracer, results: list[Operand]) -> Any:
    if isinstance(value, Tensor):
        operand = tracer.operand(value.array)
        buffer = operand.buffer
        whole = operand.contiguous and operand.offset == 0 and operand.size == buffer.size
        if buffer.role != TEMPORARY or not whole:
            operand = tracer.copy(Traced(operand)).operand
        operand.buffer.role = RESULT
        results.append(operand)
        return _Slot(len(results) - 1)
    if isinstance(value, (tuple, list)):
        return type(value)(_results(v, tracer, results) for v in value)
    if isinstance(value, dict):
        return {k: _results(v, tracer, results) for k, v in value.items()}
    return value


def _fill(structure: Any, tensors: list[Tensor]) -> Any:
    if isinstance(structure, _Slot):
        return tensors[structure.n]
    if isinstance(structure, (tuple, list)):
        return type(structure)(_fill(s, tensors) for s in structure)
    if isinstance(structure, dict):
        return {k: _fill(s, tensors) for k, s in structure.items()}
    return structure


def _gradients(tracer: Tracer) -> list[tuple[Tensor, Tensor]]:
    """The leaves whose grad the step made, each with the tensor that will hold it from step to step."""
    found = []
    for leaf in list(tracer.leaves.values()):
        if leaf.grad is None or not isinstance(leaf.grad.array, Traced):
            continue
        operand = leaf.grad.array.operand
        if operand.buffer.role != TEMPORARY or operand.strides != c_strides(operand.shape) or operand.offset:
            operand = tracer.copy(leaf.grad.array).operand
        operand.buffer.role = HELD
        operand.buffer.array = np.zeros(operand.shape, operand.dtype)
        leaf.grad = Tensor(operand.buffer.array)
        found.append((leaf, leaf.grad))
    return found
