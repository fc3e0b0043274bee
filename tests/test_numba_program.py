"""Compiled steps of the Numba backend: what it generates, what it leaves to the interpreter, its threads and errors."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

pytest.importorskip("numba")

from retrograd.backends.interpreter import Interpreter
from retrograd.backends.numba import lowering, parallel
from retrograd.backends.numba.program import CompiledProgram


@pytest.fixture(autouse=True)
def numba() -> Iterator[None]:
    with rg.backends.use("numba"):
        yield


def loaded(step: Any) -> Any:
    """The form in which the backend runs the step's program."""
    return step._latest.loaded


def trainer(widths: tuple[int, ...], **options: Any) -> Any:
    """A compiled step that trains a small network."""
    rg.manual_seed(1)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(*[m for layer in layers for m in (layer, nn.Tanh())][:-1])
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x: rg.Tensor, y: rg.Tensor) -> Any:
        optimizer.zero_grad()
        out = model(x)
        loss = F.mse_loss(out, y)
        loss.backward()
        optimizer.step()
        return loss, out

    return rg.compile(step, **options)


def data(rows: int, *widths: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal((rows, width), np.float32) for width in widths]


def test_other_shapes_are_the_same_text() -> None:
    sources = []
    for widths, rows in (((3, 4, 2), 5), ((7, 19, 3), 40)):
        step = trainer(widths)
        step(*data(rows, widths[0], widths[-1]))
        sources.append(loaded(step).source)
    assert sources[0] == sources[1]
    assert "# linear_backward" in sources[0]


def test_a_second_process_compiles_nothing(tmp_path: Any) -> None:
    source = """
import numpy as np, retrograd as rg
from retrograd.backends.numba import generated
hits = []
compile = generated._compile
def counting(*given):
    hits.append(getattr(compile(*given), "cache_hits", None))
    return compile(*given)
generated._compile = counting
assert rg.compile(lambda x: (x * 2.0 + 1.0).sum())(np.ones(3, np.float32)).item() == 9
print(*[h for h in hits if h is not None])
"""
    environment = os.environ | {"RETROGRAD_BACKEND": "numba", "NUMBA_CACHE_DIR": str(tmp_path)}
    made = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", source], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert made == [["0"] * 3, ["1"] * 3]  # the loop, the sum, the step


SHAPES = {"x": (6, 4), "y": (6, 4), "row": (4,), "column": (6, 1), "square": (4, 4), "stack": (3, 6, 4)}

STEPS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda x, y, row, **_: [-x + y * row, x - row, x / (y.abs() + 1), (x * x).sqrt(), x.sign()],
    "one loop": lambda x, y, column, **_: ((x - column) * y).exp() + x,
    "functions": lambda x, y, **_: [x.exp(), (x.abs() + 0.1).log(), x**2, x**3, x.abs() ** y, x.abs() ** 0.5],
    "limits": lambda x, y, **_: [x.clamp(-0.5, 0.5), x.clamp(min=0.1), rg.maximum(x, y), rg.minimum(x, y)],
    "comparisons": lambda x, y, row, **_: [x > y, x <= row, x == x, x != y],
    "choices": lambda x, y, row, **_: [rg.where(x > 0, y, row), rg.where(x > y, x, 0.0)],
    "dtypes": lambda x, **_: [(x * 3).to("int64"), (x > 0).to("float64"), x.to("float64") + x, (x * 2).to("bool")],
    "activations": lambda x, **_: [
        *(getattr(F, name)(x) for name in ("relu", "tanh", "sigmoid", "leaky_relu", "silu", "softplus")),
        F.gelu(x),
        F.gelu(x, approximate="tanh"),
    ],
    "layouts": lambda x, square, **_: [x.T + 1, x[::-1] * 2, x[:, ::2].exp(), square.T @ square, (x.T * 1).reshape(-1)],
    "sums": lambda x, stack, **_: [x.sum(), x.sum(0), x.mean(1), stack.sum((0, 2)), stack.mean(1), (x > 0).sum(1)],
    "extremes": lambda x, stack, **_: [x.amax(0), x.amin((0, 1)), *x.max(1), stack.argmin(1), stack.amax((0, 2))],
    "softmax": lambda x, **_: [F.softmax(x, 1), F.log_softmax(x.T, 1), rg.logsumexp(x, 1)],
    "products": lambda x, y, square, stack, **_: [x @ square, x.T @ y, stack @ square, stack @ stack.transpose(1, 2)],
    "parts": lambda x, y, **_: [
        rg.cat([x, y, x], 1),
        rg.cat([x, y]),
        rg.cat([x * y, x - y]),
        x[1:3] + 1,
        x[np.array([2, 0, 2])],
    ],
    "losses": lambda x, y, **_: [
        F.mse_loss(x, y),
        F.l1_loss(x, y, reduction="sum"),
        F.huber_loss(x, y),
        F.cross_entropy(x, F.softmax(y, 1)),
    ],
}


def operands(dtype: str) -> dict[str, rg.Tensor]:
    random = np.random.default_rng(0)
    return {name: rg.tensor(random.standard_normal(shape), dtype=dtype) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("name", STEPS)
def test_forward(name: str) -> None:
    def step(given: dict[str, rg.Tensor]) -> list[rg.Tensor]:
        made = STEPS[name](**given)
        return made if isinstance(made, list) else [made]

    compiled = rg.compile(step)
    for dtype in ("float32", "float64"):
        got = compiled(operands(dtype))
        assert isinstance(loaded(compiled), CompiledProgram)
        with rg.backends.use("numpy"):
            expected = step(operands(dtype))
        limit = 100 * np.finfo(dtype).eps
        for g, e in zip(got, expected, strict=True):
            assert g.dtype == e.dtype
            np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=limit, atol=limit)


DIFFERENTIABLE = ("arithmetic", "functions", "limits", "choices", "activations", "sums", "softmax", "products", "parts")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    gradients = []
    for compiled in (False, True):
        given = {k: t.requires_grad_() for k, t in operands("float64").items()}

        def step(given: dict[str, rg.Tensor] = given) -> None:
            for t in given.values():
                t.grad = None
            rg.stack([(m * m).sum() for m in STEPS[name](**given) if m.requires_grad]).sum().backward()

        if compiled:
            step = rg.compile(step)
            step()
            assert isinstance(loaded(step), CompiledProgram)
        else:
            with rg.backends.use("numpy"):
                step()
        gradients.append([t.grad.numpy() for t in given.values() if t.grad is not None])
    for e, g in zip(*gradients, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-9)


def test_a_chain_is_one_loop_that_writes_its_end_alone() -> None:
    step = rg.compile(lambda x, y: ((x - y) * 0.5).exp() * x + 1.0)
    step(*data(6, 4, 4))
    assert loaded(step).source.count("def loop(") == 1
    assert loaded(step).source.count("] = w") == 1


def test_a_loop_reads_nothing_that_it_writes_elsewhere() -> None:
    def step(x: rg.Tensor) -> rg.Tensor:
        y = x * 2.0
        return y + y.T + y[::-1]

    (x,) = data(5, 5)
    np.testing.assert_array_equal(rg.compile(step)(x).numpy(), step(rg.tensor(x)).numpy())


def test_what_is_not_compiled_is_interpreted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    step = rg.compile(lambda x: F.softmax(x, 0))
    with caplog.at_level(logging.DEBUG, "retrograd"):
        made = step(*data(4, 3))
    assert isinstance(loaded(step), Interpreter)
    assert "programs on the backend numba do without softmax along an axis that is not the last" in caplog.text
    np.testing.assert_allclose(made.numpy().sum(0), np.ones(3), rtol=1e-6)


def test_an_index_that_is_no_class_is_an_error() -> None:
    step = rg.compile(lambda x, y: F.cross_entropy(x, y))
    (x,) = data(4, 3)
    assert np.isfinite(step(x, np.array([0, 2, 1, 0])).item())
    assert isinstance(loaded(step), CompiledProgram)
    with pytest.raises(IndexError, match="cross_entropy_loss: the index of row 2 is out of range"):
        step(x, np.array([0, 2, 3, 0]))
    assert np.isfinite(step(x, np.array([0, 2, 1, 0])).item())


def test_rows_that_are_not_there_are_refused() -> None:
    step = trainer((3, 4, 2))
    x, y = data(8, 3, 2)
    step(x[:4], y[:4])
    losses, numbers = np.empty(2, np.float32), [step._latest.numbers()]
    for order, first in ((np.array([0, 1, 2, 3, 4, 5, 6, 8]), 0), (np.arange(-1, 7), 0), (None, 1)):
        with pytest.raises(ValueError, match="a row of 2 batches of 4 is not in arrays of 8 rows"):
            loaded(step).run_steps([x, y], order, first, numbers, losses)
    loaded(step).run_steps([x, y], None, 0, numbers, losses)
    assert np.isfinite(losses).all()


def test_threads_share_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "SHARED_FLOPS", 0)
    before = rg.get_num_threads()
    made = []
    try:
        for threads in (1, 3, 3):
            rg.set_num_threads(threads)
            step = trainer((3, 20, 2), slice_rows=16)
            x, y = data(101, 3, 2)
            seen = [t.numpy() for _ in range(3) for t in step(x, y)]
            seen.append(step.run(np.tile(x, (4, 1)), np.tile(y, (4, 1)), batch_size=101, shuffle=True))
            assert loaded(step)._lowered.shared
            made.append(seen)
    finally:
        rg.set_num_threads(before)
    assert parallel.get_num_threads() == before
    for one, three, again in zip(*made, strict=True):
        np.testing.assert_allclose(three, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(three, again)
