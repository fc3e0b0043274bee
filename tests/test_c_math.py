"""What only C can get wrong about elementary functions and sums: last bits, far ends, instruction sets, threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import retrograd as rg
from retrograd.kernels.activation import FROM_OUTPUT

pytestmark = [
    pytest.mark.skipif("c" not in rg.backends.available(), reason="the C backend is not built"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of the far ends, in the expected values
]

if "c" in rg.backends.available():
    from retrograd.backends.c import activation, elementary, loss, native, random, reduction, update

    ISAS = rg.backends.describe("c")["available"].split(", ")
else:
    ISAS = []

Array = np.ndarray


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = native.lib.rg_isa()
    assert native.lib.rg_select_isa(request.param.encode()) == native.NULL
    yield request.param
    native.lib.rg_select_isa(native.ffi.string(before))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = rg.get_num_threads()
    yield
    rg.set_num_threads(before)


def numbers(dtype: type) -> Array:
    """Numbers of every magnitude and sign, and more of those near which functions bend; float32: one in 4099 of all."""
    rng = np.random.default_rng(0)
    if dtype == np.float32:
        everywhere = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    else:
        everywhere = rng.integers(0, 2**64, 300_000, dtype=np.uint64).view(np.float64)
    bends = [rng.uniform(-width, width, 50_000).astype(dtype) for width in (1, 8, 110, 760)]
    quarter_turns = (np.arange(200_000) * (np.pi / 2)).astype(dtype)
    return np.concatenate([everywhere, *bends, quarter_turns, ends(dtype)])


def ends(dtype: type) -> Array:
    smallest, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    return np.array([0.0, -0.0, np.inf, -np.inf, np.nan, smallest, -smallest, largest, -largest], dtype)


def ulps(actual: Array, exact: Array) -> float:
    """The largest error in units of the last place of the result; infinite where one is NaN and the other is not."""
    dtype = actual.dtype.type
    rounded = exact.astype(dtype)
    spacing = np.spacing(np.maximum(np.abs(rounded), np.finfo(dtype).tiny)).astype(exact.dtype)
    error = np.abs(actual - exact) / spacing
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(exact))
    return float(np.max(np.where(same, 0, np.where(np.isnan(error), np.inf, error))))


def c_exp(x: Array) -> Array:
    """exp(x), as the cotangent that log_softmax's backward kernel gives 0 for a sum of -1."""
    g = np.broadcast_to(np.array([0, -1], x.dtype), (x.size, 2))
    return reduction.KERNELS["log_softmax_backward"](g, np.stack([x, np.zeros_like(x)], axis=1), 1)[:, 0]


def c_activation(name: str) -> Callable[[Array], Array]:
    return lambda x: activation.activation_forward(x, name, 1.0)


def c_elementary(name: str) -> Callable[[Array], Array]:
    return lambda x: elementary.KERNELS[name](x)


def by_element(function: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda x: np.fromiter(map(function, x.tolist()), np.float64, x.size)


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def silu(x: Array) -> Array:
    return np.maximum(x, np.finfo(x.dtype).min) * sigmoid(x)


def gelu_tanh(x: Array) -> Array:
    two = x.dtype.type(2)
    return np.maximum(x, np.finfo(x.dtype).min) * sigmoid(two * np.sqrt(two / PI) * (x + x**3 * 44715 / 1000000))


def gelu(x: Array) -> Array:
    """By the library's erfc, which is exact in float64 alone."""
    below = by_element(math.erfc)((x * -np.sqrt(0.5)).astype(np.float64))
    return np.maximum(x, np.finfo(x.dtype).min) * (below / 2)


PI = np.longdouble("3.14159265358979323846264338327950288")

EXACT = {
    # the function, its value in a wider type, the units in the last place that it may be off
    "exp": (c_exp, np.exp, 1.0),
    "tanh": (c_activation("tanh"), np.tanh, 2.0),
    "sigmoid": (c_activation("sigmoid"), sigmoid, 2.0),
    "softplus": (c_activation("softplus"), softplus, 2.0),
    **{
        name: (c_elementary(name), getattr(np, name), 2.0)
        for name in ("exp2", "expm1", "log", "log2", "log1p", "sin", "cos")
    },
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_functions_are_exact_to_the_last_bits(isa, name, dtype):
    function, exact, bound = EXACT[name]
    wide = np.float64 if dtype == np.float32 else np.longdouble
    if np.finfo(wide).eps > np.finfo(dtype).eps / 1000:
        pytest.skip("no wider type here")
    x = numbers(dtype)
    assert ulps(function(x), exact(x.astype(wide))) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*EXACT, "erf"])
def test_limits_and_signed_zeros(isa, name, dtype):
    x = ends(dtype)
    if name in ("sin", "cos"):  # which have no limits
        x = x[np.abs(x) < 1]
    if name == "erf":
        found, expected = c_elementary("erf")(x), by_element(math.erf)(x).astype(dtype)
    else:
        function, exact, _ = EXACT[name]
        found, expected = function(x), exact(x.astype(np.float64)).astype(dtype)
    np.testing.assert_array_equal(found, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 2.0), (np.float64, 3.0)])  # 3: math.erf's own last bits
def test_erf_is_exact_to_the_last_bits(isa, dtype, bound):
    x = numbers(dtype)
    assert ulps(c_elementary("erf")(x), by_element(math.erf)(x)) <= bound


# in float64 the expected gelu is no better: the argument of erfc is rounded, which in the tail costs many digits
@pytest.mark.parametrize(("dtype", "widest", "bound"), [(np.float32, np.inf, 2.0), (np.float64, 2.0, 12.0)])
@pytest.mark.parametrize(("name", "exact"), [("gelu", gelu), ("gelu_tanh", gelu_tanh), ("silu", silu)])
def test_numbers_times_a_distribution_are_exact_to_the_last_bits(isa, name, exact, dtype, widest, bound):
    x = numbers(dtype)
    x = x[~(np.abs(x) > widest)]
    wide = np.float64 if dtype == np.float32 or name == "gelu" else np.longdouble
    assert ulps(c_activation(name)(x), exact(x.astype(wide))) <= bound
    found = c_activation(name)(ends(dtype)[:5])
    np.testing.assert_array_equal(found, np.array([0, 0, np.inf, 0, np.nan]))
    assert list(np.signbit(found[:4])) == [False, True, False, True]


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "softplus", "sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slopes_have_limits(isa, name, dtype):
    far = np.array([-np.inf, np.finfo(dtype).min, -1e30, 1e30, np.finfo(dtype).max, np.inf, np.nan], dtype)
    saved = c_activation(name)(far) if name in FROM_OUTPUT else far
    slopes = activation.activation_backward(np.ones_like(far), saved, name, 1.0)
    above = 0.0 if name in FROM_OUTPUT else 1.0
    np.testing.assert_array_equal(slopes, np.array([0, 0, 0, above, above, above, np.nan], dtype))


def test_log_by_logsumexp(isa):
    for dtype in (np.float32, np.float64):
        for count in (1, 2, 3, 10, 1000, 65_537):
            found = np.atleast_1d(reduction.KERNELS["logsumexp"](np.zeros(count, dtype), (0,)))
            assert ulps(found, np.log(np.array([count], np.longdouble))) <= 1


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_sums_of_many_lose_little(isa, axis):
    x = np.random.default_rng(0).random((1000, 1200), np.float32)
    axes = axis if isinstance(axis, tuple) else (axis,)
    exact = x.sum(axis=axis, dtype=np.float64)
    assert np.max(np.abs(reduction.sum(x, axes) - exact) / exact) < 4 * np.finfo(np.float32).eps
    infinite = np.full((3, 100_000), np.inf, np.float32)
    assert np.all(reduction.sum(infinite, axes) == np.inf)


def test_results_do_not_depend_on_the_number_of_threads(isa):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3000, 70)).astype(np.float32)
    labels = rng.integers(0, 70, 3000)

    def run(threads: int) -> list[bytes]:
        rg.set_num_threads(threads)
        native.lib.rg_set_num_threads(threads)
        p, m, v = y.copy(), np.zeros_like(y), np.zeros_like(y)
        update.adam_update(p, x, m, v)
        results = [p, m, v, random.dropout(x, 0.5, 1, 2), random.random_uniform(100_000, 1, 2, np.float64)]
        results += [reduction.sum(x, axes) for axes in ((0,), (1,), (0, 1))]
        results += [reduction.KERNELS["softmax"](x, axis) for axis in (0, 1)]
        for found in (loss.mse_loss(x, y), loss.bce_with_logits_loss(x, y), loss.cross_entropy_loss(x, labels)):
            results += found
        return [a.tobytes() for a in results]

    assert run(1) == run(2) == run(3)
