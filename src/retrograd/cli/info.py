"""`retrograd info`: what runs here, and why what does not run does not."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
import sys

import numpy as np

from .. import __version__, backends
from ..backends import threads

FEATURES = (
    *("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16", "amx_bf16"),
    *("asimd", "asimdhp", "bf16", "sve", "sve2"),
)
"""The processor's features that matter to kernels, by Linux's names for them."""

EXTRAS = ("numba", "safetensors", "pandas", "scikit-learn", "tqdm", "threadpoolctl")


def run(args: argparse.Namespace) -> None:
    """Print it, a fact a line."""
    facts = {
        "retrograd": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "NumPy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": f"{backends.get_num_threads()} ({threads.source()})",
        "packages": ", ".join(map(_package, EXTRAS)),
    }
    for name, value in facts.items():
        print(f"{name:<11}{value}")
    print("backends")
    for name in backends.MODULES:
        print(f"  {'*' if name == backends.current() else ' '} {name:<7}{_backend(name)}")
    print("  * in force; choose with --backend or RETROGRAD_BACKEND")


def _backend(name: str) -> str:
    reason = backends.missing().get(name)
    if reason is not None:
        return f"not available: {reason}"
    return ", ".join(f"{fact} {value}" for fact, value in backends.describe(name).items())


def _package(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"


def _processor() -> str:
    """The model and its features, from Linux; elsewhere what the platform module knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return platform.processor() or "unknown"
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    present = flags.group(1).split() if flags else []
    features = " ".join(feature for feature in FEATURES if feature in present)
    return f"{model.group(1) if model else platform.machine()}: {features or 'features unknown'}"
