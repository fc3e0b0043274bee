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
from .errors import CommandError

FEATURES = (
    *("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16", "amx_bf16"),
    *("asimd", "asimdhp", "bf16", "sve", "sve2"),
)
"""The processor's features that matter to kernels, by Linux's names for them."""

WORKING_SETS = {"24 KiB": 24 << 10, "768 KiB": 768 << 10, "96 MiB": 96 << 20}
"""Bytes for each thread, by what to call them: in the first-level cache, in the second, mostly beyond the caches."""

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
    if args.measure:
        _measure()


def _measure() -> None:
    """Print what the processor reaches at most: the loops are the C backend's, whichever is in force."""
    if "c" not in backends.available():
        raise CommandError(f"--measure needs the C backend, which is not available: {backends.missing()['c']}")
    from ..backends.c import peak

    counts = sorted({1, backends.get_num_threads()})
    print(f"{'measured, by threads':26}{''.join(f'{threads:14}' for threads in counts)}")
    with backends.use("c"):
        for dtype in ("float32", "float64"):
            found = "".join(f"{peak.flops(dtype, threads) / 1e9:14.1f}" for threads in counts)
            print(f"  {f'multiply-adds, {dtype}':24}{found} GFLOP/s")
        for name, nbytes in WORKING_SETS.items():
            rates = [peak.bandwidth(nbytes * threads, threads) for threads in counts]
            for kind, values in zip(("read", "triad"), zip(*rates, strict=True), strict=True):
                print(f"  {f'{kind}, {name}':24}{''.join(f'{value / 1e9:14.1f}' for value in values)} GB/s")


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
