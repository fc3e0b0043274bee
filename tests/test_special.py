"""Special functions against SciPy's, and at the places where they are singular."""

from __future__ import annotations

import math

import numpy as np
import pytest

import retrograd as rg

scipy_special = pytest.importorskip("scipy.special", reason="scikit-learn brings it")

X = np.concatenate([np.linspace(-30.3, 30.7, 3001), 10.0 ** np.linspace(-12, 12, 50)])


@pytest.mark.parametrize(("name", "theirs"), [("erf", "erf"), ("erfc", "erfc"), ("lgamma", "gammaln")])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-7)])
def test_agrees_with_scipy(name: str, theirs: str, dtype: str, tolerance: float) -> None:
    x = X.astype(dtype)
    found = getattr(rg.kernels, name)(x)
    assert found.dtype == x.dtype
    expected = getattr(scipy_special, theirs)(x.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", range(6))
def test_polygamma_is_hurwitz_zeta(n: int) -> None:
    expected = (
        scipy_special.digamma(X) if n == 0 else (-1.0) ** (n + 1) * math.factorial(n) * scipy_special.zeta(n + 1, X)
    )
    np.testing.assert_allclose(rg.kernels.polygamma(X, n), expected, rtol=1e-12, atol=1e-12)


def test_singular_places() -> None:
    special = np.array([0.0, -0.0, -1.0, -2.0, np.inf, np.nan])
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(rg.kernels.polygamma(special, 0), [-inf, inf, nan, nan, inf, nan])
    np.testing.assert_array_equal(rg.kernels.polygamma(special, 1), [inf, inf, inf, inf, 0, nan])
    np.testing.assert_array_equal(rg.kernels.lgamma(special), [inf, inf, inf, inf, inf, nan])
    assert rg.kernels.lgamma(np.float64(1e308)) == inf


@pytest.mark.parametrize("n", range(6))
def test_derivatives_of_sinc_are_integrals(n: int) -> None:
    """sinc(x) is the integral of cos(pi x t) over t from 0 to 1, here by Gauss and Legendre."""
    t, weight = np.polynomial.legendre.leggauss(100)
    t, weight = (t + 1) / 2, weight / 2
    x = np.linspace(-6, 6, 601)
    expected = math.pi**n * (weight * t**n * np.cos(math.pi * np.outer(x, t) + n * math.pi / 2)).sum(1)
    np.testing.assert_allclose(rg.kernels.sinc(x, n), expected, rtol=0, atol=1e-13 * math.pi**n)
