"""The pool of the C kernels, as threadpoolctl sees it: `threadpool_limits(1)` limits it beside BLAS and OpenMP."""

from __future__ import annotations

from threadpoolctl import LibController, register

from .. import registry


class Controller(LibController):
    """One of threadpoolctl's controllers; it is found by the functions that the library exports."""

    user_api = "retrograd"
    internal_api = "retrograd"
    filename_prefixes = ("_native",)
    check_symbols = ("rg_num_threads",)

    def get_num_threads(self) -> int:
        return registry.get_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        registry.set_num_threads(num_threads)

    def get_version(self) -> None:
        return None


register(Controller)
