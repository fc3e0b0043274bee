"""What is the Numba backend's own: when it loads, what it keeps on disk, its threads and its elementary functions."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import retrograd as rg

pytest.importorskip("numba")

from retrograd.backends import numba as backend
from retrograd.kernels.activation import ACTIVATIONS, FROM_OUTPUT
from retrograd.kernels.spec import TABLE


def python(source: str, **environment: str) -> str:
    """What another interpreter prints."""
    command = [sys.executable, "-W", "ignore", "-c", source]
    finished = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def complaint(source: str, **environment: str) -> str:
    """Why another interpreter, after running the source, cannot load the backend."""
    load = "import retrograd as rg; print(rg.backends.missing()['numba'])"
    return python(f"{source}\n{load}", RETROGRAD_BACKEND="numpy", **environment)


@pytest.fixture(scope="module")
def kernels():
    return backend.load().table


@pytest.fixture
def threads():
    """Sets the number of threads, until the test ends."""
    from retrograd.backends.numba import parallel

    before = parallel.get_num_threads()
    yield parallel.set_num_threads
    parallel.set_num_threads(before)


def test_numba_is_imported_only_where_its_backend_runs():
    source = "import sys, retrograd; print('numba' in sys.modules)"
    assert python(source, RETROGRAD_BACKEND="numpy") == "False"
    assert python(source, RETROGRAD_BACKEND="numba") == "True"


def test_the_reason_why_it_is_missing():
    assert complaint("import sys; sys.modules['numba'] = None") == (
        "numba is not installed; pip install 'retrograd[numba]'"
    )
    assert complaint("", NUMBA_DISABLE_JIT="1") == "NUMBA_DISABLE_JIT is set; unset it"


def test_a_numba_that_does_not_import_says_why(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs another NumPy')")
    reason = complaint(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    assert reason == "numba does not load: Numba needs another NumPy"


def test_a_second_process_does_not_compile_again(tmp_path):
    source = """
import numpy as np, retrograd as rg
from retrograd.backends.numba import update
p = np.ones(3)
rg.kernels.sgd_update(p, p.copy())
print(sum(update.sgd.stats.cache_misses.values()))
"""
    environment = {"RETROGRAD_BACKEND": "numba", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert python(source, **environment) == "1"
    assert python(source, **environment) == "0"
    # as after an edit of any of the backend's files
    assert python("import zlib; zlib.crc32 = lambda data: 0" + source, **environment) == "1"


def test_ctrl_c_waits_until_a_core_is_compiled():
    """Raised within LLVM's callbacks it is lost, within its finalizers it ends in a crash."""
    from numba.core import event

    from retrograd.backends.numba.jit import core

    @core
    def twice(x):
        return 2 * x

    class Interrupt(event.Listener):
        def on_start(self, compiling):
            signal.raise_signal(signal.SIGINT)

        def on_end(self, compiling):
            pass

    handler = signal.getsignal(signal.SIGINT)
    with event.install_listener("numba:compile", Interrupt()):
        twice._cache.flush()
        with pytest.raises(KeyboardInterrupt):
            twice(2.0)
        assert len(twice.overloads) == 1
        assert twice(2.0) == 4.0
    assert signal.getsignal(signal.SIGINT) is handler


def test_cores_run_where_nothing_can_be_kept():
    from retrograd.backends.numba.jit import core

    namespace = {}
    exec("def double(x):\n    x[0] *= 2", namespace)  # of no file, so that Numba finds no place to keep it
    x = np.ones(1)
    core(namespace["double"])(x)
    assert x[0] == 2


def test_layouts_compile_nothing_more(kernels):
    from retrograd.backends.numba.product import forward

    w = np.ones((4, 3), np.float32)
    x = np.ones((5, 3), np.float32)
    expected = kernels["linear_forward"](x, w)
    compiled = len(forward.signatures)
    locked = x.copy()
    locked.flags.writeable = False
    for other in (locked, np.asfortranarray(x), np.ones((5, 6), np.float32)[:, ::2], x[::-1]):
        for weight in (w, np.asfortranarray(w), np.ones((8, 3), np.float32)[::2]):
            np.testing.assert_array_equal(kernels["linear_forward"](other, weight), expected)
    assert len(forward.signatures) == compiled


def close(got, expected, dtype):
    """Each of the results is what is expected, within rounding."""
    limit = 100 * np.finfo(dtype).eps
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("rows", "k", "n", "here"), [(33, 17, 20, True), (5, 90, 70, False)])
def test_products_here_and_by_blas(kernels, dtype, activation, rows, k, n, here):
    from retrograd.backends.numba.product import runs_backward, runs_forward

    assert runs_forward(rows, k * n) == runs_backward(rows, k * n) == here
    draw = np.random.default_rng(0)
    x, w, b, g = (draw.standard_normal(shape).astype(dtype) for shape in ((rows, k), (n, k), (n,), (rows, n)))
    forward, backward = TABLE["linear_forward"].reference, TABLE["linear_backward"].reference
    for bias in (b, None):
        y, z = forward(x, w, bias, activation, 0.5, True)
        close(kernels["linear_forward"](x, w, bias, activation, 0.5, True), (y, z), dtype)
        close([kernels["linear_forward"](x, w, bias, activation, 0.5)], [y], dtype)
    for needs in ((True, True, True), (False, True, False), (True, False, True)):
        operands = (g, x, w, y if activation in FROM_OUTPUT else z, activation, 0.5, *needs)
        for x_activation in ("identity", "tanh"):
            given = (*operands, x_activation)
            close(kernels["linear_backward"](*given), backward(*given), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "n", "k"), [(130, 110, 120), (530, 200, 600), (1, 300, 4000), (2000, 1, 700)])
def test_bare_products_of_any_layout(kernels, threads, dtype, m, n, k):
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((m, k)).astype(dtype), draw.standard_normal((k, n)).astype(dtype)
    expected = a.astype(np.longdouble) @ b.astype(np.longdouble)
    wide = np.zeros((m, 2 * k), dtype)
    wide[:, ::2] = a
    for count in (1, 2):
        threads(count)
        for left in (a, np.asfortranarray(a), wide[:, ::2]):
            for right in (b, np.asfortranarray(b)):
                error = np.abs(kernels["matmul"](left, right) - expected)
                assert np.max(error) < 4 * k * np.finfo(dtype).eps


MANY = 10_001
"""More than a core works on between two additions to a sum in double precision, or two draws."""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_elements(kernels, dtype):
    draw = np.random.default_rng(0)
    x, target = (draw.standard_normal(MANY).astype(dtype) for _ in range(2))
    for name, operands in {
        "sum": (x, (0,)),
        "logsumexp": (x, (0,)),
        "softmax": (x, 0),
        "random_bits": (MANY, 2**64 - 1, 2**64 - 2),
        "random_uniform": (MANY, 1, 2, dtype),
        "dropout": (x, 0.3, 1, 2),
    }.items():
        close([kernels[name](*operands)], [TABLE[name].reference(*operands)], dtype)
    for name in ("mse_loss", "l1_loss", "huber_loss", "bce_with_logits_loss"):
        close(kernels[name](x, target), TABLE[name].reference(x, target), dtype)
    logits, labels = x.reshape(-1, 73), draw.integers(0, 73, MANY // 73)
    close(kernels["cross_entropy_loss"](logits, labels), TABLE["cross_entropy_loss"].reference(logits, labels), dtype)


LARGE = {
    "activation_forward": lambda x: (x, "sigmoid"),
    "activation_backward": lambda x: (x, x, "silu"),
    "softmax": lambda x: (x, 1),
    "log_softmax": lambda x: (x, 1),
    "logsumexp": lambda x: (x, (1,)),
}


@pytest.mark.parametrize("name", LARGE)
def test_threads_change_no_bit(kernels, threads, name):
    operands = LARGE[name](np.random.default_rng(0).standard_normal((1001, 999), np.float32))
    results = []
    for count in (1, 3, 3):
        threads(count)
        results.append(kernels[name](*operands))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_several_threads_may_call_at_once(kernels, threads):
    threads(2)
    x = np.random.default_rng(0).standard_normal((700, 1000))
    expected = kernels["softmax"](x, 1)
    equal = []

    def call():
        equal.extend(np.array_equal(kernels["softmax"](x, 1), expected) for _ in range(5))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert equal == [True] * 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_survive_a_fork():
    source = """
import os, numpy as np, retrograd as rg
rg.set_num_threads(2)
x = np.ones((700, 1000))
rg.kernels.softmax(x, 1)
child = os.fork()
y = rg.kernels.softmax(x, 1)
if child == 0:
    os._exit(0 if np.allclose(y, 1e-3) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(source, RETROGRAD_BACKEND="numba") == "0"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("activation", "exact"),
    [
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("softplus", lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
    ],
)
def test_elementary_functions_are_within_4_units_in_the_last_place(kernels, dtype, activation, exact):
    limit = -np.log(np.finfo(dtype).tiny)  # beyond, results are subnormal
    x = np.concatenate([np.linspace(-limit, limit, 20001), np.linspace(-3, 3, 20001)]).astype(dtype)
    y = kernels["activation_forward"](x, activation, 1.0)
    expected = exact(x.astype(np.longdouble))
    if np.finfo(np.longdouble).nmant <= np.finfo(dtype).nmant:
        pytest.skip("this machine's long double is no wider")
    assert np.max(np.abs(y - expected) / np.spacing(expected.astype(dtype))) <= 4


def test_sums_are_not_reordered_across_a_difference(kernels):
    # log(sum) - (x - top) taken as log(sum) + top - x loses everything beside 1e30
    x = np.array([[1e30, 0.0], [0.0, 0.0]], np.float32)
    loss, _ = kernels["cross_entropy_loss"](x, np.array([0, 1]), "sum")
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)


def test_a_class_that_there_is_not_is_an_error(kernels):
    with pytest.raises(IndexError, match="cross_entropy_loss: class index 3 is out of range; expected 0 to 2"):
        kernels["cross_entropy_loss"](np.zeros((2, 3)), np.array([0, 3]))


def test_other_dtypes_run_the_reference(kernels):
    x = np.linspace(-1, 1, 6, dtype=np.float16).reshape(2, 3)
    for name, operands in {
        "linear_forward": (x, x),
        "linear_backward": (x @ x.T, x, x),
        "activation_forward": (x, "relu"),
        "softmax": (x, 1),
        "sum": (x, (0,)),
        "mse_loss": (x, -x),
        "dropout": (x, 0.5, 1, 0),
    }.items():
        got, expected = kernels[name](*operands), TABLE[name].reference(*operands)
        several = isinstance(got, tuple)
        for a, b in zip(got if several else [got], expected if several else [expected], strict=True):
            np.testing.assert_array_equal(a, b)


def test_facts_about_it():
    assert rg.backends.describe("numba").keys() == {"numba", "llvmlite", "vectors", "threads"}
