"""rg.set_matmul_precision: the same rounding on all backends, eager and compiled, and trainings that come out alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim
from retrograd.kernels.precision import round_to_bf16


@pytest.fixture(params=rg.backends.MODULES, autouse=True)
def _backend(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param not in rg.backends.available():
        pytest.skip(f"{request.param} is not available")
    with rg.backends.use(request.param):
        yield
    rg.set_matmul_precision("float32")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize(("rows", "n_in", "n_out"), [(1, 1, 1), (5, 3, 7), (1, 40, 33), (64, 784, 128), (70, 16, 1)])
def test_factors_are_rounded_and_sums_are_not(rows, n_in, n_out):
    x, w, b, g = draw(rows, n_in), draw(n_out, n_in), draw(n_out), draw(rows, n_out)
    exact = rg.kernels.linear_forward(x, w, b, "relu")
    rg.set_matmul_precision("bf16")
    y = rg.kernels.linear_forward(x, w, b, "relu")
    dx, dw, db = rg.kernels.linear_backward(g, x, w, y, "relu")
    xr, wr, d = (a.astype(float) for a in (round_to_bf16(x), round_to_bf16(w), np.where(y > 0, g, 0)))
    dr = round_to_bf16(d.astype(np.float32)).astype(float)
    expected = {
        "y": (y, np.maximum(xr @ wr.T + b, 0)),
        "dx": (dx, dr @ wr),
        "dw": (dw, dr.T @ xr),
        "db": (db, d.sum(0)),
    }
    expected["matmul"] = rg.kernels.matmul(x, w.T), xr @ wr.T
    for name, (found, value) in expected.items():
        np.testing.assert_allclose(found, value, rtol=0, atol=3e-5 * (1 + np.abs(value).max()), err_msg=name)
    assert rows * n_in == 1 or np.abs(y - exact).max() > 1e-4
    wide = rg.kernels.matmul(x.astype(float), w.T.astype(float))
    np.testing.assert_allclose(wide, x.astype(float) @ w.T, rtol=0, atol=1e-10)


@given(hnp.arrays(np.float32, 20, elements=st.floats(width=32)))
def test_rounding(x):
    found = round_to_bf16(x)
    assert np.all((found.view(np.uint32) & 0xFFFF == 0) | np.isnan(x))
    assert np.array_equal(np.isnan(found), np.isnan(x))
    ordinary = np.abs(x) < 3.3e38
    spacing = np.exp2(np.floor(np.log2(np.maximum(np.abs(x[ordinary]), 2.0**-126))) - 7)
    assert np.all(np.abs(found[ordinary].astype(float) - x[ordinary]) <= spacing / 2)


def test_a_compiled_step_follows():
    model = nn.Linear(64, 48)
    step = rg.compile(lambda x: model(x))
    x = draw(32, 64)
    results = {}
    for precision in ("float32", "bf16", "float32", "bf16"):
        rg.set_matmul_precision(precision)
        assert rg.get_matmul_precision() == precision
        y = step(x).detach().numpy().copy()
        np.testing.assert_allclose(y, model(rg.from_numpy(x)).detach().numpy(), atol=1e-5)
        assert np.array_equal(results.setdefault(precision, y), y)
    assert np.abs(results["float32"] - results["bf16"]).max() > 1e-4


def test_an_unknown_precision():
    with pytest.raises(ValueError, match="set_matmul_precision: 'half' is not one of 'float32', 'bf16'"):
        rg.set_matmul_precision("half")
    assert rg.get_matmul_precision() == "float32"


def test_trainings_come_out_alike():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    held_out = np.arange(len(y)) % 5 == 0
    accuracy = {}
    for precision in ("float32", "bf16"):
        rg.set_matmul_precision(precision)
        rg.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = optim.Adam(model.parameters(), lr=3e-3)

        @rg.compile
        def step(x, y, model=model, optimizer=optimizer):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        step.run(x[~held_out], y[~held_out], batch_size=64, epochs=15, shuffle=True)
        assert all(p.dtype == np.float32 for p in model.parameters())
        accuracy[precision] = np.mean(model(rg.from_numpy(x[held_out])).detach().numpy().argmax(1) == y[held_out])
    assert accuracy["float32"] > 0.95
    assert accuracy["bf16"] > accuracy["float32"] - 0.012
