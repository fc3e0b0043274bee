"""What a compiled step finds outside, and what it makes itself, is at each call what it is in eager mode."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim
from retrograd.program import TraceError

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


class World(NamedTuple):
    """A step, and what happens after each call of it."""

    step: Callable[[rg.Tensor], Any]
    change: Callable[[int], Any] = lambda call: None


def closed_over(array: Any, use: Callable[[rg.Tensor, Any], Any]) -> World:
    """A step that finds an array outside, whose numbers change."""

    def change(call: int) -> None:
        numbers = array.array if isinstance(array, rg.Tensor) else array
        numbers[...] = np.roll(numbers, 1) if numbers.dtype.kind == "b" else numbers[::-1].copy()

    return World(lambda x: use(x, array), change)


def accumulators() -> World:
    def step(x: rg.Tensor) -> Any:
        total, rows, count = rg.zeros(3), rg.empty(4, 3), rg.zeros(2, dtype="int64")
        first = total[0]
        for i in range(4):
            total += x[i]
            rows[i] = total
            count += 1
        made = rg.zeros(3)
        made[1] = x[0, 0]
        return total, rows, count, first + 0.0, rg.tensor([1.0, 2.0]).mul_(x[0, 0]), made * 2.0 + 1.0, made.sum()

    return World(step)


def masks() -> World:
    def step(x: rg.Tensor) -> Any:
        a, b, c = x * 1.0, x * 1.0, rg.ones(4, 3)
        a[x > 0] = 5.0
        b[x[:, 0] > 0] = rg.tensor(3.0)
        c[x > 0] = 0.0
        return a, b, c

    return World(step)


def own_leaves() -> World:
    w = rg.as_tensor(X.copy())

    def step(x: rg.Tensor) -> Any:
        delta = rg.zeros_like(x, requires_grad=True)
        ((x + delta) * w).square().sum().backward()
        other = rg.ones(4, 3).requires_grad_()
        (x * other).sum().backward()
        return delta.grad, other.grad

    return World(step, lambda call: w.mul_(2.0))


def fortran_parameter() -> World:
    w = nn.Parameter(np.asfortranarray(X[:3]))
    optimizer = optim.Adam([w], lr=0.1)

    def step(x: rg.Tensor) -> Any:
        loss = (x @ w).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, w

    return World(step)


def views_of_one_memory() -> World:
    flat = rg.from_numpy(np.ones(6, np.float32))
    a = rg.from_numpy(flat.array[:3].reshape(3, 1)).requires_grad_()
    b = rg.from_numpy(flat.array[3:]).requires_grad_()

    def step(x: rg.Tensor) -> Any:
        a.grad = b.grad = None
        loss = (x @ a + b).square().sum()
        loss.backward()
        with rg.no_grad():
            flat.sub_(0.01 * rg.cat([a.grad.reshape(-1), b.grad]))
            return loss, flat.sum(), a.sum() + b.sum()

    return World(step)


def gradients_there_or_not() -> World:
    w = nn.Parameter(X[:1].copy())
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: rg.Tensor) -> Any:
        nn.clip_grad_norm_([w], 1.0)
        optimizer.step()
        return w

    return World(step, lambda call: (optimizer.zero_grad, (w * 3.0).sum().backward)[call % 2]())


def gradients_asked_for() -> World:
    """What the step does follows from whether gradients are there, which it has no other use for."""
    w, v = nn.Parameter(X[:1].copy()), nn.Parameter(X[:1].copy())
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: rg.Tensor) -> Any:
        loss = (w * x).sum() * (1.0 if w.grad is None else 2.0) * (3.0 if v.grad is not None else 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, w.grad

    def change(call: int) -> None:
        v.grad = rg.ones(1, 3) if call % 2 else None
        if call == 3:
            w.grad = None

    return World(step, change)


class Scaled(nn.Module):
    """A layer with a number that is no parameter."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(3, 2)
        with rg.no_grad():
            self.linear.weight.copy_(X[:2] * scale)
            self.linear.bias.zero_()

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        return self.linear(x) * self.scale


class Agent:
    """An object whose methods are compiled, and whose attributes are set anew."""

    def __init__(self) -> None:
        self.model, self.discount = Scaled(1.0), 0.9

    def value(self, x: rg.Tensor) -> rg.Tensor:
        return self.model(x).sum(1) * self.discount

    def step(self, x: rg.Tensor) -> rg.Tensor:
        return -self.value(x)

    @rg.compile
    def fast(self, x: rg.Tensor) -> rg.Tensor:
        return self.value(x)


def variables() -> World:
    model, factor, power = Scaled(1.0), 2.0, 3

    def step(x: rg.Tensor) -> Any:
        rows = [model(row) * factor for row in x]
        return rg.stack(rows) ** power

    def change(call: int) -> None:
        nonlocal model, factor, power
        if call == 1:
            factor = 3.0
        elif call == 2:
            model = Scaled(0.5)
        elif call == 3:
            power = 2

    return World(step, change)


FACTOR = 1.0


def of_the_file(x: rg.Tensor) -> rg.Tensor:
    return x * FACTOR


def globals_() -> World:
    def change(call: int) -> None:
        globals()["FACTOR"] = 1.0 + call // 2

    change(0)
    return World(lambda x: of_the_file(x) + 1.0, change)


def attributes() -> World:
    agent = Agent()

    def change(call: int) -> None:
        if call == 1:
            agent.discount = 0.5
        elif call == 2:
            agent.model = Scaled(0.5)
        elif call == 3:
            agent.model.scale = 7.0

    return World(agent.step, change)


def options_of_layers() -> World:
    model = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.1), nn.LayerNorm(4), nn.Dropout(0.5), nn.Linear(4, 2))
    with rg.no_grad():
        for p in model.parameters():
            p.copy_(rg.arange(p.numel()).reshape(p.shape) % 7 * 0.3 - 0.8)
    loss = nn.SmoothL1Loss()

    def step(x: rg.Tensor) -> Any:
        rg.manual_seed(0)
        return loss(model(x), x[:, :2])

    def change(call: int) -> None:
        if call == 0:
            model[1].negative_slope = 0.7
        elif call == 1:
            model[2].eps, model[3].p = 0.5, 0.2
        elif call == 2:
            loss.beta = 0.2
        else:
            model[0].weight = nn.Parameter(X.copy())

    return World(step, change)


def target_network() -> World:
    online, target = Scaled(1.0), Scaled(0.5)

    def step(x: rg.Tensor) -> Any:
        before = target(x)
        with rg.no_grad():
            online.linear.weight.add_(x[:2])
        target.load_state_dict(online.state_dict())
        halves = {name: p * 0.5 for name, p in online.state_dict().items()}
        after = target(x)
        target.load_state_dict(halves)
        return before, after, target(x)

    return World(step)


WORLDS: dict[str, Callable[[], World]] = {
    "a target network": target_network,
    "an array": lambda: closed_over(X[0].copy(), lambda x, a: x * a),
    "a tensor": lambda: closed_over(rg.tensor(X[0]), lambda x, a: x * a),
    "every other element": lambda: closed_over(np.arange(6, dtype=np.float32)[::2], lambda x, a: x * a),
    "columns of an array": lambda: closed_over(np.asfortranarray(X), lambda x, a: (x * a, x[1:] * a[1:])),
    "float64": lambda: closed_over(X[0].astype(np.float64), lambda x, a: x * a),
    "converted": lambda: closed_over(X[0].astype(np.float64), lambda x, a: x * rg.as_tensor(a, dtype="float32")),
    "copied": lambda: closed_over(X[0].copy(), lambda x, a: x * rg.tensor(a)),
    "views": lambda: closed_over(rg.tensor(X), lambda x, a: (x.view(2, 6), a.T.view(3, 2, 2), (x * a).view(-1))),
    "joined constants": lambda: closed_over(
        rg.tensor(X), lambda x, a: (F.cross_entropy(x * a, rg.cat([rg.arange(2), rg.arange(1, 3)])),)
    ),
    "indices": lambda: closed_over(np.array([0, 2, 3]), lambda x, a: (x[a], x.index_select(0, a))),
    "a mask": lambda: closed_over(np.array([True, False, False, True]), lambda x, a: x[a]),
    "a number that is read": lambda: closed_over(rg.tensor([2.0, 3.0]), lambda x, a: x * a.tolist()[0]),
    "repeats": lambda: closed_over(rg.tensor([1, 2, 0, 1]), lambda x, a: x.repeat_interleave(a, 0)),
    "variables of a function around": variables,
    "globals": globals_,
    "attributes": attributes,
    "options of layers": options_of_layers,
    "accumulators": accumulators,
    "masks": masks,
    "leaves of its own": own_leaves,
    "a parameter in another order": fortran_parameter,
    "views of one memory": views_of_one_memory,
    "gradients, there or not": gradients_there_or_not,
    "gradients asked for": gradients_asked_for,
}


def put(to: rg.Tensor, key: Any, value: Any) -> None:
    to[key] = value


STATEMENTS: list[Callable[[list[rg.Tensor], int, int], Any]] = [
    lambda m, i, j: m.append(rg.zeros(4)),
    lambda m, i, j: m.append(rg.full((4,), 2.5)),
    lambda m, i, j: m.append(m[i] * 2.0 + 1.0),
    lambda m, i, j: m.append(m[i] * 1.0),
    lambda m, i, j: m.append(m[i] + m[j]),
    lambda m, i, j: m.append(m[i].mean() / 1.0 * m[j]),
    lambda m, i, j: m.append(rg.where(m[i] > 0.1, m[j], m[i])),
    lambda m, i, j: m.append(m[i].flip(0)),
    lambda m, i, j: m.append(m[i][:]),
    lambda m, i, j: m[i].add_(m[j]),
    lambda m, i, j: m[i].copy_(m[j]),
    lambda m, i, j: m[i].clamp_(-1.0, 1.0),
    lambda m, i, j: m[i].zero_(),
    lambda m, i, j: put(m[i], 1, m[j][2]),
    lambda m, i, j: put(m[i], slice(1, 3), m[j][:2]),
    lambda m, i, j: put(m[i], m[j] > 0.3, 0.25),
]
"""What a step may do with memory of which it holds several pieces of four numbers, some of them views of others."""


@pytest.mark.parametrize("backend_name", ["numpy", "c"])
@example([(STATEMENTS[0], 0, 0), (STATEMENTS[13], 3, 0), (STATEMENTS[2], 3, 0)])
@given(st.lists(st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_memory_that_a_step_writes_is_what_it_is_in_eager_mode(backend_name: str, statements: list[Any]) -> None:
    if backend_name not in rg.backends.available():
        pytest.skip("not available")

    def results(compiled: bool) -> list[list[float]]:
        outside, weight = rg.tensor([1.0, -0.4, 0.0, 2.0]), nn.Parameter(rg.tensor([0.5, -1.0, 0.2, 0.9]))

        def step(x: rg.Tensor) -> Any:
            memory = [x.clone(), outside, rg.ones(4)]
            with rg.no_grad():
                for statement, i, j in statements:
                    statement(memory, i % len(memory), j % len(memory))
            weight.grad = None
            sum((weight * m).mean() for m in memory).backward()
            return *(m * 1.5 for m in memory), weight.grad

        run = rg.compile(step) if compiled else step
        return [t.tolist() for n in (1.0, 2.0) for t in run(rg.tensor([0.1, 0.7, -0.6, 0.3]) * n)]

    with rg.backends.use(backend_name):
        np.testing.assert_allclose(results(compiled=True), results(compiled=False), rtol=1e-5, atol=1e-6)


def numbers(returned: Any) -> list[np.ndarray]:
    return [t.detach().numpy().copy() for t in (returned if isinstance(returned, tuple) else (returned,))]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WORLDS)
def test_each_call_is_an_eager_one(backend: str, name: str) -> None:
    eager, compiled = WORLDS[name](), WORLDS[name]()
    program = rg.compile(compiled.step)
    for call in range(5):
        x = X * (call + 1)
        expected, got = numbers(eager.step(rg.tensor(x))), numbers(program(x))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=f"call {call}")
        eager.change(call)
        compiled.change(call)


def test_options_are_not_set_in_a_step_but_a_schedule_may_stand_there(backend: str) -> None:
    def trained(compiled: bool) -> Any:
        w = nn.Parameter(rg.ones(3))
        optimizer = optim.SGD([w], lr=0.5)
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

        def step(x: rg.Tensor) -> None:
            w.grad = x * 1.0
            optimizer.step()
            schedule.step()

        run = rg.compile(step) if compiled else step
        for _ in range(3):
            run(rg.ones(3))
        return optimizer, w

    optimizer, w = trained(compiled=True)
    assert w.tolist() == trained(compiled=False)[1].tolist() == [0.125] * 3
    for change in (lambda g: g.update(lr=0.1), lambda g: g.__setitem__("lr", 0.1)):
        with pytest.raises(RuntimeError, match=r"optimizer: lr is set in a compiled step; .* a scheduler's step\(\)"):
            rg.compile(lambda x, change=change: change(optimizer.param_groups[0]))(rg.ones(3))
    assert optimizer.param_groups[0]["lr"] == 0.0625


def test_a_step_that_drops_a_gradient_itself_is_traced_twice_at_most(backend: str) -> None:
    w, traces = nn.Parameter(rg.ones(3)), []

    @rg.compile
    def step(x: rg.Tensor) -> rg.Tensor:
        traces.append(x)
        w.grad = None
        (w * x).sum().backward()
        return w.grad

    for n in (1.0, 2.0, 3.0, 4.0):
        np.testing.assert_array_equal(step(rg.full((3,), n)), np.full(3, n))
    assert len(traces) <= 2


def test_a_step_that_reads_the_gradient_of_the_one_before_is_traced_twice(backend: str) -> None:
    w, traces = nn.Parameter(rg.ones(3)), []

    @rg.compile
    def step(x: rg.Tensor) -> Any:
        traces.append(x)
        before = rg.zeros(3) if w.grad is None else w.grad + 0.0
        w.grad = None
        (w * x).sum().backward()
        return before

    read = [step(rg.full((3,), n)).tolist()[0] for n in (1.0, 2.0, 3.0, 4.0)]
    assert read == [0.0, 1.0, 2.0, 3.0]
    given = w.grad = rg.full((3,), 9.0)
    assert step(rg.ones(3)).tolist()[0] == 9.0
    assert given.tolist()[0] == 9.0, "it is not the step's own"
    assert len(traces) == 3


def by_hand(optimizer: optim.Optimizer) -> None:
    for p in optimizer.param_groups[0]["params"]:
        p.grad = None


def to_zeros(optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=False)


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("clear", [optim.Optimizer.zero_grad, by_hand, to_zeros])
def test_gradients_that_one_step_gathers_and_another_takes(
    backend: str, clear: Callable[[optim.Optimizer], None], runs: bool
) -> None:
    def train(compiled: bool) -> list[Any]:
        w = nn.Parameter(X[0].copy())
        optimizer = optim.SGD([w], lr=0.1)

        def gather(x: rg.Tensor) -> rg.Tensor:
            loss = (x @ w).square().sum()
            loss.backward()
            return loss

        def take() -> rg.Tensor:
            norm = (w.grad**2).sum()
            optimizer.step()
            clear(optimizer)
            return norm

        gather_step, take_step = (rg.compile(gather), rg.compile(take)) if compiled else (gather, take)
        seen: list[Any] = []
        for _ in range(4):
            if compiled and runs:
                gather_step.run(X, batch_size=1)
            else:
                for row in X:
                    gather_step(rg.tensor(row[None]))
            seen += [*w.grad.tolist(), take_step().item(), w.grad is None, *w.tolist()]
        return seen

    np.testing.assert_allclose(train(compiled=True), train(compiled=False), rtol=1e-5)


def test_numbers_that_the_step_changes_itself_are_told() -> None:
    agent, calls = Agent(), 0

    def step(x: rg.Tensor) -> rg.Tensor:
        nonlocal calls
        calls += 1
        agent.discount *= 0.5
        return x * calls * agent.discount

    with pytest.warns(UserWarning, match="compile: step makes") as told:
        rg.compile(step)(X)
    found = sorted(str(warning.message).split(";")[0] for warning in told)
    assert found == [
        "compile: step makes calls 1, which was 0",
        "compile: step makes discount 0.45, which was 0.9",
    ]


@rg.compile
def doubled(x: rg.Tensor) -> rg.Tensor:
    return x * 2.0


class Holder(nn.Module):
    """A module with a compiled method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Scaled(2.0)
        self.fast = rg.compile(self.forward)

    def forward(self, x: rg.Tensor) -> rg.Tensor:
        return self.inner(x)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("make", [Agent, Holder])
def test_a_copy_of_an_object_has_steps_of_its_own(backend: str, make: Any, copied: Any) -> None:
    original = make()
    before = original.fast(X).numpy()
    twin = copied(original)
    name = "model" if make is Agent else "inner"
    getattr(twin, name).scale = 5.0
    np.testing.assert_allclose(twin.fast(X), (twin.value if make is Agent else twin)(rg.tensor(X)).detach(), rtol=1e-6)
    assert not np.allclose(twin.fast(X), before)
    np.testing.assert_array_equal(original.fast(X), before)


def test_a_step_of_a_function_is_copied_by_its_name() -> None:
    assert copy.deepcopy(doubled) is doubled
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy(rg.compile(keep))(rg.ones(1)).tolist() == [1.0]


KEPT: list[rg.Tensor] = []


def keep(x: rg.Tensor) -> rg.Tensor:
    KEPT[:] = [x * 2.0]
    return x


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda t: t.item(), "made while a step was traced, at .*test_program_outside.*Return it from the step"),
        (lambda t: t.sum(), "made while a step was traced, at .*test_program_outside.*keep a tensor outside"),
        (lambda t: t + 1.0, "made while a step was traced, at .*test_program_outside.*Return it from the step"),
        (lambda t: rg.compile(lambda x: x + t)(rg.ones(1)), "used in another trace, at .*test_program_outside"),
    ],
)
def test_what_was_kept_from_a_trace_has_no_value(backend: str, use: Any, says: str) -> None:
    rg.compile(keep)(rg.ones(1))
    assert repr(KEPT[0]) == "tensor(..., shape=(1,))"
    with pytest.raises(TraceError, match=says):
        use(KEPT[0])


def sets_data(w: rg.Tensor, x: rg.Tensor) -> None:
    w.data = x * 2.0


def updates_what_it_reads(w: rg.Tensor, x: rg.Tensor) -> None:
    with rg.no_grad():
        w.sub_(x * w.item())


def sets_at_unknown_places(w: rg.Tensor, x: rg.Tensor) -> None:
    rg.zeros(3)[x.argmax(0, keepdim=True)] = 1.0


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (sets_data, RuntimeError, r"data: .*\(1,\) cannot be given values that are not known yet.*copy_\(\)"),
        (updates_what_it_reads, TraceError, r"value of a tensor of shape \(1,\) is read, at .*test_program_outside"),
        (sets_at_unknown_places, IndexError, r"setitem: at indices that are not known yet.*rg\.where"),
    ],
)
def test_what_a_program_cannot_hold_changes_nothing(step: Any, error: type[Exception], says: str) -> None:
    w = nn.Parameter(rg.ones(1))
    with pytest.raises(error, match=says):
        rg.compile(lambda x: step(w, x))(rg.ones(1))
    assert w.tolist() == [1.0]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["record", "step", "another", "run"]), min_size=1, max_size=8))
def test_a_graph_refuses_memory_that_a_step_changed_since(doings: list[str]) -> None:
    w = rg.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def scale(x: rg.Tensor) -> rg.Tensor:
        with rg.no_grad():
            w.mul_(0.5)
        return x.sum()

    steps = {"step": rg.compile(scale), "another": rg.compile(lambda x: scale(x))}
    graphs: list[tuple[rg.Tensor, int]] = []
    changes = 0
    for doing in doings:
        if doing == "record":
            graphs.append(((w * w).sum(), changes))
            continue
        changes += 1
        if doing == "run":
            steps["step"].run(X, batch_size=len(X))
        else:
            steps[doing](X)
    for graph, before in graphs:
        if before == changes:
            graph.backward()
        else:
            with pytest.raises(RuntimeError, match="changed in place"):
                graph.backward()


def test_a_step_that_nobody_holds_is_freed_at_once() -> None:
    w = rg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    step = rg.compile(lambda x: {"loss": (w * x).sum()})
    for _ in range(2):
        step(X)
    plan = weakref.ref(step.plan_of([X]))
    gc.disable()
    try:
        del step
        assert plan() is None
    finally:
        gc.enable()
