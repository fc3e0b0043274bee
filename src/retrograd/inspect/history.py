"""watch: the measures of every n-th step of a training run, eager or compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..kernels.spec import Array, active
from ..nn.module import Module
from ..optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from ..program.containers import arrays_in
from ..program.observe import Observer, join, leave, observers
from ..tape import RemovableHandle, state
from ..tensor import Tensor
from .layers import Anatomy
from .probe import Probe, Reading, listen
from .responsibility import Report, accepted_share, learning_parameters


class Watch(Observer):
    """What watch() returns: a context manager, and afterwards the history of what it saw.

    Attributes:
        steps: the steps that were measured, counted from 0.
        reports: a Report for each of them.

    Example:
        >>> import retrograd as rg
        >>> model = rg.nn.Linear(4, 1)
        >>> with rg.inspect.watch(model, every=2) as watch:
        ...     for _ in range(3):
        ...         model(rg.ones(3, 4)).square().mean().backward()
        >>> watch.steps, [report.step for report in watch.reports], watch.report().step
        ([0, 2], [0, 2], 2)
    """

    def __init__(self, model: Module, every: int = 10, histograms: bool = False, share: float = 0.01) -> None:
        if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
            raise ValueError(f"watch: every is {every!r}, expected a whole number >= 1")
        learning_parameters("watch", model)
        self.key = Watch, model, histograms
        self._model = model
        self._every = int(every)
        self._histograms = histograms
        self._share = accepted_share("watch", share)
        self._readings: list[tuple[int, tuple[Any, ...]]] = []
        self._reports: list[Report] = []
        self._step = -1  # of the eager ones, the latest
        self._swept = True
        self._first: dict[Any, int] = {}  # of each compiled step: how many calls it had before the first that was seen
        self._due: dict[Any, float] = {}  # and until the one to measure next
        self._probe: Probe | None = None
        self._anatomy = Anatomy(model)
        self._previous: Mapping[Any, Tensor] = {}  # what the gradients were after the step before
        self._missing: dict[Any, Array] = {}  # what stands for those that were not there
        self._remembered = False
        self._updated = False
        self._tracing = False
        self._latest_measured = False
        self._counts: dict[Any, int] = {}  # of the compiled steps' calls, as the step measured last ended
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Watch:
        self._handles = [
            self._model.register_forward_hook(self._after_forward),
            register_optimizer_step_pre_hook(self._before_update),
            register_optimizer_step_post_hook(self._after_update),
        ]
        join(self)
        _latest[self._model] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        leave(self)
        self._first.clear()
        self._due.clear()
        for handle in self._handles:
            handle.remove()

    # What it saw

    @property
    def steps(self) -> list[int]:
        self._finish()
        return [step for step, _ in self._readings]

    @property
    def reports(self) -> list[Report]:
        """A Report for each measured step."""
        self._finish()
        for step, reading in self._readings[len(self._reports) :]:
            self._reports.append(Report.of(Reading(*reading), step, self._share))
        return self._reports

    def report(self) -> Report:
        """The Report of the step measured last.

        Raises:
            RuntimeError: no step was measured yet.
        """
        if not self.reports:
            raise RuntimeError("watch: no step was measured yet; run a forward and a backward pass inside the block")
        return self.reports[-1]

    def of_latest_step(self) -> Report | None:
        """The Report of the step that ran last, if it was measured."""
        self._finish()
        passed = any(s.calls > n and self._due.get(s, 0) < math.inf for s, n in self._counts.items())
        return self.reports[-1] if self._latest_measured and not passed else None

    # Eager steps

    def _after_forward(self, module: Module, args: Any, output: Any) -> None:
        given = (output,) if isinstance(output, Tensor) else arrays_in(output)
        results = [t for t in given if isinstance(t, Tensor) and t.edge is not None]
        if not results:
            return
        if self._tracing:
            self._probe.attach(results)
        elif state.kernels is active:  # else the trace of a step that is not observed
            if self._swept:
                self._begin()
            if self._probe is not None:
                self._probe.attach(results)
            listen(results[0].edge, self._after_sweep)

    _after_forward.traced_as = "watch"  # type: ignore[attr-defined]

    def _after_sweep(self, g: Tensor) -> None:
        """A backward pass comes by: the next forward pass begins another step."""
        self._swept = True

    def _begin(self) -> None:
        """A step begins."""
        self._finish()
        self._swept = False
        self._latest_measured = False
        self._step += 1
        if self._step % self._every == 0:
            if not self._remembered:
                self._remember_gradients()
            self._remembered = False
            self._probe = Probe(self._anatomy, self._histograms)

    def _before_update(self, optimizer: Optimizer) -> None:
        if self._probe is None or not (self._tracing or state.kernels is active):
            return
        if self._probe.swept and self._is_updated_by(optimizer):
            self._measure_gradients()
            self._updated = True

    def _after_update(self, optimizer: Optimizer) -> None:
        if (self._step + 1) % self._every == 0 and state.kernels is active and self._is_updated_by(optimizer):
            self._remember_gradients()

    def _is_updated_by(self, optimizer: Optimizer) -> bool:
        mine = self._anatomy.parameters
        return any(p in mine for group in optimizer.param_groups for p in group["params"])

    def _measure_gradients(self) -> None:
        if not self._probe.complete:
            gradients = {p: p.grad for p in self._anatomy.parameters if p.grad is not None}
            self._probe.measure_gradients(gradients, self._previous)

    def _read(self) -> Reading:
        """The probe's reading, now that the step is over."""
        self._measure_gradients()
        if self._updated:
            self._probe.measure_update()
        self._updated = False
        return self._probe.reading()

    def _finish(self) -> None:
        """Put away what the latest eager step gave."""
        probe = self._probe
        if probe is None or self._tracing:
            return
        if probe.swept:
            self._keep(self._step, self._read())
        probe.detach()
        self._probe = None

    def _remember_gradients(self) -> None:
        """Keep the gradients of the step before a measured one."""
        self._remembered = True
        self._previous = {p: Tensor(self._gradient(p).copy()) for p in self._anatomy.parameters}

    def _gradient(self, p: Any) -> Array:
        """The parameter's gradient, or numbers that are none."""
        if p.grad is not None:
            return p.grad.array
        if p not in self._missing:
            self._missing[p] = np.full(p.shape, np.nan, p.dtype)
        return self._missing[p]

    # Compiled steps

    def due(self, step: Any) -> float:
        at = self._due.get(step)
        if at is None:
            at = self._due[step] = self._first[step] = step.calls
        return at

    def observe(self, function: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        parameters = self._anatomy.parameters
        count, kept = len(args) - len(parameters), self._previous
        self._previous = dict(zip(parameters, args[count:], strict=True))
        self._probe, self._tracing = Probe(self._anatomy, self._histograms), True
        try:
            returned = function(*args[:count], **kwargs)
            return returned, tuple(self._read()) if self._probe.swept else None  # without a name, less to make
        finally:
            self._probe.detach()
            self._probe, self._tracing, self._previous = None, False, kept

    def prepare(self) -> None:
        if self._probe is not None:
            self._finish()

    def given(self) -> list[Array]:
        return [self._gradient(p) for p in self._anatomy.parameters]

    def receive(self, step: Any, reading: Any) -> float:
        call = step.calls - 1
        due = self._due[step] = math.inf if reading is None else call + self._every
        if reading is not None:
            self._keep(call - self._first[step], reading)
        return due

    def _keep(self, number: int, reading: tuple[Any, ...]) -> None:
        self._readings.append((number, reading))
        self._latest_measured = True
        for step in self._due:
            self._counts[step] = step.calls


_latest: WeakKeyDictionary[Module, Watch] = WeakKeyDictionary()
"""The watch that was last put on each model."""


def watch(model: Module, every: int = 10, histograms: bool = False, share: float = 0.01) -> Watch:
    """Measure every n-th step of a training run: `with rg.inspect.watch(model) as watch:` around it.

    A step is a forward pass that a backward pass follows. Measured are the first and every `every`-th after it, of
    steps that run eagerly and of each compiled step; in a compiled one the reductions are part of its program, of a
    second one that runs in place of the plain one when it is due, and is kept for the watches that follow. On the C
    backend it takes 1.2 to 1.5 times as long as the plain one (benchmarks/watching.py measures it). An eager training
    of four layers of 64 units takes 1.1 to 1.2 times as long at every=10.

    Args:
        model: whose layers to watch.
        every: steps from one that is measured to the next.
        histograms: keep every activation and signal of the measured steps.
        share: what share of the signal at the loss counts as reached, for Report.depth.

    Raises:
        TypeError: model is no Module. ValueError: no parameter requires grad, every is no whole number >= 1, or
            share is not in (0, 1].

    Example:
        >>> import retrograd as rg
        >>> from retrograd import nn, optim
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> opt = optim.SGD(model.parameters(), lr=0.1)
        >>> with rg.inspect.watch(model, every=2) as watch:
        ...     for _ in range(5):
        ...         loss = model(rg.ones(3, 4)).square().mean()
        ...         opt.zero_grad(); loss.backward(); opt.step()
        >>> watch.steps, watch.report().verdict
        ([0, 2, 4], 'healthy')
    """
    return Watch(model, every, histograms, share)


def watched(model: Module) -> Report | None:
    """The Report of the model's latest step, if a watch that is open measured it."""
    watch = _latest.get(model)
    return watch.of_latest_step() if watch in observers else None
