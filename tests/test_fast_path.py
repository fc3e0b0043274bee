"""Calls of compiled steps one after the other: whatever changes in between, they do what the eager step does."""

from __future__ import annotations

import functools
import gc
import logging
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import optim

SCALE: Any = 2.0  # a global that the step reads


class Config:
    power: Any = 1.0  # an attribute of a class


settings = types.ModuleType("settings_of_the_test")
settings.gain = 1.0  # type: ignore[attr-defined]


class World:
    """A step, eager or compiled, with all that it depends on."""

    def __init__(self, compiled: bool, optimizer: Callable[..., optim.Optimizer]) -> None:
        self.w, self.b = rg.tensor(np.float32([[1, -2], [3, 0.5]]), requires_grad=True), rg.ones(2, requires_grad=True)
        self.optimizer = optimizer([self.w, self.b], lr=0.01)
        self.x, self.y = np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([[1, 0], [0, 1], [1, 1]])
        self.factor: Any = 1.0  # an attribute that it reads
        shift = rg.zeros(2)

        def step(x: Any, y: Any) -> rg.Tensor:
            out = F.linear(rg.as_tensor(x), self.w, self.b) + shift
            loss = F.mse_loss(out, rg.as_tensor(y)) * SCALE * self.factor * Config.power * settings.gain
            if isinstance(x, rg.Tensor) and x.requires_grad:
                loss = loss * 2
            if rg.is_grad_enabled():
                loss.backward()
                self.optimizer.step()
            return loss

        def change_shift(value: float) -> None:
            nonlocal shift
            shift = rg.full((2,), value)

        self.change_shift = change_shift
        self.hooks: list[Any] = []
        self.step = rg.compile(step) if compiled else step

    def call(self, x: Any = None, y: Any = None) -> Any:
        made = self.step(self.x if x is None else x, self.y if y is None else y)
        assert made.grad is None
        return made.item()


def in_other_thread(world: World) -> Any:
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(world.call()))
    with rg.no_grad():
        thread.start()
        thread.join()
    return made[0]


def set_global(value: Any) -> None:
    global SCALE
    SCALE = value


def hook(world: World) -> None:
    """One more hook on a parameter, or none where there are two."""
    if len(world.hooks) < 2:
        world.hooks.append(world.w.register_hook(lambda g: g * 0.5))
    while len(world.hooks) == 2:
        world.hooks.pop().remove()
        world.hooks.pop().remove()


def attempt(call: Callable[[], Any]) -> Any:
    """The number that a call gives, None for another result, or the type of what it raises."""
    try:
        made = call()
        return made if isinstance(made, (float, type)) else None
    except (ValueError, TypeError, RuntimeError, AttributeError, NameError) as error:
        return type(error)


def reshaped_in_place(world: World) -> Any:
    """The same array of another shape, and back."""
    world.x.shape = (1, 6)
    wrong = attempt(world.call)
    world.x.shape = (3, 2)
    return wrong


def without_a_global(world: World) -> Any:
    value = globals().pop("SCALE")
    try:
        return attempt(world.call)
    finally:
        set_global(value)


EVENTS: dict[str, Callable[[World], Any]] = {
    "call": World.call,
    "call with others": lambda o: o.call(o.x + 1, o.y * 2),
    "call with tensors": lambda o: o.call(rg.tensor(o.x), rg.tensor(o.y)),
    "call with columns": lambda o: o.call(np.asfortranarray(o.x)),
    "call with double": lambda o: attempt(lambda: o.call(rg.tensor(o.x, dtype=rg.float64), rg.tensor(o.y))),
    "call with read-only": lambda o: o.call(np.frombuffer(o.x.tobytes(), np.float32).reshape(3, 2)),
    "call with fewer rows": lambda o: o.call(o.x[:2], o.y[:2]),
    "call with what it changes": lambda o: o.call(o.w.detach(), o.y[:2]),
    "call with a view of that": lambda o: o.call(o.w.array[:], o.y[:2]),
    "call with names": lambda o: o.step(y=o.y, x=o.x).item(),
    "call with too few": lambda o: attempt(lambda: o.step(o.x)),
    "change the data": lambda o: np.copyto(o.x, o.x[::-1].copy()),
    "reshape in place": reshaped_in_place,
    "change the rate": lambda o: o.optimizer.param_groups[0].update(lr=o.optimizer.param_groups[0]["lr"] * 0.5),
    "change an attribute": lambda o: setattr(o, "factor", o.factor * 0.5),
    "equal attribute": lambda o: setattr(o, "factor", float(str(o.factor))),
    "change a global": lambda o: set_global(SCALE * 0.75),
    "change a class": lambda o: setattr(Config, "power", Config.power * 0.75),
    "shadow a class": lambda o: setattr(o, "factor", Config.power),
    "change a module": lambda o: setattr(settings, "gain", settings.gain * 0.75),
    "hook a parameter": hook,
    "replace a gradient": lambda o: o.b.grad is None or setattr(o.b.grad, "data", rg.full((2,), 3.0)),
    "call with gradient": lambda o: o.call(rg.tensor(o.x, requires_grad=True), o.y),
    "delete a global": without_a_global,
    "change a cell": lambda o: o.change_shift(0.5),
    "forget gradients": lambda o: o.optimizer.zero_grad(),
    "give a gradient": lambda o: setattr(o.b, "grad", rg.full((2,), 0.25)),
    "change a gradient": lambda o: None if o.b.grad is None else o.b.grad.array.fill(2.0),
    "freeze": lambda o: o.b.requires_grad_(not o.b.requires_grad),
    "other parameter": lambda o: o.w.array.fill(0.5),
    "other array": lambda o: setattr(o.w, "data", rg.full((2, 2), 0.25)),
    "without recording": lambda o: rg.no_grad()(o.call)(),
    "in another thread": in_other_thread,
    "one thread": lambda o: rg.set_num_threads(1),
    "two threads": lambda o: rg.set_num_threads(2),
    "record an op": lambda o: (o.w * 2).sum().item(),
}


@given(
    st.lists(st.one_of(st.just("call"), st.sampled_from(sorted(EVENTS))), min_size=4, max_size=30),
    st.sampled_from((optim.SGD, optim.Adam)),
)
def test_whatever_changes_between_calls_is_seen(
    backend: str, events: list[str], optimizer: Callable[..., optim.Optimizer]
) -> None:
    threads = rg.get_num_threads()
    made = []
    for compiled in (False, True):
        set_global(2.0)
        Config.power = settings.gain = 1.0
        world = World(compiled, optimizer)
        made.append([attempt(functools.partial(EVENTS[name], world)) for name in events])
        made[-1] += [world.w.array.copy(), world.b.array.copy(), world.w._version[0] > 0]
        rg.set_num_threads(threads)
    for name, eager, compiled_too in zip([*events, "w", "b", "counted"], *made, strict=True):
        if isinstance(eager, type) or eager is None:
            assert compiled_too is eager, name
        else:
            np.testing.assert_allclose(compiled_too, eager, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_tensor_is_made_as_if_it_were_called(backend: str) -> None:
    step = rg.compile(lambda x: x.sum())
    for _ in range(4):
        made, like = step(rg.ones(3)), rg.Tensor(np.float32(3))
        for slot in set(rg.Tensor.__slots__) - {"__weakref__"}:
            assert getattr(made, slot) == getattr(like, slot), slot
        assert made._version is not step(rg.ones(3))._version


def test_a_step_in_a_cycle_is_collected(backend: str) -> None:
    def run() -> weakref.ref[rg.Tensor]:
        w = rg.ones(3, requires_grad=True)
        step = rg.compile(lambda x: (x * w).sum())
        for _ in range(3):
            step(rg.ones(3))
        step.itself = step  # which is for the garbage collector to find
        return weakref.ref(w)

    gone = run()
    gc.collect()
    assert gone() is None


def test_a_fault_in_a_call_gives_the_turn_back(backend: str) -> None:
    table = rg.tensor([1.0, 2.0, 3.0])
    step = rg.compile(lambda i: table[i].sum())
    good, bad = np.array([0, 2]), np.array([0, 7])
    for indices in (good, good, bad, good, bad, bad, good):
        if indices is bad:
            with pytest.raises(IndexError):
                step(indices)
        else:
            assert step(indices).item() == 4.0


def test_a_finalizer_may_call_the_step_that_runs(backend: str) -> None:
    step, x = rg.compile(lambda x: (x * 2).sum()), rg.ones(3)
    made: list[float] = []

    class Finalized:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            made.append(step(x).item())

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Finalized()
            assert step(x).item() == 6.0
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert made == [6.0] * 200


def test_python_that_a_call_runs_may_call_the_step(backend: str) -> None:
    """While one argument is copied, and that is logged, the step is called with others."""
    step = rg.compile(lambda a, b, c: (a + b + c).sum())
    ones, twos = np.ones((3, 3), np.float32), np.asfortranarray(np.full((3, 3), 2, np.float32))
    inner: list[float] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.removeHandler(self)
            inner.append(step(ones, ones.copy(), ones.copy()).item())
            inner.append(len([[None] * 3 for _ in range(1000)]))  # takes the place of what was freed

    logger = logging.getLogger("retrograd")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        for _ in range(3):
            step(ones, ones, ones)
        for _ in range(20):
            logger.addHandler(Handler())
            assert step(twos, ones.copy(), ones.copy()).item() == 36.0
    finally:
        logger.setLevel(level)
    assert inner == [27.0, 1000] * 20


def test_a_tensor_over_a_file(backend: str, tmp_path: Path) -> None:
    file = np.memmap(tmp_path / "file", np.float32, "w+", shape=(4,))
    file[:] = 1
    step = rg.compile(lambda x: (x * 2).sum())
    for x in (rg.Tensor(file), file, rg.Tensor(file)):
        assert step(x).item() == 8.0


def test_threads_and_their_number_change_while_others_run(backend: str) -> None:
    """What runs is kept until it has ended, whoever loads the program anew."""
    x = rg.randn(64, 32)
    w = rg.randn(32, 32)
    step = rg.compile(lambda x: (x @ w).relu().sum())
    expected, threads = step(x).item(), rg.get_num_threads()
    over = threading.Event()
    wrong: list[float] = []

    def work() -> None:
        while not over.is_set():
            made = step(x).item()
            if not np.isclose(made, expected, rtol=1e-4):
                wrong.append(made)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for n in range(60):
        rg.set_num_threads(1 + n % 2)
        step(x)
    over.set()
    for worker in workers:
        worker.join()
    rg.set_num_threads(threads)
    assert not wrong


def test_fast_path_refuses_what_it_would_trust() -> None:
    speedups = pytest.importorskip("retrograd._speedups", reason="built without a C compiler")
    for some in ({}, {"count": 1}, dict.fromkeys(("count", "recording", "items", "cells"), 3)):
        with pytest.raises(TypeError, match="FastPath: an argument is missing"):
            speedups.FastPath(**some)
    step = rg.compile(lambda x: x.sum())
    step(rg.ones(3))
    for wrong in (None, [], [3], (np.ones(3),)):
        with pytest.raises(TypeError, match="FastPath: inputs are"):
            step._latest_call.inputs = wrong


def test_without_speedups_the_same_in_python() -> None:
    """This file once more, and another, where the C that calls steps was not built."""
    here = Path(__file__)
    script = (
        "import sys; sys.modules['retrograd._speedups'] = None\n"
        "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )  # fmt: skip
    chosen = "not without_speedups and (fast_path or threads or checkpoint or takes or accumulate or inside or kernels)"
    run = subprocess.run(
        [sys.executable, "-c", script, "-q", "-k", chosen, here, here.with_name("test_program.py")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-4000:]
