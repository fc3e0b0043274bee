"""Parameter: a tensor that a Module counts as its own."""

from __future__ import annotations

from typing import Any

from ..ops.creation import as_tensor
from ..tensor import Tensor, _floating


class Parameter(Tensor):
    """A leaf tensor that asks for a gradient; assigned to a Module's attribute, it becomes one of its parameters.

    Args:
        data: a tensor or array, whose memory is shared where its dtype allows, or nested lists of numbers.
        requires_grad: whether backward() fills its grad.

    Raises:
        RuntimeError: requires_grad of data that is not floating.

    Example:
        >>> import retrograd as rg
        >>> rg.nn.Parameter(rg.zeros(2)).requires_grad
        True
    """

    __slots__ = ()

    _constructor = "Parameter"

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        data = as_tensor(data)
        if requires_grad:
            _floating("Parameter", data.dtype)
        super().__init__(data.array, requires_grad)
        self._version = data._version
