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


class Memory:
    params = BACKENDS
    param_names = ("backend",)

    def setup(self, backend):
        use_backend(backend)

    def peakmem_import(self, backend):
        """Of the process that imported retrograd and loaded the backend: setup counts too."""
