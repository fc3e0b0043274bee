"""What only C can get wrong about the products: memory beyond the operands, instruction sets, threads, forks."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import retrograd as rg
from retrograd.kernels import product as reference
from retrograd.kernels.activation import ACTIVATIONS, FROM_OUTPUT

pytestmark = pytest.mark.skipif("c" not in rg.backends.available(), reason="the C backend is not built")

if "c" in rg.backends.available():
    from retrograd.backends.c import product

DTYPES = st.sampled_from([np.float32, np.float64])
SIZES = st.integers(0, 70) | st.sampled_from([127, 300])
NAMES = st.sampled_from(ACTIVATIONS)
PAGE = mmap.PAGESIZE


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = rg.get_num_threads()
    yield
    rg.set_num_threads(before)


class Guarded:
    """An array that ends where memory that may not be touched begins, or begins where such memory ends."""

    _mprotect = ctypes.CDLL(None, use_errno=True).mprotect

    def __init__(self, values: np.ndarray, at_end: bool) -> None:
        pages = -(-max(values.nbytes, 1) // PAGE)
        self._memory = mmap.mmap(-1, (pages + 2) * PAGE)
        whole = np.frombuffer(self._memory, np.uint8)
        for guard in (0, (pages + 1) * PAGE):
            self._protect(whole.ctypes.data + guard, 0)
        start = PAGE + (pages * PAGE - values.nbytes if at_end else 0)
        self.array = whole[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
        self.array[...] = values

    def _protect(self, address: int, protection: int) -> None:
        if self._mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), protection):
            raise OSError(ctypes.get_errno(), "mprotect")


def close(actual: np.ndarray | None, expected: np.ndarray | None, terms: int) -> None:
    if expected is None:
        assert actual is None
        return
    scale = np.max(np.abs(expected), initial=1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=scale * np.finfo(expected.dtype).eps * 4 * (terms + 4))


@settings(max_examples=80)
@given(SIZES, SIZES, SIZES, DTYPES, NAMES, st.booleans(), st.booleans(), st.booleans(), st.integers(1, 3))
# one and two columns beyond whole vectors, of more rows than are worked out at a time
@example(1300, 17, 127, np.float32, "tanh", True, False, False, 1)
@example(40, 34, 300, np.float32, "gelu", False, True, True, 2)
@example(530, 9, 300, np.float64, "relu", True, True, False, 1)
def test_products_stay_within_their_operands(m, n, k, dtype, activation, at_end, x_turned, w_turned, threads):
    rng = np.random.default_rng(0)
    rg.set_num_threads(threads)

    def draw(*shape: int, turned: bool = False) -> np.ndarray:
        values = rng.standard_normal(shape[::-1] if turned else shape).astype(dtype)
        keep.append(Guarded(values, at_end))
        return keep[-1].array.T if turned else keep[-1].array

    keep: list[Guarded] = []
    x, w, b = draw(m, k, turned=x_turned), draw(n, k, turned=w_turned), draw(n)
    close(product.matmul(x, w.T), reference.matmul.reference(x, w.T), k)
    given = (x, w, b, activation, 0.5, True)
    y, z = product.linear_forward(*given)
    for actual, expected in zip((y, z), reference.linear_forward.reference(*given), strict=True):
        close(actual, expected, k)
    close(product.linear_forward(x, w, b, activation, 0.5), y, k)
    g = draw(m, n)
    keep.append(Guarded(y if activation in FROM_OUTPUT else z, at_end))
    x_activation = activation if activation in FROM_OUTPUT else "relu"
    given = (g, x, w, keep[-1].array, activation, 0.5, True, True, True, x_activation, 0.5)
    gradients = product.linear_backward(*given)
    for actual, expected, terms in zip(gradients, reference.linear_backward.reference(*given), (n, m, m), strict=True):
        close(actual, expected, terms)


@settings(max_examples=30)
@given(SIZES, SIZES, SIZES, DTYPES, st.tuples(*[st.sampled_from([-3, -1, 1, 2])] * 4))
def test_any_strides(m, n, k, dtype, steps):
    rng = np.random.default_rng(0)

    def draw(rows: int, columns: int, down: int, across: int) -> np.ndarray:
        values = rng.standard_normal((abs(down) * rows, abs(across) * columns)).astype(dtype)
        return values[::down, ::across]

    a, b = draw(m, k, *steps[:2]), draw(k, n, *steps[2:])
    close(product.matmul(a, b), a @ b, k)
    record = np.zeros((m, k), [("tag", np.int8), ("value", dtype)])  # strides that are no multiple of the size
    record["value"] = a
    close(product.matmul(record["value"], b), a @ b, k)


@settings(max_examples=40)
@given(
    st.sampled_from([1, 2, 3, 7, 12, 40, 1100]),
    st.sampled_from([1000, 1024, 1030]),
    st.sampled_from([3, 65, 300]),
    DTYPES,
    st.booleans(),
    st.integers(1, 17),
)
def test_rows_far_apart_at_any_address(m, n, k, dtype, turned, offset):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, 1200)).astype(dtype)[:, :m].T if turned else rng.standard_normal((m, k)).astype(dtype)

    def at(offset: int) -> np.ndarray:
        return np.zeros(k * 2048 + offset, dtype)[offset:].reshape(k, 2048)[:, :n]

    b, moved = at(0), at(offset)
    b[...] = moved[...] = rng.standard_normal((k, n)).astype(dtype)
    result = product.matmul(a, b)
    close(result, reference.matmul.reference(a, b), k)
    assert result.tobytes() == product.matmul(a, moved).tobytes(), "the same bits wherever the factor lies"


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(3000, 40, 30), (200, 300, 400), (1, 700, 900), (5000, 1, 64)])
def test_same_bits_for_the_same_number_of_threads(shape, threads):
    rows, out, columns = shape
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((rows, columns)), rng.standard_normal((out, columns))

    def run() -> list[bytes]:
        y = product.linear_forward(x, w, None, "relu")
        return [y.tobytes(), *(d.tobytes() for d in product.linear_backward(y, x, w, y, "relu"))]

    rg.set_num_threads(threads)
    first = run()
    assert all(run() == first for _ in range(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_runs_after_its_parent_used_threads():
    a = np.random.default_rng(0).standard_normal((400, 400))
    rg.set_num_threads(2)
    expected = product.matmul(a, a)
    child = os.fork()
    if child == 0:
        same = np.allclose(product.matmul(a, a), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


SCRIPT = """
import numpy as np, retrograd as rg
x, w = np.arange(60.0).reshape(10, 6), np.arange(42.0).reshape(7, 6) - 20
with rg.backends.use("c"):
    assert np.allclose(rg.kernels.linear_forward(x, w, None, "relu"), np.maximum(x @ w.T, 0))
print(rg.backends.describe("c")["instruction set"])
"""


def _with_isa(name: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RETROGRAD_ISA": name, "RETROGRAD_BACKEND": "numpy"}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)


def test_each_instruction_set_can_be_chosen():
    for name in rg.backends.describe("c")["available"].split(", "):
        assert _with_isa(name).stdout.strip() == name


@pytest.mark.skipif(shutil.which("getconf") is None, reason="nothing to ask")
def test_the_sizes_of_the_caches_are_the_machines():
    told = {}
    for name in ("LEVEL1_DCACHE_SIZE", "LEVEL2_CACHE_SIZE"):
        run = subprocess.run(["getconf", name], capture_output=True, text=True, check=False)
        told[name] = int(run.stdout) if run.returncode == 0 and run.stdout.strip().isdigit() else 0
    if not (told["LEVEL1_DCACHE_SIZE"] and 1 << 18 <= told["LEVEL2_CACHE_SIZE"] <= 4 << 20):
        pytest.skip("getconf does not tell")
    words = rg.backends.describe("c")["caches"].split()
    assert [int(words[0]), int(words[-2])] == [size >> 10 for size in told.values()]


def test_an_unknown_instruction_set_is_an_error_that_lists_the_others():
    error = _with_isa("mmx").stderr
    assert "RETROGRAD_ISA: no instruction set 'mmx' here" in error
    assert "plain" in error
