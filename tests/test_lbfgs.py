"""L-BFGS beside PyTorch's, its line search on lines of many forms, and closures that are compiled steps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrograd as rg
from retrograd import optim
from retrograd.optim.line_search import CURVATURE, SUFFICIENT_DECREASE, Point, StrongWolfe

RNG = np.random.default_rng(0)
WEIGHTS, BIAS = RNG.normal(size=(3, 4)), RNG.normal(size=(4,))
X, Y = RNG.normal(size=(20, 3)), np.tanh(RNG.normal(size=(20, 4)))


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def fitting(library, **options):
    """An optimizer, the parameters, and a closure."""
    made = [library.tensor(a, requires_grad=True) for a in (WEIGHTS, BIAS)]
    optimizer = library.optim.LBFGS(made, **options)
    x, y = library.tensor(X), library.tensor(Y)

    def closure():
        optimizer.zero_grad()
        loss = (((x @ made[0] + made[1]).tanh() - y) ** 2).mean()
        loss.backward()
        return loss

    return optimizer, made, closure


def assert_equal(ours, theirs, rtol):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach(), q.detach(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.5, "max_iter": 8},
        {"max_iter": 6, "history_size": 3},
        {"max_iter": 20, "max_eval": 5},
        {"max_iter": 20, "tolerance_grad": 0.1},
        {"max_iter": 20, "tolerance_change": 1e-2},
        {"max_iter": 4, "line_search_fn": "strong_wolfe"},
        {"lr": 0.1, "max_iter": 4, "history_size": 2, "line_search_fn": "strong_wolfe"},
    ],
    ids=str,
)
def test_steps_equal_pytorchs(torch, options):
    (mine, ours, closure), (peer, theirs, peers_closure) = fitting(rg, **options), fitting(torch, **options)
    for _ in range(2):
        np.testing.assert_allclose(mine.step(closure).item(), peer.step(peers_closure).item(), rtol=1e-7)
        assert mine.state[ours[0]]["func_evals"] == peer.state[theirs[0]]["func_evals"]
    assert_equal(ours, theirs, 1e-6)


def test_defaults_are_pytorchs(torch):
    mine, peer = (library.optim.LBFGS([library.ones(1, requires_grad=True)]) for library in (rg, torch))
    assert mine.defaults == {option: peer.defaults[option] for option in mine.defaults}


def test_state_travels_to_pytorch_and_back(torch):
    """Two steps there, two here, two there equal six there."""
    options = {"lr": 0.5, "max_iter": 2}
    (mine, ours, closure), (peer, theirs, peers_closure) = fitting(rg, **options), fitting(torch, **options)
    whole, all_of_it, whole_closure = fitting(torch, **options)
    for _ in range(6):
        whole.step(whole_closure)
    for _ in range(2):
        peer.step(peers_closure)
    mine.load_state_dict(peer.state_dict())
    for p, q in zip(ours, theirs, strict=True):
        p.data = rg.tensor(q.detach().numpy())
    for _ in range(2):
        mine.step(closure)

    def convert(value):
        if isinstance(value, list):
            return [convert(v) for v in value]
        return torch.tensor(value.numpy()) if isinstance(value, rg.Tensor) else value

    saved = mine.state_dict()
    saved["state"] = {i: {k: convert(v) for k, v in kept.items()} for i, kept in saved["state"].items()}
    peer.load_state_dict(saved)
    for p, q in zip(ours, theirs, strict=True):
        q.data = torch.tensor(p.detach().numpy())
    for _ in range(2):
        peer.step(peers_closure)
    assert_equal(theirs, all_of_it, 1e-9)


def test_state_that_does_not_fit_changes_nothing():
    mine, ours, closure = fitting(rg)
    mine.step(closure)
    saved = mine.state_dict()
    number = mine.state[ours[0]]["n_iter"]
    with pytest.raises(ValueError, match=r"LBFGS: loaded d has shape \(2,\), expected \(16,\)"):
        mine.load_state_dict({**saved, "state": {0: {**saved["state"][0], "d": rg.zeros(2), "n_iter": 0}}})
    assert mine.state[ours[0]]["n_iter"] == number


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_compiled_closure_is_as_good(backend, search):
    eager, ours, closure = fitting(rg, max_iter=5, line_search_fn=search)
    compiled, theirs, other = fitting(rg, max_iter=5, line_search_fn=search)
    other = rg.compile(other)
    for _ in range(3):
        np.testing.assert_allclose(eager.step(closure).item(), compiled.step(other).item(), rtol=1e-9)
    assert_equal(ours, theirs, 1e-7)


def test_the_search_is_not_for_compiled_steps():
    mine, _, closure = fitting(rg)
    with pytest.raises(RuntimeError, match=r"LBFGS: step\(\) looks at losses .* compile the closure instead"):
        rg.compile(lambda: mine.step(closure))()
    for bad, message in [(None, "needs a closure"), (lambda: None, "the closure returned None, expected the loss")]:
        with pytest.raises(TypeError, match=message):
            mine.step(bad)


def test_rosenbrocks_valley():
    w = rg.tensor([-1.2, 1.0] * 5, dtype="float64", requires_grad=True)
    mine = optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=100, max_eval=200)

    @rg.compile
    def closure():
        mine.zero_grad()
        loss = (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()
        loss.backward()
        return loss

    mine.step(closure)
    assert closure().item() < 1e-10


def test_a_step_into_nan_is_taken_back():
    w = rg.tensor([0.5], dtype="float64", requires_grad=True)
    mine = optim.LBFGS([w], lr=100.0, line_search_fn="strong_wolfe")

    def closure():
        mine.zero_grad()
        loss = (w.log() ** 2).sum()  # not a number at and below 0
        loss.backward()
        return loss

    for _ in range(3):
        mine.step(closure)
    np.testing.assert_allclose(w.detach(), [1.0], rtol=1e-6)


def test_where_no_step_helps_nothing_moves():
    w = rg.tensor([0.5], requires_grad=True)
    mine = optim.LBFGS([w], line_search_fn="strong_wolfe")

    def closure():
        w.grad = rg.tensor([1.0])  # not the gradient of this
        return -w.sum()

    for _ in range(2):
        mine.step(closure)
        assert w.tolist() == [0.5]


LINES = {
    "a parabola": (lambda t, a: (a * t - 1) ** 2, lambda t, a: 2 * a * (a * t - 1)),
    "a sine": (lambda t, a: -math.sin(a * t), lambda t, a: -a * math.cos(a * t)),
    "a flat valley": (lambda t, a: -t / (t * t + a), lambda t, a: (t * t - a) / (t * t + a) ** 2),  # More and Thuente 1
    "a sharp one": (lambda t, a: t**5 - 2 * a * (t + 0.004) ** 4, lambda t, a: 5 * t**4 - 8 * a * (t + 0.004) ** 3),
    "a wall": (
        lambda t, a: -math.log(max(1 - a * t, 0) or math.nan) - 3 * a * t,
        lambda t, a: a / (1 - a * t) - 3 * a if a * t < 1 else math.nan,
    ),
}  # fmt: skip


@given(line=st.sampled_from(sorted(LINES)), scale=st.floats(0.1, 10), first=st.floats(1e-3, 1e3))
def test_the_step_holds_the_strong_wolfe_conditions(line, scale, first):
    loss, slope = LINES[line]

    def point(t):
        return Point(t, loss(t, scale), np.zeros(0), slope(t, scale))

    start = point(0.0)
    found = StrongWolfe(point, start, evaluations=60).search(first)
    assert found.loss <= start.loss + SUFFICIENT_DECREASE * found.t * start.slope
    assert abs(found.slope) <= -CURVATURE * start.slope


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "LBFGS: Invalid learning rate: -1"),
        ({"max_iter": 0}, "Invalid max_iter: 0"),
        ({"history_size": 0}, "Invalid history_size: 0"),
        ({"tolerance_change": -1}, "Invalid tolerance_change: -1"),
        ({"line_search_fn": "armijo"}, "Invalid line_search_fn, expected None or 'strong_wolfe': armijo"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitting(rg, **options)


def test_one_group_alone():
    p, q = rg.ones(1, requires_grad=True), rg.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="LBFGS: parameter groups with options of their own are not possible"):
        optim.LBFGS([{"params": [p]}, {"params": [q]}])


def test_gradients_that_do_not_fit_are_refused():
    mine, (w, _), closure = fitting(rg)

    def bad():
        loss = closure()
        w.grad = rg.ones(3)
        return loss

    with pytest.raises(RuntimeError, match=r"LBFGS: the gradient of a parameter is float32 of shape \(3,\)"):
        mine.step(bad)
