"""Bare products C = A B beside numpy.matmul, each as a share of the peak measured beside it.

python -m benchmarks.products                    # 60 shapes, four transpositions, all of this machine's threads
python -m benchmarks.products --threads 1 --shape 512 512 512 --dtype float64
"""

from __future__ import annotations

import argparse
from itertools import product as pairs

from .peers import limit_threads, processors
from .timing import best_in_turn, wait_for_idle_threads

SQUARES = (1, 2, 3, 4, 8, 12, 16, 24, 32, 48, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
SHAPES = [
    *((n, n, n) for n in SQUARES),
    # one row, one column, one term of a sum
    *((1, n, n) for n in (16, 100, 512, 2048)),
    *((n, 1, n) for n in (16, 100, 512, 2048)),
    *((n, n, 1) for n in (16, 100, 512, 2048)),
    # the three products of layers: (batch, out, in), (batch, in, out), (out, in, batch)
    *((32, 32, 8), (32, 8, 32), (32, 8, 1024)),
    *((64, 128, 784), (64, 784, 128), (128, 784, 64)),
    *((64, 10, 128), (64, 128, 10), (10, 128, 64)),
    *((128, 512, 256), (128, 256, 512), (512, 256, 128)),
    *((512, 2048, 1024), (512, 1024, 2048), (2048, 1024, 512)),
    # long, flat and ragged ones
    *((10_000, 3, 8), (10_000, 16, 3), (3, 16, 10_000), (16, 16, 100_000)),
    *((2, 2048, 2048), (7, 1000, 1000), (97, 101, 103), (333, 17, 513), (1000, 1000, 30)),
    *((1023, 1025, 511), (4096, 64, 64)),
]
"""(m, n, k) of (m, k) times (k, n)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=processors(), help="default: this machine's, %(default)s")
    parser.add_argument("--shape", type=int, nargs=3, action="append", metavar=tuple("MNK"), help="default: 60 shapes")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each, the best counts; default %(default)s")
    parser.add_argument("--backend", choices=["c", "numba"], default="c")
    options = parser.parse_args()
    limit_threads(options.threads)
    import numpy as np

    import retrograd as rg
    from retrograd.backends.c import peak

    rg.backends.use(options.backend)
    rng = np.random.default_rng(0)
    heads = "".join(f"{name:>8}{'NumPy':>7}{'peak':>6}" for name in ("A B", "A' B", "A B'", "A' B'"))
    print(f"{options.dtype}, {options.threads} thread(s): µs, times as fast as NumPy, share of the peak in %")
    print(f"{'':18}{heads}")
    for m, n, k in options.shape or SHAPES:
        row = ""
        for b_turned, a_turned in pairs((False, True), repeat=2):
            a, b = (rng.standard_normal(shape).astype(options.dtype) for shape in ((m, k), (k, n)))
            a = np.asfortranarray(a) if a_turned else a
            b = np.asfortranarray(b) if b_turned else b
            seconds = best_in_turn(
                {"ours": lambda a=a, b=b: rg.kernels.matmul(a, b), "numpy": lambda a=a, b=b: np.matmul(a, b)},
                options.rounds,
            )
            wait_for_idle_threads()
            share = 2 * m * n * k / seconds["ours"] / peak.flops(options.dtype, options.threads)
            row += f"{seconds['ours'] * 1e6:8.1f}{seconds['numpy'] / seconds['ours']:7.2f}{share * 100:6.0f}"
        print(f"{f'{m}x{n}x{k}':18}{row}", flush=True)


if __name__ == "__main__":
    main()
