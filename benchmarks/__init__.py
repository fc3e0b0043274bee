"""Benchmarks: an asv suite (kernels, steps, derivatives, imports), and scripts: `python -m benchmarks.peers` compares
training steps with other libraries', `python -m benchmarks.footprint` measures an installation, and
`python -m benchmarks.derivatives` prints what a derivative costs beside its function.

retrograd is imported only inside functions: asv imports these modules once and forks for each measurement, and a
fork should start its own threads; peers.py limits the threads before it loads anything that has some.
"""

BACKENDS = ["c", "numba", "numpy"]


def use_backend(name: str) -> None:
    """Put a backend in force; NotImplementedError, by which asv knows what to skip, where it does not load."""
    import retrograd as rg

    try:
        rg.backends.use(name)
    except rg.backends.BackendUnavailable as reason:
        raise NotImplementedError(str(reason)) from None
