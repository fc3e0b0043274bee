"""Tensor: an array, its gradient, and the node of the tape that made it.

What a tensor can calculate, its operators and most of its methods, is attached by the ops (`ops.rule.method`):
this file knows none of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .kernels.memory import aligned_copy
from .kernels.spec import Array, active, revise
from .tape import Cotangents, Node, RemovableHandle, set_grad_enabled, state, sweep


class Size(int):
    """NumPy's size of an array, a number, that can be called as PyTorch's method.

    Raises (when called):
        IndexError: there is no such axis.

    Example:
        >>> import retrograd as rg
        >>> x = rg.ones(2, 3)
        >>> x.size, x.size(), x.size(-1)
        (6, (2, 3), 3)
    """

    shape: tuple[int, ...]

    def __new__(cls, array: Array) -> Size:
        made = super().__new__(cls, array.size)
        made.shape = array.shape
        return made

    def __call__(self, dim: int | None = None) -> Any:
        if dim is None:
            return self.shape
        if not -len(self.shape) <= dim < len(self.shape):
            raise IndexError(f"size: dim {dim} is out of range for shape {self.shape}")
        return self.shape[dim]

    def __reduce__(self) -> Any:
        return int, (int(self),)


class Tensor:
    """An array of numbers that remembers how it was made.

    Make one with `rg.tensor`, `rg.as_tensor` or a creation function.

    Attributes:
        array: the NumPy array underneath.
        requires_grad: whether operations on it are recorded and backward() fills `grad`.
        grad: the gradient that backward passes have added up in this leaf, or None.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> y = (x @ x.T).relu().sum()
        >>> y
        tensor(52., grad_fn=<sum>)
        >>> y.backward()
        >>> x.grad
        tensor([[ 8., 12.],
                [ 8., 12.]])
        >>> x.detach().numpy().mean()
        np.float32(2.5)
    """

    __slots__ = ("__weakref__", "_family", "_grad", "_hooks", "_requires_grad", "_version", "array", "edge")

    __array_ufunc__ = None  # array + tensor comes to Tensor.__radd__

    def __init__(self, array: Array, requires_grad: bool = False) -> None:
        self.array = array
        self._grad: Tensor | None = None
        self.edge: tuple[Node, int] | None = None
        self._requires_grad = requires_grad
        self._version = [0]  # how often the values changed, in a list that views and saved arrays share
        self._family: list[weakref.ref[Tensor]] | None = None
        self._hooks: dict[int, Callable[[Tensor], Tensor | None]] | None = None

    if TYPE_CHECKING:
        # The ops attach these; a type checker sees them here.
        def __getattr__(self, name: str) -> Any: ...

        __add__: Callable[[Tensor, Any], Tensor]
        __radd__: Callable[[Tensor, Any], Tensor]
        __sub__: Callable[[Tensor, Any], Tensor]
        __rsub__: Callable[[Tensor, Any], Tensor]
        __mul__: Callable[[Tensor, Any], Tensor]
        __rmul__: Callable[[Tensor, Any], Tensor]
        __truediv__: Callable[[Tensor, Any], Tensor]
        __rtruediv__: Callable[[Tensor, Any], Tensor]
        __pow__: Callable[[Tensor, Any], Tensor]
        __rpow__: Callable[[Tensor, Any], Tensor]
        __matmul__: Callable[[Tensor, Any], Tensor]
        __rmatmul__: Callable[[Tensor, Any], Tensor]
        __neg__: Callable[[Tensor], Tensor]
        __abs__: Callable[[Tensor], Tensor]
        __getitem__: Callable[[Tensor, Any], Tensor]
        __setitem__: Callable[[Tensor, Any, Any], None]
        __and__: Callable[[Tensor, Any], Tensor]
        __or__: Callable[[Tensor, Any], Tensor]
        __invert__: Callable[[Tensor], Tensor]
        __lt__: Callable[[Tensor, Any], Tensor]
        __le__: Callable[[Tensor, Any], Tensor]
        __gt__: Callable[[Tensor, Any], Tensor]
        __ge__: Callable[[Tensor, Any], Tensor]
        __eq__: Callable[[Tensor, Any], Tensor]  # type: ignore[assignment]
        __ne__: Callable[[Tensor, Any], Tensor]  # type: ignore[assignment]

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def size(self) -> Size:
        """The number of elements; called, what PyTorch's size() gives: the shape, or the size of the axis given."""
        return Size(self.array)

    @property
    def nbytes(self) -> int:
        """The bytes that the elements take."""
        return self.array.nbytes

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Set whether this leaf asks for a gradient; returns itself.

        Raises:
            RuntimeError: a float tensor that an op made: it follows its operands; or an integer or bool tensor.
        """
        if value:
            _floating("requires_grad", self.dtype)
        if self.edge is not None and not value:
            raise RuntimeError(
                f"requires_grad: the tensor of shape {self.shape} is the result of {self.edge[0].name}, "
                "not a leaf; use detach() to get it without its history"
            )
        if self.edge is None:
            self._requires_grad = bool(value)
            revise()
        return self

    @property
    def grad(self) -> Tensor | None:
        if state.kernels is not active and self.edge is None:  # also of a frozen one: optimizers look at all
            state.kernels.ask([self])
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if state.kernels is not active:
            state.kernels.hold([self])
            state.kernels.clear([self])
        self._grad = value

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made it."""
        return self.edge is None

    @property
    def grad_fn(self) -> Node | None:
        """The node that made it; None for a leaf."""
        return None if self.edge is None else self.edge[0]

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a tensor with no axes has no length")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a tensor with no axes")
        return (self[i] for i in range(len(self.array)))

    def __bool__(self) -> bool:
        return bool(self._one("bool"))

    def __float__(self) -> float:
        return float(self._one("float"))

    def __int__(self) -> int:
        return int(self._one("int"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only integer tensors can be an index; this one is {self.dtype}")
        return int(self._one("index"))

    def item(self) -> bool | int | float:
        """The one element, as a Python number.

        Raises:
            ValueError: there are more elements, or none.
        """
        return self._one("item").item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._numbers().tolist()

    def _numbers(self) -> Array:
        """The array, for Python to read."""
        if state.kernels is not active:
            state.kernels.look(self.array)
        return self.array

    def _one(self, name: str) -> Array:
        if self.array.size != 1:
            raise ValueError(
                f"{name}: a tensor of shape {self.shape} has {self.size} elements, expected one; "
                "reduce it first, with any(), all(), sum() …"
            )
        return self._numbers().reshape(())

    __hash__ = object.__hash__

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        prefix = f"{self._constructor}("
        if isinstance(self.array, np.ndarray):
            values = np.array2string(self.array, separator=", ", prefix=prefix, precision=4, threshold=1000)
        else:
            values = f"..., shape={self.shape}"  # it stands for an array whose numbers are not known yet
        if self.size == 0:
            values = f"[], shape={self.shape}"
        facts = [values]
        if self.dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_) or self.size == 0:
            facts.append(f"dtype={self.dtype}")
        if self.edge is not None:
            facts.append(f"grad_fn=<{self.edge[0].name}>")
        elif self._requires_grad:
            facts.append("requires_grad=True")
        return f"{self._constructor}({', '.join(facts)})"

    _constructor = "tensor"

    # To NumPy and others

    def numpy(self) -> Array:
        """The array underneath, sharing its memory: what is written to the one is seen in the other.

        Raises:
            RuntimeError: the tensor requires grad: detach() it first.
        """
        if self._requires_grad:
            raise RuntimeError(
                f"numpy: the tensor of shape {self.shape} requires grad, and NumPy cannot record; "
                "use tensor.detach().numpy()"
            )
        return np.asarray(self._numbers())  # what stands for an array while a step is traced refuses here

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"__array__: {array.dtype} to {np.dtype(dtype)} needs a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __reduce__(self) -> Any:
        self._own("pickle")
        return _rebuild, (type(self), self.array, self._requires_grad)

    def __copy__(self) -> Tensor:
        self._own("copy")
        copied = _rebuild(type(self), self.array, self._requires_grad)
        copied._version = self._version
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        self._own("deepcopy")
        copied = _rebuild(type(self), aligned_copy(self.array), self._requires_grad)
        memo[id(self)] = copied
        if self.grad is not None:
            copied.grad = self.grad.detach_copy()
        return copied

    def _own(self, name: str) -> None:
        if self.edge is not None:
            raise RuntimeError(f"{name}: only leaves can be copied so; detach() the result of {self.edge[0]} first")

    # The graph

    def detach(self) -> Tensor:
        """A leaf tensor over the same memory, without history, that requires no grad."""
        detached = Tensor(self.array)
        detached._version = self._version
        return detached

    def detach_copy(self) -> Tensor:
        """A leaf tensor with a copy of the values, without history, that requires no grad."""
        return Tensor(self.array.copy(order="C"))

    @property
    def data(self) -> Tensor:
        """The same as detach()."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data: expected a Tensor, got {type(value).__name__}; rg.as_tensor() makes one")
        if isinstance(self.array, np.ndarray) and not isinstance(value.array, np.ndarray):
            raise RuntimeError(
                f"data: a tensor of shape {self.shape} cannot be given values that are not known yet, while a step is "
                "traced; write them into its memory, with copy_() under rg.no_grad()"
            )
        self.array = value.array
        self.changed()
        revise()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(gradient)` when a backward pass knows this tensor's gradient; what it returns, if anything,
        takes the gradient's place.

        Raises:
            RuntimeError: the tensor does not require grad.
        """
        if not self._requires_grad:
            raise RuntimeError(f"register_hook: the tensor of shape {self.shape} does not require grad")
        if self.edge is None:
            if self._hooks is None:
                self._hooks = {}
            return RemovableHandle(self._hooks, hook)
        node, i = self.edge
        if node.hooks is None:
            node.hooks = {}
        return RemovableHandle(node.hooks.setdefault(i, {}), hook)

    def retain_grad(self) -> None:
        """Fill `grad` in this tensor too, which is no leaf, with what its hooks leave when a backward pass comes by.

        Raises:
            RuntimeError: the tensor does not require grad.
        """
        if not self._requires_grad:
            raise RuntimeError(f"retain_grad: the tensor of shape {self.shape} does not require grad")
        if self.edge is not None:
            node, i = self.edge
            if node.retained is None:
                node.retained = {}
            node.retained[i] = weakref.ref(self)  # a node must not hold its result

    def backward(
        self, gradient: Tensor | Array | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add the derivative of this tensor with respect to each leaf that requires grad to the leaf's `grad`.

        Args:
            gradient: the cotangent of this tensor, of its shape; may be left out for a tensor of one element (then 1).
            retain_graph: keep what the graph saved, so that it can be walked again; by default as create_graph.
            create_graph: record the backward pass itself, for derivatives of derivatives.

        Raises:
            RuntimeError: nothing was recorded, a gradient is missing or of another shape, the graph was freed by an
                earlier backward, or a tensor that it saved was changed in place. No `grad` is changed then.

        Example:
            >>> import retrograd as rg
            >>> x = rg.tensor([1.0, 2.0], requires_grad=True)
            >>> (x * x).sum().backward()
            >>> x.grad
            tensor([2., 4.])
        """
        if not self._requires_grad:
            raise RuntimeError(
                f"backward: the tensor of shape {self.shape} does not require grad and nothing was recorded for it; "
                "set requires_grad=True on the leaves before the forward pass, and run it outside no_grad(). What a "
                "compiled step returns has no history: call backward() inside the step"
            )
        seed = cotangent_of("backward", self, gradient)
        algebra = algebra_of(create_graph)
        root = (self.edge or self, seed if create_graph else seed.array)
        with set_grad_enabled(create_graph):
            deposit(sweep([root], algebra, create_graph if retain_graph is None else retain_graph), algebra)

    # In place

    def changed(self) -> None:
        """Count a change of the values, so that a graph that saved them refuses to use them."""
        self._version[0] += 1

    def share(self, source: Tensor) -> None:
        """Be a view of another tensor: changes of either are changes of both."""
        self._version = source._version
        if state.recording:
            if source._family is None:
                source._family = [weakref.ref(source)]
            family = self._family = source._family
            family.append(weakref.ref(self))
            if not len(family) & (len(family) - 1):  # at each power of two, forget the dead
                family[:] = [r for r in family if r() is not None]

    def family(self) -> list[Tensor]:
        """The tensors alive over this one's memory that gradients can tell apart: its views, what it is a view of,
        and itself; none of them if no view was made while recording."""
        return [t for t in [r() for r in self._family or ()] if t is not None]

    def writable(self, name: str) -> Array:
        """The array, to be changed in place by the op `name`; call changed() after.

        Raises:
            RuntimeError: a leaf that requires grad, while recording; or a tensor over read-only memory.
        """
        if self._requires_grad and self.edge is None and state.recording:
            raise RuntimeError(
                f"{name}: in-place change of a leaf tensor of shape {self.shape} that requires grad; "
                "do it under rg.no_grad(), or out of place"
            )
        if not self.array.flags.writeable:
            raise RuntimeError(f"{name}: the tensor of shape {self.shape} is over read-only memory; clone() it first")
        return self.array


def _rebuild(kind: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    tensor = kind.__new__(kind)
    Tensor.__init__(tensor, array, requires_grad)
    return tensor


def _floating(name: str, dtype: np.dtype) -> None:
    if dtype.kind != "f":
        raise RuntimeError(f"{name}: only floating tensors carry a gradient; this one is {dtype}")


def cotangent_of(name: str, tensor: Tensor, gradient: Tensor | Array | None) -> Tensor:
    """The cotangent that a sweep from the tensor starts with: `gradient` or, of a tensor of one element, 1.

    Raises:
        RuntimeError: there is none, or it is not like the tensor.
    """
    if gradient is None:
        if tensor.size != 1:
            raise RuntimeError(
                f"{name}: the tensor of shape {tensor.shape} has {tensor.size} elements; only of a tensor of one is "
                "the gradient implied: reduce it, as with sum() or mean(), or pass gradient= of its shape"
            )
        return Tensor(np.ones(tensor.shape, tensor.dtype))
    if not isinstance(gradient, Tensor):
        gradient = Tensor(np.asarray(gradient, tensor.dtype))
    if gradient.shape != tensor.shape or gradient.dtype != tensor.dtype:
        raise RuntimeError(
            f"{name}: gradient is {gradient.dtype} of shape {gradient.shape}, "
            f"expected {tensor.dtype} of shape {tensor.shape}"
        )
    state.kernels.hold([gradient])
    return gradient


class ArrayCotangents(Cotangents):
    """A first derivative: cotangents are arrays, and nothing is recorded."""

    def __init__(self) -> None:
        self.kernels = state.kernels

    def pull(self, node: Node, gs: list[Any]) -> tuple[Any, bool]:
        if node.arrays:
            node.check()
        op = node.op
        if op.vjp_kernels is not None:
            cotangents = op.vjp_kernels(self.kernels, node, *gs)
            if cotangents is not None:
                for c in cotangents:
                    if isinstance(c, np.generic):  # a NumPy function of arrays without axes gives a scalar
                        return [np.asarray(c) if isinstance(c, np.generic) else c for c in cotangents], op.fresh
                return cotangents, op.fresh
        tensors = op.vjp(node, *[None if g is None else Tensor(g) for g in gs])
        return [None if t is None else t.array for t in tensors], False

    def add(self, a: Any, b: Any, a_is_ours: bool) -> Any:
        if a_is_ours:
            self.kernels.accumulate(a, b)
            return a
        total = self.kernels.add(a, b)
        return np.asarray(total) if isinstance(total, np.generic) else total

    def hook(self, function: Callable[..., Any], g: Any) -> Any:
        return _replaced(Tensor(g), function).array


class TensorCotangents(Cotangents):
    """A derivative that is recorded, to be differentiated again: cotangents are tensors."""

    def pull(self, node: Node, gs: list[Any]) -> tuple[Any, bool]:
        if node.arrays:
            node.check()
        return node.op.vjp(node, *gs), False

    def add(self, a: Any, b: Any, a_is_ours: bool) -> Any:
        return a + b

    def hook(self, function: Callable[..., Any], g: Any) -> Any:
        return _replaced(g, function)


def algebra_of(create_graph: bool) -> Cotangents:
    """How a sweep calculates whose derivatives are recorded, or not."""
    algebra = TensorCotangents() if create_graph else ArrayCotangents()
    return state.kernels.watch(algebra)


def _replaced(g: Tensor, hook: Callable[[Tensor], Any]) -> Tensor:
    replaced = hook(g)
    if replaced is None:
        return g
    if not isinstance(replaced, Tensor) or replaced.shape != g.shape or replaced.dtype != g.dtype:
        tensor = isinstance(replaced, Tensor)
        given = f"{replaced.dtype} of shape {replaced.shape}" if tensor else f"a {type(replaced).__name__}"
        raise RuntimeError(f"hook: returned {given}; expected None or a Tensor, {g.dtype} of shape {g.shape}")
    return replaced


def deposit(leaves: dict[Tensor, tuple[Any, bool]], algebra: Cotangents) -> None:
    """Add a sweep's result to the leaves' `grad`: all of it or, where a hook raises or a `grad` does not fit, none."""
    found = []
    state.kernels.ask(leaves)
    for leaf, (g, ours) in leaves.items():
        for hook in list((leaf._hooks or {}).values()):
            g, ours = algebra.hook(hook, g), False
        before = leaf._grad
        if before is not None and (before.shape != g.shape or before.dtype != g.dtype):
            raise RuntimeError(
                f"backward: grad was set to {before.dtype} of shape {before.shape}, to which the gradient, "
                f"{g.dtype} of shape {g.shape}, cannot be added; set it to None or to a tensor like its own"
            )
        found.append((leaf, g, ours))
    for leaf, g, ours in found:
        # a cotangent that others may hold too must not be the memory that zero_() clears
        before = leaf._grad
        if isinstance(g, Tensor):
            leaf._grad = before + g if before is not None else g if ours else g.clone()
        elif before is None:
            leaf._grad = Tensor(g if ours else state.kernels.copy(g))
        else:
            state.kernels.hold([before])
            state.kernels.accumulate(before.array, g)
            before.changed()
