"""rg.compile: a step that is traced once for each signature of its inputs, and then runs as one Program."""

from __future__ import annotations

import functools
import sys
import threading
import types
import warnings
from collections.abc import Callable, Hashable, Sequence
from operator import is_
from typing import Any

import numpy as np

from ..kernels.spec import Array, active
from ..tape import state
from ..tensor import Tensor
from .advance import advance
from .containers import array_of, describe_signature, map_arrays, signature
from .epochs import run_epochs
from .fast_path import FRAMES, MISSED, Caller, FastPath, fast_path
from .fuse import fuse
from .ir import Operand, Program
from .memory import plan_memory
from .merge import merge
from .names import Names
from .observe import Observer, ask, observers
from .plan import Plan, keep_gradients, place_results
from .prune import prune
from .tile import tile
from .trace import Traced, Tracer, is_of_library

PASSES = ("merge", "prune", "fuse", "tile", "advance", "plan_memory")


class CompiledStep(Caller):
    """What rg.compile returns: call it as the step itself, or run() it over epochs of minibatches.

    Attributes:
        calls: how many calls there were while any observer was in force.
        due, next_observer: how many of them there will have been before the next that is observed, and who observes
            it; 0 and None, they are to be asked.
    """

    __name__: str

    def __init__(
        self, function: Callable[..., Any], passes: tuple[str, ...], cache_size: int, slice_rows: int | None
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._passes = passes
        self._cache_size = cache_size
        self._slice_rows = slice_rows
        self._home: tuple[Any, str] | None = None  # the object, and the name, of a method
        self._plans: dict[Any, list[Plan]] = {}
        self._latest: Any = None
        self._fast_paths: dict[tuple[Plan, int], FastPath] = {}
        # the plan of the latest call, if its arguments were all arrays, and the call
        self._latest_plan: Plan | None = None
        self._latest_call: FastPath | None = None
        self._observers: Sequence[Observer] = observers
        self._observed: dict[Hashable, ObservedStep] = {}
        self._latest_observed: ObservedStep | None = None
        self._observed_calls = -1  # what `calls` was after the last one that was observed
        self._workspace: dict[Any, Any] = {}
        self._turn = threading.Lock()
        self.calls = 0
        self.due: float = 0
        self.next_observer: Observer | None = None

    def __get__(self, owner: Any, kind: type | None = None) -> CompiledStep:
        """A method's step: each object has its own."""
        if owner is None:
            return self
        step = CompiledStep(types.MethodType(self._function, owner), self._passes, self._cache_size, self._slice_rows)
        step._home = owner, self.__name__
        owner.__dict__[self.__name__] = step  # found before the class's from now on
        return step

    def __reduce__(self) -> Any:
        """Copied and pickled as its function is, without programs; by its name where that stands for the step."""
        if self._home is not None:
            return getattr, self._home
        found: Any = sys.modules.get(self.__module__)
        name = getattr(self, "__qualname__", "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        return CompiledStep, (self._function, self._passes, self._cache_size, self._slice_rows)

    @property
    def program(self) -> Program:
        """The program that ran last; one with an observer's ops only where no other has run.

        Raises:
            RuntimeError: the step has not been called yet.
        """
        latest = self._latest or next((step._latest for step in self._observed.values()), None)
        if latest is None:
            raise RuntimeError(f"compile: {self.__name__} has no program before its first call")
        return latest.program

    def _call_otherwise(self, *args: Any, **kwargs: Any) -> Any:
        if state.kernels is not active or state.running:  # a part of another's trace; a finalizer
            return self._function(*args, **kwargs)
        if self._observers:
            if self.calls >= self.due and (observer := self.next_observer or ask(self)) is not None:
                return self._observed_call(observer, args, kwargs)
            self.calls += 1
            latest = self._latest_call
            if latest is not None and (made := latest(*args, **kwargs)) is not MISSED:
                return made
        inputs: list[Array] = []
        plan = self.plan(args, kwargs, inputs)
        return plan.run(inputs)

    def _observed_call(self, observer: Observer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        step = self._latest_observed
        if step is None or step.observer is not observer:
            step = self._latest_observed = self._observed_by(observer)
        observer.prepare()
        plan = self._latest_plan if self.calls > self._observed_calls else None
        returned, reading = step.call_after(plan, args, kwargs)
        self.calls += 1
        self._observed_calls = self.calls
        self.due = observer.receive(self, reading)
        if len(observers) > 1:
            ask(self)
        return returned

    def _observed_by(self, observer: Observer) -> ObservedStep:
        """The step with this observer's ops around it."""
        step = self._observed.get(observer.key)
        if step is None:
            step = self._observed[observer.key] = ObservedStep(
                self._function, self._passes, self._cache_size, self._slice_rows
            )
            step._workspace, step._turn = self._workspace, self._turn
        step.observer = observer
        return step

    def plan(self, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: list[Array]) -> Plan:
        """The plan for a call with these arguments, traced now if need be; what to run it on goes on the list."""
        key = (state.recording, signature((args, kwargs), inputs))
        plan = next((p for p in self._plans.get(key, ()) if p.valid()), None)
        if plan is None:
            self._make_room()
            plan = self._trace(args, kwargs)
            self._plans.setdefault(key, []).append(plan)
        self._latest = plan
        inputs[:] = map(plan.readable, inputs)
        plain = not kwargs and all(isinstance(a, (Tensor, np.ndarray)) for a in args)
        self._latest_plan = plan if plain else None
        self._latest_call = self._fast_path(plan, inputs, args) if plain else None
        return plan

    def _fast_path(self, plan: Plan, inputs: list[Array], args: Sequence[Any]) -> FastPath:
        """Calls of the plan with arguments such as these, the first of the inputs, and the other inputs as they are."""
        path = self._fast_paths.get((plan, len(args)))
        if path is None:
            path = self._fast_paths[plan, len(args)] = fast_path(plan, inputs, args)
        path.inputs = inputs
        return path

    def plan_of(self, arrays: list[Array]) -> Plan:
        """The plan for a call with these arrays."""
        plan = self._latest_plan
        if plan is not None and plan.recording is state.recording and plan.fits(arrays) and plan.valid():
            return plan
        return self.plan(tuple(map(Tensor, arrays)), {}, [])

    def run(
        self,
        *data: Any,
        batch_size: int,
        epochs: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        callback: Callable[[int, dict[str, Any]], Any] | None = None,
        progress: bool = False,
    ) -> Array:
        """Whole epochs of minibatches: the step is called on `batch_size` rows of each array at a time.

        The batches are those of rg.data.batches with the same arguments. Ctrl-C stops between two steps.

        Args:
            data: arrays or tensors with one number of rows, the arguments of the step.
            batch_size: rows a step; the last of an epoch has what is left.
            epochs: how often to go over the data.
            shuffle: take the rows in another order each epoch, a function of seed and epoch alone.
            seed: a whole number in [0, 2**64).
            drop_last: leave out a last batch that is not full.
            callback: called as callback(epoch, info) after each epoch (from 0); info has "losses", those of its steps,
                and "rows_per_second". The run ends where it returns True.
            progress: show a bar; needs tqdm, of the extra retrograd[train].

        Returns:
            the first tensor that the step returns, which must be a scalar, of each step: (steps,).

        Raises:
            ValueError: numbers of rows differ, batch_size or epochs are not positive, or the step returns no scalar.
            ImportError: progress without tqdm.
        """
        return run_epochs(self, data, batch_size, epochs, shuffle, seed, drop_last, callback, progress)

    def _make_room(self) -> None:
        traced = sum(len(plans) for plans in self._plans.values())
        if traced < self._cache_size:
            return
        signatures = list(self._plans)
        seen = " and then ".join(describe_signature(arguments) for _, arguments in signatures[-2:])
        warnings.warn(
            f"compile: {self.__name__} was traced {traced} times, for {len(signatures)} signatures of its inputs, "
            f"lately {seen}; the oldest program is dropped. Keep shapes, dtypes, Python arguments and the model's mode "
            "the same between calls, or raise cache_size",
            stacklevel=4 + FRAMES,
        )
        oldest = next(iter(self._plans))
        dropped = self._plans[oldest].pop(0)
        self._fast_paths = {key: path for key, path in self._fast_paths.items() if key[0] is not dropped}
        if not self._plans[oldest]:
            del self._plans[oldest]

    def _trace(self, args: Any, kwargs: Any) -> Plan:
        set_before = [pair for plans in self._plans.values() for p in plans for pair in p.gradients]
        tracer = Tracer((leaf, leaf.grad) for leaf, _ in set_before)
        tracer.calls(self._function)
        names = Names([self._function], is_of_library)
        inputs: list[Operand] = []

        def traced(value: Any) -> Tensor:
            like = array_of(value)
            made = tracer.input(like.shape, like.dtype)
            inputs.append(made.operand)
            return Tensor(made, isinstance(value, Tensor) and value.requires_grad)  # type: ignore[arg-type]

        previous = state.kernels
        state.kernels = tracer
        try:
            traced_args, traced_kwargs = map_arrays(traced, (args, kwargs))
            results: list[Operand] = []
            returned = place_results(self._function(*traced_args, **traced_kwargs), tracer, results)
            gradients = keep_gradients(tracer, [grad for _, grad in set_before if grad is not None])
        except BaseException:
            for leaf in tracer.leaves.values():
                if leaf._grad is not None and isinstance(leaf._grad.array, Traced):
                    leaf._grad = None
            for leaf, grad in tracer.entry_grads.values():
                leaf._grad = grad
            raise
        finally:
            state.kernels = previous
        for name, then, now in names.rebound():
            warnings.warn(
                f"compile: {self.__name__} makes {name} {now!r}, which was {then!r}; Python runs while the step is "
                f"traced, not at each call, and {name} stays what it is now. Change it outside of the step; or keep it "
                "in a tensor, and use add_() under rg.no_grad()",
                stacklevel=4 + FRAMES,
            )
        program = Program(tracer.instructions, tracer.buffers, inputs, results, tracer.number_scalars())
        if "merge" in self._passes:
            merge(program)
        if "prune" in self._passes:
            prune(program)
        if "fuse" in self._passes:
            fuse(program)
        if "tile" in self._passes:
            tile(program, self._slice_rows)
        if "advance" in self._passes:
            advance(program)
        plan_memory(program, share="plan_memory" in self._passes)
        program.workspace = self._workspace
        return Plan(tracer, program, returned, gradients, state.recording, self._turn)


class ObservedStep(CompiledStep):
    """A step with an observer's ops around it: its programs serve all observers of one key."""

    def __init__(
        self, function: Callable[..., Any], passes: tuple[str, ...], cache_size: int, slice_rows: int | None
    ) -> None:
        observed = functools.wraps(function)(lambda *args, **kwargs: self.observer.observe(function, *args, **kwargs))
        super().__init__(observed, passes, cache_size, slice_rows)
        self._observers = ()
        self.observer = Observer()
        self._follows: Plan | None = None  # the plan whose gradients the latest call took, where they lie
        self._call_after: FastPath | None = None  # that call, of the other arguments

    def call_after(self, plan: Plan | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call after one that ran this plan, or None for what is not known. Where the latest call read the gradients
        that the same plan had left, this one reads them where they lay."""
        if plan is not None and plan is self._follows and not kwargs:
            made = self._call_after(*args)  # type: ignore[misc]  # there is one where it follows a plan
            if made is not MISSED:
                return made
        given = self.observer.given()
        returned = self(*args, *given, **kwargs)
        self._follows = None
        own, latest = self._latest_plan, self._latest_call
        if own is None or latest is None or plan is None or not plan.leaves(given):
            return returned
        if all(map(is_, latest.inputs[len(args) :], given)):  # as they lie
            self._follows, self._call_after = plan, self._fast_path(own, latest.inputs, args)
        return returned


def compile(
    function: Callable[..., Any] | None = None,
    *,
    passes: tuple[str, ...] = PASSES,
    cache_size: int = 16,
    slice_rows: int | None = None,
) -> Any:
    """Turn a step into one program that the backend runs in one call.

    The step is any function written with the public API: forward, loss, backward, optimizer, or a forward pass
    alone. Its first call, for each signature of its inputs (shapes, dtypes, Python values, training mode), runs it
    with tensors that hold no numbers, to write down the kernel calls; every call runs the program. Parameters,
    optimizer state and learning rates are read at each call. It is traced again where a name that it finds outside
    (a global, a variable of a function around, an attribute) has come to stand for something else, or an index
    array or a number that the trace had to look at has changed; what NumPy or Python works out in the step, and
    what it finds in lists and dictionaries, is worked out at the trace only. A gradient that it leaves lies where
    that of the call before did. A method may be compiled; each object then has a step of its own. Arguments are
    what they were when it was called, also where one is memory that the step changes; their grad stays as it is.
    What the step returns comes back as tensors without history.

    A step that ends with zero_grad() leaves no gradients behind: then those of large layers are not even stored, each
    piece of the weights being updated as soon as its gradient is there.

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
