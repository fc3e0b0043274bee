"""Compiled steps: random programs, with any subset of the passes, give what the eager step gives."""

from __future__ import annotations

import contextlib
import copy
import math
import signal
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim
from retrograd.autograd.batching import rows_at_once
from retrograd.kernels.spec import active
from retrograd.program import PASSES, TraceError
from retrograd.tape import state

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Softplus, nn.Identity)

OPTIMIZERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.05, weight_decay=0.01),
    "momentum": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, dampening=0.2),
    "nesterov": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda ps: optim.Adam(ps, lr=0.01, weight_decay=0.01),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.01, amsgrad=True),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.002, momentum=0.5, centered=True),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.02, lr_decay=0.1, initial_accumulator_value=0.1),
    "radam": lambda ps: optim.RAdam(ps, lr=0.02, betas=(0.8, 0.9), weight_decay=0.01),
    "nadam": lambda ps: optim.NAdam(ps, lr=0.01, weight_decay=0.01, decoupled_weight_decay=True),
    "adadelta": lambda ps: optim.Adadelta(ps, weight_decay=0.01),
}

LOSSES = {
    "mse": lambda out, y: F.mse_loss(out, y),
    "mse sum": lambda out, y: F.mse_loss(out, y, reduction="sum") * 0.1,
    "l1": lambda out, y: F.l1_loss(out, y),
    "huber": lambda out, y: F.huber_loss(out, y, delta=0.7),
    "bce": lambda out, y: F.binary_cross_entropy_with_logits(out, (y > 0).to(y.dtype)),
    "probabilities": lambda out, y: F.cross_entropy(out, F.softmax(y, 1)),
    "by hand": lambda out, y: ((out - y) ** 2).mean() + 0.1 * (out.abs().sum(1) / out.shape[1]).mean(),
    "sorted": lambda out, y: ((out.sort(1)[0] - y.sort(1)[0]) ** 2).mean() + rg.lgamma(out.abs() + 1.0).mean(),
    "joined": lambda out, y: (rg.cat([out, y], 1) * rg.cat([y, out.tanh()], 1)).square().mean(),
    "entropy": lambda out, y: -(F.softmax(out, 1) * F.log_softmax(y, 1)).sum(1).mean() + rg.logsumexp(out, 1).mean(),
}

steps = st.fixed_dictionaries(
    {
        "widths": st.lists(st.integers(1, 20), min_size=2, max_size=4),
        "rows": st.integers(1, 40),
        "activation": st.sampled_from(ACTIVATIONS),
        "dtype": st.sampled_from(("float32", "float64")),
        "loss": st.sampled_from(sorted(LOSSES)),
        "optimizer": st.sampled_from(sorted(OPTIMIZERS)),
        "dropout": st.sampled_from((0.0, 0.3)),
        "clip": st.sampled_from((None, "norm", "value")),
        "schedule": st.booleans(),
        "frozen": st.booleans(),
        "accumulate": st.sampled_from((1, 2)),
        "average": st.booleans(),
    }
)


class Trainer:
    """A model, its optimizer, and a step as a user would write it."""

    def __init__(self, case: dict[str, Any]) -> None:
        rg.manual_seed(1)
        self.case = case
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(zip(case["widths"], case["widths"][1:], strict=False)):
            if i:
                layers += [case["activation"](), nn.Dropout(case["dropout"])]
            layers.append(nn.Linear(fan_in, fan_out, dtype=case["dtype"]))
        self.model = nn.Sequential(*layers)
        if case["frozen"]:
            layers[0].requires_grad_(len(layers) == 1)
        self.optimizer = OPTIMIZERS[case["optimizer"]](self.model.parameters())
        self.scheduler = optim.lr_scheduler.StepLR(self.optimizer, 2, 0.8) if case["schedule"] else None
        self.averages = [p.detach().clone() for p in self.model.parameters()] if case["average"] else []
        random = np.random.default_rng(0)
        self.x = rg.tensor(random.standard_normal((case["rows"], case["widths"][0])), dtype=case["dtype"])
        self.y = rg.tensor(random.standard_normal((case["rows"], case["widths"][-1])), dtype=case["dtype"])

    def step(self, x: rg.Tensor, y: rg.Tensor) -> Any:
        self.optimizer.zero_grad()
        for i in range(self.case["accumulate"]):
            out = self.model(x * (1.0 + i))
            loss = LOSSES[self.case["loss"]](out, y)
            loss.backward()
        if self.case["clip"] == "norm":
            nn.clip_grad_norm_(self.model.parameters(), 0.3)
        elif self.case["clip"] == "value":
            nn.clip_grad_value_(self.model.parameters(), 0.05)
        self.optimizer.step()
        if self.scheduler:
            self.scheduler.step()
        with rg.no_grad():
            for average, p in zip(self.averages, self.model.parameters(), strict=False):
                average.mul_(0.9).add_(p * 0.1)
        return loss, {"out": out}

    def run(self, step: Any, count: int) -> list[np.ndarray]:
        rg.manual_seed(2)
        seen = []
        for i in range(count):
            if i == count // 2:
                self.optimizer.param_groups[0]["lr"] *= 0.5
            loss, rest = step(self.x, self.y)
            seen += [loss.numpy() if not loss.requires_grad else loss.detach().numpy(), rest["out"].detach().numpy()]
        state = [*self.model.parameters(), *self.averages]
        seen += [t.detach().numpy().copy() for t in state]
        seen += [p.grad.numpy().copy() for p in self.model.parameters() if p.grad is not None]
        return seen


def assert_close(got: list[np.ndarray], expected: list[np.ndarray], dtype: str) -> None:
    tolerance = 2e-3 if dtype == "float32" else 1e-8
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * (1 + np.abs(e).max(initial=0)))


ACCUMULATED = dict(
    widths=[1, 1], rows=2, activation=nn.ReLU, dtype="float32", loss="bce", optimizer="adam", dropout=0.0, clip=None,
    schedule=False, frozen=False, accumulate=2, average=False,
)  # fmt: skip
"""Two sums over the slices, whose lives would not overlap if the calls ran once."""


@given(case=steps, passes=st.sets(st.sampled_from(PASSES)), slice_rows=st.sampled_from((None, 1, 3, 16)))
@example(case=ACCUMULATED, passes=set(PASSES), slice_rows=1)
def test_compiled_is_eager(backend: str, case: dict[str, Any], passes: set[str], slice_rows: int | None) -> None:
    eager, compiled = Trainer(case), Trainer(case)
    expected = eager.run(eager.step, 6)
    step = rg.compile(compiled.step, passes=tuple(sorted(passes)), slice_rows=slice_rows)
    assert_close(compiled.run(step, 6), expected, case["dtype"])


def test_a_slice_draws_and_joins_its_own_rows(backend: str) -> None:
    case = dict(regression().case, widths=[3, 5, 7, 2], rows=37, dropout=0.3, loss="joined")
    eager, compiled = Trainer(case), Trainer(case)
    expected = eager.run(eager.step, 6)
    step = rg.compile(compiled.step, slice_rows=16)
    assert_close(compiled.run(step, 6), expected, case["dtype"])
    assert [s.rows for s in step.program.segments if s.rows] == [37]


def test_what_a_backend_lacks_stands_apart(backend: str) -> None:
    trainer = regression(loss="sorted", rows=40)
    step = rg.compile(trainer.step, slice_rows=16)
    step(trainer.x, trainer.y)
    kernels = [[i.kernel for i in s.instructions] for s in step.program.segments if s.rows]
    assert any("linear_backward" in k for k in kernels), "no layer runs on slices"
    divided = {"c": "argsort, lgamma, polygamma", "numba": "argsort, take_along_axis", "numpy": ""}[backend]
    assert divided in step.program.divided
    assert ("pieces" in step.program.divided) == bool(divided)


@pytest.mark.parametrize(("activation", "above"), [(nn.ReLU, "relu"), (nn.Tanh, "tanh"), (nn.GELU, "identity")])
def test_a_cotangent_goes_through_the_activation_where_it_is_made(backend: str, activation: Any, above: str) -> None:
    trainer = regression(activation=activation)
    step = rg.compile(trainer.step)
    step(trainer.x, trainer.y)
    made = [i.arguments for i in step.program.instructions if i.kernel == "linear_backward"]
    below = "identity" if above != "identity" else "gelu"
    activations = [(a.get("x_activation", "identity"), a["activation"]) for a in made]
    assert activations == [(above, "identity"), ("identity", below)]


def regression(**options: Any) -> Trainer:
    case = dict(
        widths=[5, 8, 3], rows=24, activation=nn.ReLU, dtype="float32", loss="mse", optimizer="sgd", dropout=0.0,
        clip=None, schedule=False, frozen=False, accumulate=1, average=False,
    )  # fmt: skip
    return Trainer(case | options)


def test_same_bits_twice(backend: str) -> None:
    runs = []
    for _ in range(2):
        trainer = regression(dropout=0.2, optimizer="adam")
        runs.append(trainer.run(rg.compile(trainer.step), 10))
    for a, b in zip(*runs, strict=True):
        assert a.tobytes() == b.tobytes()


def test_eager_and_compiled_steps_mix(backend: str) -> None:
    eager, mixed = regression(optimizer="adam"), regression(optimizer="adam")
    step = rg.compile(mixed.step)
    for i in range(6):
        eager.step(eager.x, eager.y)
        (step if i % 2 else mixed.step)(mixed.x, mixed.y)
    for p, q in zip(eager.model.parameters(), mixed.model.parameters(), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_arguments_are_what_they_were_at_the_call(backend: str) -> None:
    """Also where the step changes that memory before it would read it."""
    w = rg.tensor([[1.0, 2.0]] * 3, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    @rg.compile
    def step(x: rg.Tensor, average: rg.Tensor) -> rg.Tensor:
        optimizer.zero_grad()
        (x @ w.T).square().sum().backward()
        optimizer.step()
        return average - w.detach()[:2]  # after the update

    x, upper, lower = rg.ones(4, 2), w.detach()[:2], w.detach()[1:]
    for argument in (upper, upper, upper, lower, upper, w.detach()[:2]):
        before = argument.numpy().copy()
        difference = step(x, argument).numpy()
        np.testing.assert_array_equal(difference, before - w.detach()[:2].numpy())


def test_a_checkpoint_loaded_between_calls_is_seen(backend: str) -> None:
    trainer = regression(optimizer="adam")
    step = rg.compile(trainer.step)
    step(trainer.x, trainer.y)
    model = {name: t.clone().detach() for name, t in trainer.model.state_dict().items()}
    optimizer = copy.deepcopy(trainer.optimizer.state_dict())
    first = step(trainer.x, trainer.y)[0].item()
    step(trainer.x, trainer.y)
    trainer.model.load_state_dict(model)
    trainer.optimizer.load_state_dict(optimizer)
    assert step(trainer.x, trainer.y)[0].item() == first


def test_one_program_for_each_signature(backend: str) -> None:
    trainer = regression(dropout=0.5)
    step = rg.compile(lambda x, y: trainer.step(x, y)[0])
    programs = []
    for rows in (24, 24, 7, 24, 7):
        step(trainer.x[:rows], trainer.y[:rows])
        programs.append(step.program)
    assert programs[0] is programs[1] is programs[3]
    assert programs[2] is programs[4] is not programs[0]
    forward = rg.compile(lambda x: trainer.model(x))
    with rg.no_grad():
        training = forward(trainer.x).numpy()
        trainer.model.eval()
        evaluation = forward(trainer.x).numpy()
        np.testing.assert_allclose(evaluation, trainer.model(trainer.x).numpy(), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(training, evaluation)


def test_too_many_signatures_warn_and_drop_the_oldest(backend: str) -> None:
    double = rg.compile(lambda x: x * 2.0, cache_size=2)
    for n in (1, 2):
        double(rg.ones(n))
    with pytest.warns(
        UserWarning,
        match=r"traced 2 times, for 2 signatures of its inputs, lately float32 \(1,\) and then float32 \(2,\)",
    ):
        double(rg.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert double(rg.ones(2)).shape == (2,)


@pytest.mark.parametrize(
    "look",
    [
        lambda loss: 1 if loss > 0 else 2,
        lambda loss: loss.item(),
        lambda loss: loss.detach().numpy(),
        lambda loss: float(loss),
        lambda loss: np.asarray(loss.detach()),
        lambda loss: loss.tolist(),
    ],
)
def test_looking_at_a_value_names_the_line(look: Any) -> None:
    trainer = regression()
    before = [p.detach().numpy().copy() for p in trainer.model.parameters()]

    def step(x: rg.Tensor, y: rg.Tensor) -> Any:
        loss = F.mse_loss(trainer.model(x), y)
        loss.backward()
        look(loss)  # the culprit

    with pytest.raises(TraceError, match=r"test_program\.py:\d+.*rg\.where"):
        rg.compile(step)(trainer.x, trainer.y)
    for p, b in zip(trainer.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), b)
        assert p.grad is None
    trainer.step(trainer.x, trainer.y)  # eager mode is as it was


def test_an_exception_in_the_step_is_the_users(backend: str) -> None:
    def step(x: rg.Tensor) -> rg.Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        rg.compile(step)(rg.ones(2))
    assert (rg.ones(2) + 1).tolist() == [2.0, 2.0]


def test_what_a_step_takes_and_returns(backend: str) -> None:
    @rg.compile
    def step(pair: tuple[Any, Any], options: dict[str, Any], power: int) -> Any:
        a, b = pair
        return {"sum": a + b, "rest": [options["c"] ** power, a, "text"]}

    got = step((np.ones((2, 3), np.float32), rg.ones(3)), {"c": np.arange(4.0)[::-1]}, 2)
    np.testing.assert_array_equal(got["sum"], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(got["rest"][0], np.arange(4.0)[::-1] ** 2)
    np.testing.assert_array_equal(got["rest"][1], np.ones((2, 3)))
    assert got["rest"][2] == "text"
    with pytest.raises(TypeError, match="neither an array nor hashable"):
        step((np.ones(2), np.ones(2)), {"c": bytearray(3)}, 2)


def test_gradients_accumulate_over_calls(backend: str) -> None:
    w = rg.ones(3, requires_grad=True)

    @rg.compile
    def backward(x: rg.Tensor) -> None:
        (w * x).sum().backward()

    for total in (1.0, 2.0, 3.0):
        backward(rg.ones(3))
        np.testing.assert_array_equal(w.grad, np.full(3, total))
    w.grad = None
    backward(rg.ones(3))
    np.testing.assert_array_equal(w.grad, np.ones(3))


def test_the_program_prints_and_adds_up(backend: str) -> None:
    trainer = regression()
    step = rg.compile(trainer.step)
    with pytest.raises(RuntimeError, match="no program before its first call"):
        _ = step.program
    step(trainer.x, trainer.y)
    text, cost = str(step.program), step.program.cost()
    assert "linear_forward" in text
    assert "linear_backward" in text
    assert f"{cost.flops:,} flops" in text
    assert "the batch of 24 rows, in one slice:" in text
    products = 2 * 24 * (5 * 8 * 2 + 8 * 3 * 3)  # no gradient of the input is asked for
    assert products <= cost.flops <= 2 * products
    assert step.program.arena_bytes + step.program.slice_bytes < 24 * 8 * 4 * 8
    trainer = regression(rows=4096)
    step = rg.compile(trainer.step, slice_rows=512)
    step(trainer.x, trainer.y)
    shared = step._latest.loaded.threads()[0]
    assert 1 <= shared <= rg.get_num_threads()
    how = f"shared out over {shared} threads, in slices of 512" if shared > 1 else "in slices of 512"
    assert f"the batch of 4096 rows, {how}:" in str(step.program)


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a is not nn.Identity])
@pytest.mark.parametrize("seen", [False, True])
def test_layers_take_their_activations_in(backend: str, activation: type[nn.Module], seen: bool) -> None:
    """Also where a step applies them itself; what else is made of the product before the activation is."""
    before, act, after = nn.Linear(5, 8), activation(), nn.Linear(8, 3)
    results = []

    def step(x: rg.Tensor) -> Any:
        z = before(x)
        (after(act(z)).sum() + (z.exp().sum() if seen else 0.0)).backward()
        return z if seen else x.sum()

    for run in (step, compiled := rg.compile(step)):
        before.zero_grad()
        results.append([run(rg.ones(4, 5)).detach().numpy(), before.weight.grad.numpy().copy()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    kernels = [i.kernel for i in compiled.program.instructions]
    assert "activation_forward" not in kernels
    assert ("activation_backward" in kernels) == seen  # its result is added to another cotangent


def test_memory_does_not_grow_with_the_batch(backend: str) -> None:
    sizes = []
    for rows in (256, 4096):
        trainer = regression(rows=rows)
        step = rg.compile(lambda x, y, trainer=trainer: trainer.step(x, y)[0], slice_rows=64)
        step(trainer.x, trainer.y)
        sizes.append(step.program.arena_bytes + step.program.slice_bytes)
    assert sizes[0] == sizes[1] < 64 * 1024


def test_equal_calls_are_made_once(backend: str) -> None:
    """But not draws, nor what reads memory that was changed in between."""

    def step(x: rg.Tensor, w: rg.Tensor) -> tuple[rg.Tensor, ...]:
        before = (w * -2.0).exp() + x.tanh()
        again = (w * -2.0).exp() - x.tanh()
        other = (w * -2).exp() * (w * 2.0).exp()
        w.mul_(3.0)
        return before, again, other, (w * -2.0).exp(), F.dropout(x), F.dropout(x)

    x, w = rg.tensor([0.5, 1.0, -2.0] * 100), rg.tensor([0.25] * 300)
    rg.manual_seed(3)
    expected = step(x, w.clone())
    programs = []
    for passes in (PASSES, tuple(p for p in PASSES if p != "merge")):
        rg.manual_seed(3)
        compiled = rg.compile(step, passes=passes)
        for got, e in zip(compiled(x, w.clone()), expected, strict=True):
            np.testing.assert_allclose(got.numpy(), e.numpy(), rtol=1e-5)
        programs.append([i.kernel for i in compiled.program.instructions])
    merged, plain = programs
    assert [plain.count(k) - merged.count(k) for k in ("exp", "activation_forward")] == [2, 1]
    assert merged.count("exp") == 3
    assert not np.array_equal(expected[4].numpy(), expected[5].numpy())


def test_unknown_passes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown passes \['fold'\]"):
        rg.compile(lambda x: x, passes=("fold",))
    assert math.isclose(float(rg.compile(lambda x: x.sum(), passes=())(rg.ones(3))), 3.0)


@given(
    rows=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    optimizer=st.sampled_from(("sgd", "adam")),
    dropout=st.sampled_from((0.0, 0.4)),
)
def test_run_is_the_eager_loop(
    backend: str, rows: int, batch_size: int, shuffle: bool, drop_last: bool, optimizer: str, dropout: float
) -> None:
    options = dict(rows=rows, optimizer=optimizer, dropout=dropout, schedule=True)
    eager, compiled = regression(**options), regression(**options)
    rg.manual_seed(3)
    batches = rg.data.batches(eager.x, eager.y, batch_size=batch_size, shuffle=shuffle, seed=5, drop_last=drop_last)
    expected = [eager.step(x, y)[0].item() for _ in range(3) for x, y in batches]
    rg.manual_seed(3)
    step = rg.compile(compiled.step)
    losses = step.run(
        compiled.x, compiled.y, batch_size=batch_size, epochs=3, shuffle=shuffle, seed=5, drop_last=drop_last
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=1e-5)
    for p, q in zip(eager.model.parameters(), compiled.model.parameters(), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-3, atol=1e-4)


def test_run_calls_back_and_stops(backend: str) -> None:
    trainer = regression()
    step = rg.compile(trainer.step)
    seen = []

    def callback(epoch: int, info: dict[str, Any]) -> bool:
        seen.append((epoch, len(info["losses"])))
        trainer.optimizer.param_groups[0]["lr"] = 0.0  # seen by the next epoch
        return epoch == 2

    losses = step.run(trainer.x, trainer.y, batch_size=10, epochs=9, callback=callback)
    assert seen == [(0, 3), (1, 3), (2, 3)]
    assert losses.shape == (9,)
    np.testing.assert_array_equal(losses[3:6], losses[6:9])

    def fail(epoch: int, info: dict[str, Any]) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        step.run(trainer.x, trainer.y, batch_size=10, callback=fail)
    assert np.isfinite(step(trainer.x, trainer.y)[0].item())


def test_run_refuses_what_does_not_fit() -> None:
    trainer = regression()
    step = rg.compile(trainer.step)
    with pytest.raises(ValueError, match=r"one number of rows, got \(24, 5\), \(3, 3\)"):
        step.run(trainer.x, trainer.y[:3], batch_size=4)
    with pytest.raises(ValueError, match="batch_size is 0"):
        step.run(trainer.x, trainer.y, batch_size=0)
    with pytest.raises(ValueError, match="must return its loss first"):
        rg.compile(lambda x: x).run(trainer.x, batch_size=4)


HOLDS: dict[str, Callable[[rg.Tensor], Callable[[], Any]]] = {
    "nothing": lambda made: lambda: None,
    "tensor": lambda made: made.item,
    "array": lambda made: made.array.item,
    "view of the array": lambda made: made.array.reshape(1).item,
    "view": lambda made: made.reshape(1).item,
    "buffer": lambda made: memoryview(made.array).tolist,
    "weak reference": lambda made: (lambda kept: lambda: kept() and kept().item())(weakref.ref(made)),
    "graph": lambda made: (made.requires_grad_() * 1.0).item,
}
"""Ways to hold what a step returned; each gives a function that reads it, or nothing."""


@given(st.lists(st.sampled_from(sorted(HOLDS)), min_size=4, max_size=24), st.integers(0, 3), st.booleans())
def test_a_result_that_anybody_holds_stays(backend: str, ways: list[str], kept: int, fresh: bool) -> None:
    """What a step returned is left alone by the calls that follow."""
    w = rg.ones(2, requires_grad=True)
    step = rg.compile(lambda x: (w * x).sum())
    held: list[tuple[str, float, Callable[[], Any]]] = []
    again = np.zeros(2, np.float32)
    for n, way in enumerate(ways):
        x = np.float32([n, 1]) if fresh else np.copyto(again, [n, 1]) or again
        made = step(x)
        assert (made.item(), made.requires_grad, made.grad, made.is_leaf) == (n + 1, False, None, True)
        held = [*held[len(held) - kept :], (way, float(n + 1), HOLDS[way](made))] if kept else []
        del made
        for way_then, then, read in held:
            assert read() in (None, then), way_then


def test_a_step_inside_a_step_is_a_part_of_it(backend: str) -> None:
    inner = rg.compile(lambda x: x * 2.0)
    outer = rg.compile(lambda x: inner(x) + inner(x[::2]).sum())
    np.testing.assert_array_equal(outer(rg.ones(4)), np.full(4, 6.0))


@pytest.mark.parametrize("around", [rg.detect_anomaly, lambda: rows_at_once(2), lambda: no_grad_elsewhere()])
def test_a_step_is_python_where_kernels_are_others(backend: str, around: Callable[[], Any]) -> None:
    """Its calls must come to whoever looks at them there, also where a program is ready; what other threads do is no
    matter."""
    w, x = rg.ones(2, requires_grad=True), rg.ones(2)
    runs: list[int] = []

    @rg.compile
    def step(x: rg.Tensor) -> rg.Tensor:
        runs.append(len(runs))
        return (w * x).sum()

    for _ in range(3):
        step(x)
    traced = len(runs)
    with around():
        others = state.kernels is not active
        assert step(x).item() == 2.0
        assert len(runs) == traced + others
    step(x)
    assert len(runs) == traced + others


@contextlib.contextmanager
def no_grad_elsewhere() -> Iterator[None]:
    """Another thread records nothing meanwhile."""
    inside, over = threading.Event(), threading.Event()

    def work() -> None:
        with rg.no_grad():
            inside.set()
            over.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    yield
    over.set()
    thread.join()


def test_several_threads_may_call_one_step(backend: str) -> None:
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))
    forward = rg.compile(lambda x: model(x))
    inputs = [rg.randn(64, 6) for _ in range(4)]
    expected = [model(x).detach().numpy() for x in inputs]
    forward(inputs[0])
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(50):
            if not np.allclose(forward(inputs[n]).numpy(), expected[n], atol=1e-5):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_ctrl_c_stops_a_long_run_between_steps(backend: str) -> None:
    trainer = regression(rows=200)
    step = rg.compile(trainer.step)
    step(trainer.x[:2], trainer.y[:2])
    stopped = threading.Event()

    def interrupt() -> None:
        pause = 0.3
        while not stopped.wait(pause):
            signal.raise_signal(signal.SIGINT)
            pause = 10.0  # Python loses one that comes within a finalizer or a callback of its garbage collector

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            step.run(trainer.x, trainer.y, batch_size=2, epochs=10**7)
    finally:
        stopped.set()
    thread.join()
    assert np.isfinite(step(trainer.x[:2], trainer.y[:2])[0].item())


@pytest.mark.parametrize(
    "loss",
    [
        lambda w: (w * 1.0).mean(),
        lambda w: (w / 1.0).sum(),
        lambda w: (w.exp().reshape(3, 3) * 1.0).mean(1).sum() * 1.0,
        lambda w: F.smooth_l1_loss(w, rg.zeros(9), reduction="none").mean(),
    ],
)
def test_a_factor_of_one_is_dropped_from_numbers_in_order_only(backend: str, loss: Callable[..., rg.Tensor]) -> None:
    """A mean's cotangent is one number for all elements: what it is multiplied with lies in memory, and it does not."""

    def step(x: rg.Tensor) -> rg.Tensor:
        w = x.clone().requires_grad_()
        loss(w).backward()
        return w.grad

    x = rg.linspace(-2.0, 2.0, 9)
    np.testing.assert_allclose(rg.compile(step)(x).numpy(), step(x).numpy(), rtol=1e-6)
