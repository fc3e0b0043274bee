"""What every test shares: the backend that it runs on, a seed, and how many examples a property is tried on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import retrograd as rg

settings.register_profile(
    "retrograd",
    derandomize=True,
    deadline=None,
    max_examples=10,
    # the backend is the process's own, the same for every example of a test
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("retrograd")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in jobs that a shell runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=rg.backends.available())
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a backend that loads here, in force during the test."""
    with rg.backends.use(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def seeded() -> None:
    rg.manual_seed(0)
