"""Products of numbers rounded to bfloat16, by each unit that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retrograd as rg

pytestmark = pytest.mark.skipif("c" not in rg.backends.available(), reason="the C backend is not built")

if "c" in rg.backends.available():
    from retrograd.backends.c import native, product

    UNITS = [name for name in ("amx", "dot", "float32") if native.lib.rg_select_bf16(name.encode()) == 0]
    ISAS = rg.backends.describe("c")["available"].split(", ")
    native.lib.rg_select_bf16(b"")
else:
    UNITS = ISAS = []


def rounded(x: np.ndarray) -> np.ndarray:
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.fixture(params=[(ISAS[0], unit) for unit in UNITS] + [(isa, "float32") for isa in ISAS[1:]], ids="-".join)
def unit(request: pytest.FixtureRequest) -> Iterator[None]:
    lib, (isa, name) = native.lib, request.param
    before = lib.rg_isa()
    assert lib.rg_select_isa(isa.encode()) == native.NULL
    assert lib.rg_select_bf16(name.encode()) == 0
    lib.rg_round_products(1)
    yield
    lib.rg_round_products(0)
    lib.rg_select_isa(native.ffi.string(before))


SIZES = st.integers(0, 70) | st.sampled_from([128, 700, 1100])


@settings(max_examples=60)
@given(SIZES, SIZES, SIZES, st.booleans(), st.booleans(), st.integers(1, 3), st.sampled_from([1, 2]))
def test_products_of_rounded_factors(unit, m, n, k, a_turned, b_turned, threads, step):
    rg.set_num_threads(threads)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, step * m) if a_turned else (m, step * k)).astype(np.float32)[:, ::step]
    b = rng.standard_normal((n, step * k) if b_turned else (k, step * n)).astype(np.float32)[:, ::step]
    a, b = a.T if a_turned else a, b.T if b_turned else b
    c = product.matmul(a, b)
    exact = rounded(a).astype(float) @ rounded(b)
    np.testing.assert_allclose(c, exact, rtol=0, atol=1e-6 * (k + 8) ** 0.5 * max(1, np.max(np.abs(exact), initial=1)))
