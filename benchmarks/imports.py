"""What it costs to import retrograd, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from . import BACKENDS, use_backend
from .timing import best_in_turn


def import_seconds(*modules: str, python: str = sys.executable) -> dict[str, float]:
    """Seconds from the start of a Python process that imports one module to its end, for each; the best of many."""

    def importing(module: str):
        return lambda: subprocess.run([python, "-c", f"import {module}"], check=True)

    return best_in_turn({module: importing(module) for module in modules}, rounds=20)


def timeraw_import_numpy():
    return "import numpy"


def timeraw_import_retrograd():
    return "import retrograd"


def track_import_over_numpy():
    """Times as long as importing NumPy, the two in turn; what a process needs to start counts in both."""
    seconds = import_seconds("numpy", "retrograd")
    return seconds["retrograd"] / seconds["numpy"]


track_import_over_numpy.unit = "ratio"


FIRST_STEP = """
import numpy as np
import retrograd as rg
from retrograd import nn, optim
import retrograd.nn.functional as F

rg.backends.use("{backend}")
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = optim.SGD(model.parameters(), lr=1e-2)

@rg.compile
def step(x, y):
    loss = F.mse_loss(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss

step(np.ones((32, 8), np.float32), np.ones((32, 1), np.float32))
"""
"""The text of a program that trains for one compiled step."""


class FirstStep:
    """From the start of a process to the end of its first compiled step; Numba finds what it compiled before."""

    params = BACKENDS
    param_names = ("backend",)

    def setup(self, backend):
        use_backend(backend)

    def timeraw_import_to_first_compiled_step(self, backend):
        return FIRST_STEP.format(backend=backend)


class Memory:
    params = BACKENDS
    param_names = ("backend",)

    def setup(self, backend):
        use_backend(backend)

    def peakmem_import(self, backend):
        """Of the process that imported retrograd and loaded the backend: setup counts too."""
