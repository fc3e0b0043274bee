"""Choosing a backend, and its threads."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retrograd as rg
from retrograd.backends import c, registry
from retrograd.ops import loss


def python(source: str, **environment: str) -> str:
    """What another interpreter prints, or the last line of its complaint."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RETROGRAD_", "OMP_"))}
    run = subprocess.run(
        [sys.executable, "-c", source],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return run.stdout.strip() if run.returncode == 0 else run.stderr.strip().splitlines()[-1]


CURRENT = "import retrograd as rg; print(rg.backends.current())"


@pytest.mark.parametrize("name", rg.backends.available())
def test_the_environment_chooses(name: str) -> None:
    assert python(CURRENT, RETROGRAD_BACKEND=name) == name
    assert python(CURRENT, RETROGRAD_BACKEND=f" {name.upper()} ") == name


def test_auto_takes_the_best_that_loads() -> None:
    best = rg.backends.available()[0]
    assert python(CURRENT) == python(CURRENT, RETROGRAD_BACKEND="auto") == best
    with rg.backends.use("auto"):
        assert rg.backends.current() == best
    assert rg.backends.available()[-1] == "numpy"


def test_an_unknown_backend_in_the_environment_is_refused_at_its_first_use() -> None:
    for source in (CURRENT, "import retrograd as rg; rg.ones(2) + 1"):
        complaint = python(source, RETROGRAD_BACKEND="numpi")
        assert "unknown backend 'numpi'. Available: " in complaint
    rescued = "import retrograd as rg; rg.backends.use('numpy'); print((rg.ones(2) + 1).tolist())"
    assert python(rescued, RETROGRAD_BACKEND="numpi") == "[2.0, 2.0]"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backend that does not load."""
    monkeypatch.setitem(registry.MODULES, "broken", ".broken")
    monkeypatch.setitem(registry._loaded, "broken", registry.BackendUnavailable("it lacks a left shoe"))
    return "broken"


def test_errors_list_what_is_available_and_why_the_rest_is_not(broken: str) -> None:
    before = rg.backends.current()
    listed = f"Available: {', '.join(rg.backends.available())}"
    with pytest.raises(
        rg.backends.BackendUnavailable, match=f"unknown backend 'torch'. {listed}.*broken is not .it lacks a left"
    ):
        rg.backends.use("torch")
    with pytest.raises(
        rg.backends.BackendUnavailable, match=f"'broken' is not available: it lacks a left shoe. {listed}"
    ):
        rg.backends.use(broken)
    assert rg.backends.missing()[broken] == "it lacks a left shoe"
    assert broken not in rg.backends.available()
    assert rg.backends.current() == before


def test_a_build_that_failed_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scikit_build_core")
    path = Path(__file__).parent.parent / "csrc" / "build_backend.py"
    spec = importlib.util.spec_from_file_location("build_backend", path)
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    log = tmp_path / "build.log"
    monkeypatch.setattr(backend, "LOG", log)
    monkeypatch.setattr(c, "LOG", log)
    calls = []

    def make(directory: str, settings: dict[str, Any] | None) -> str:
        calls.append(settings)
        if settings.get("wheel.cmake") != "false":
            subprocess.run([sys.executable, "-c", "print('fine'); print('copy.c:3: error: no such type')"], check=True)
            raise SystemExit(1)
        return "without"

    assert backend._with_or_without_c(make, "", {"a": "b"}) == "without"
    assert [call["a"] for call in calls] == ["b", "b"]
    assert log.read_text() == "fine\ncopy.c:3: error: no such type\n"
    told = f"its build said 'copy.c:3: error: no such type'; all that it said is in {log}"
    assert c._why_not_built().startswith(told)
    assert backend._with_or_without_c(lambda *_: "with", "", None) == "with"
    assert c._why_not_built().startswith(("it was installed from a build without it", "no working C compiler"))


def test_use_as_a_context_manager_restores(backend: str) -> None:
    for other in rg.backends.available():
        with rg.backends.use(other):
            assert rg.backends.current() == other
            with rg.backends.use("numpy"):
                assert rg.backends.current() == "numpy"
            assert rg.backends.current() == other
        assert rg.backends.current() == backend
        with pytest.raises(KeyError), rg.backends.use(other):
            raise KeyError
        assert rg.backends.current() == backend


def test_describe(backend: str) -> None:
    facts = rg.backends.describe(backend)
    assert facts
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in facts.items())


@pytest.fixture
def threads() -> Any:
    """Restores the number of threads."""
    before = rg.get_num_threads()
    yield
    rg.set_num_threads(before)


@pytest.mark.parametrize("n", [0, -1, 1.5, "two", None, True])
def test_the_number_of_threads_is_checked(n: Any, threads: None, backend: str) -> None:
    before = rg.get_num_threads()
    with pytest.raises(ValueError, match=r"set_num_threads: .* is not a whole number >= 1"):
        rg.set_num_threads(n)
    assert rg.get_num_threads() == before


def step() -> list[np.ndarray]:
    """A layer's forward and backward pass, large enough for several threads; and what they made."""
    rng = np.random.default_rng(0)
    x, w, b = (
        rg.tensor(rng.standard_normal(s), dtype="float32", requires_grad=True) for s in ((300, 200), (250, 200), (250,))
    )
    y = loss.mse_loss(rg.linear(x, w, b, activation="relu").tanh(), rg.zeros(300, 250))
    y.backward()
    return [y.detach().numpy(), x.grad.numpy(), w.grad.numpy(), b.grad.numpy()]


def test_the_number_of_threads_changes_nothing_but_rounding(threads: None, backend: str) -> None:
    made = {}
    for n in (1, 2, 5, 2, 1):
        rg.set_num_threads(np.int64(n))
        assert rg.get_num_threads() == n
        made.setdefault(n, step())
        for a, b in zip(step(), made[n], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"another run with {n} threads gives other bits")
    for a, b in zip(made[1], made[5], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_threadpoolctl_sees_and_limits_the_pool(threads: None) -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if "c" not in rg.backends.available():
        pytest.skip("the C backend is not here")
    rg.set_num_threads(2)
    pools = {pool["user_api"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    assert pools["retrograd"] == 2
    with threadpoolctl.threadpool_limits(1, user_api="retrograd"):
        assert rg.get_num_threads() == 1
    assert rg.get_num_threads() == 2


def test_affinity_limits_the_threads() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert python(f"{pinned}; import retrograd as rg; print(rg.get_num_threads())") == "1"


def test_several_threads_compute_at_once(backend: str) -> None:
    expected = step()
    found: list[list[np.ndarray]] = []
    callers = [threading.Thread(target=lambda: found.extend(step() for _ in range(3))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 12
    for made in found:
        for a, b in zip(made, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("name", rg.backends.available())
def test_a_forked_child_computes(name: str) -> None:
    source = f"""
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
import retrograd as rg
rg.backends.use({name!r})
rg.set_num_threads(2)
x = rg.rand(400, 300)
before = (rg.linear(x, x).sum() + x.exp().sum()).item()
child = os.fork()
after = (rg.linear(x, x).sum() + x.exp().sum()).item()
same = abs(after - before) <= 1e-5 * abs(before)
if not child:
    os._exit(0 if same else 3)
print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(source) == "True 0"
