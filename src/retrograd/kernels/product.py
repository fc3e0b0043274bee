"""Matrix products: bare, and fused with the bias and activation of a dense layer."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import numpy as np

from .activation import FROM_OUTPUT, activation_backward, activation_forward, check
from .precision import factors, follow
from .spec import Array, Composed, Kernel, Spec, active, kernel, same_dtype

SMALL = 1_000_000
"""m * n * k of products that NumPy has finished before another library has done more than been called."""

CLEARED = 10_000
"""Beyond so many elements `dot`, which first sets its result to 0, takes longer than `matmul`, whose call is slower."""

_unwarned = copy_context()
_unwarned.run(np.seterr, all="ignore")
_run_unwarned, _dot, _matmul = _unwarned.run, np.ndarray.dot, np.matmul
_double = np.dtype(np.float64)
_single: np.dtype | None = None  # float32 while its factors are not rounded


def _set_single(rounds: bool) -> None:
    global _single
    _single = None if rounds else np.dtype(np.float32)


follow(_set_single)


def with_small(matmul: Callable[[Array, Array], Array]) -> Callable[[Any, Any], Any]:
    """`matmul`, with NumPy's for matrices so small that it is fastest."""

    def run(a: Any, b: Any) -> Any:
        if type(a) is Array and type(b) is Array:
            dtype = a.dtype
            if (dtype is _single or dtype is _double) and b.dtype is dtype:
                try:
                    m, k = a.shape
                    _, n = b.shape
                    outputs = m * n
                    if outputs * k <= SMALL:
                        if outputs <= CLEARED:
                            return _run_unwarned(_dot, a, b)
                        if k > 1:
                            return _run_unwarned(_matmul, a, b)
                except (RuntimeError, ValueError):  # another thread is in this context; shapes do not fit or are others
                    pass
        return matmul(a, b)

    return run


@with_small
def _checked_matmul(a: Any, b: Any) -> Any:
    if type(a) is Array and type(b) is Array:
        if not a.ndim == b.ndim == 2 or a.shape[1] != b.shape[0]:
            _infer_matmul(a, b)
        return active.matmul(a, b)
    return Kernel.__call__(matmul, a, b)


class _BareProduct(Kernel):
    """`matmul`; a small product is made before anything is looked at that takes longer."""

    __call__ = staticmethod(_checked_matmul)


def _infer_matmul(a: Array, b: Array) -> Spec:
    dtype = a.dtype if a.dtype == b.dtype else np.result_type(a.dtype, b.dtype)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"matmul: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit; expected (..., m, k) and (..., k, n)"
        )
    if a.ndim == b.ndim == 2:
        return Spec((a.shape[0], b.shape[1]), dtype)
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: batch axes of {tuple(a.shape)} and {tuple(b.shape)} do not broadcast") from None
    return Spec((*batch, a.shape[-2], b.shape[-1]), dtype)


@kernel(_infer_matmul, kind=_BareProduct)
def matmul(a: Array, b: Array) -> Array:
    """The product of (..., m, k) and (..., k, n) -> (..., m, n); leading axes broadcast. Any strides.

    As every product's, its float32 factors are rounded first where `retrograd.set_matmul_precision` says so.
    """
    return np.matmul(*factors(a, b))


def _infer_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_z: bool = False,
) -> Spec | tuple[Spec, Spec]:
    check("linear_forward", activation)
    dtype = same_dtype("linear_forward", x, w, b)
    x_shape, w_shape = x.shape, w.shape  # an array makes its shape anew each time
    if len(x_shape) != 2 or len(w_shape) != 2 or x_shape[1] != w_shape[1]:
        raise ValueError(
            f"linear_forward: x {tuple(x_shape)} and w {tuple(w_shape)} do not fit; "
            "expected (rows, in_features) and (out_features, in_features)"
        )
    if b is not None and b.shape != (w_shape[0],):
        raise ValueError(f"linear_forward: b has shape {tuple(b.shape)}, expected ({w_shape[0]},) to fit w")
    made = Spec((x_shape[0], w_shape[0]), dtype)
    return (made, made) if need_z else made


@kernel(_infer_forward)
def linear_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_z: bool = False,
) -> Array | tuple[Array, Array]:
    """A dense layer in one pass: y = activation(z), z = x @ w.T + b.

    Args:
        x: (rows, in_features), float32 or float64, any strides.
        w: (out_features, in_features), same dtype, any strides.
        b: (out_features,), or None for no bias.
        activation, alpha: as in activation_forward.
        need_z: whether z is wanted too, which linear_backward reads for some activations.

    Returns:
        y or, where z is wanted, (y, z); each (rows, out_features), C order.

    Example:
        >>> import numpy as np, retrograd as rg
        >>> x, w, b = np.ones((1, 2)), np.array([[1.0, 2.0], [-1.0, -2.0]]), np.zeros(2)
        >>> rg.kernels.linear_forward(x, w, b, "relu")
        array([[3., 0.]])
    """
    x, w = factors(x, w)
    z = x @ w.T
    if b is not None:
        z += b
    y = activation_forward.reference(z, activation, alpha)
    return (y, z) if need_z else y


def _infer_backward(
    g: Array,
    x: Array,
    w: Array,
    saved: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_x: bool = True,
    need_w: bool = True,
    need_b: bool = True,
    x_activation: str = "identity",
    x_alpha: float = 0.0,
) -> tuple[Spec | None, Spec | None, Spec | None]:
    check("linear_backward", activation)
    if x_activation not in FROM_OUTPUT:
        raise ValueError(
            f"linear_backward: x_activation {x_activation!r} has no derivative by its output; "
            f"expected {', '.join(FROM_OUTPUT)}"
        )
    dtype = same_dtype("linear_backward", g, x, w, saved)
    expected = (x.shape[0], w.shape[0])
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1] or g.shape != expected:
        raise ValueError(
            f"linear_backward: g {tuple(g.shape)}, x {tuple(x.shape)} and w {tuple(w.shape)} do not fit; expected "
            "(rows, out_features), (rows, in_features) and (out_features, in_features)"
        )
    if activation != "identity" and (saved is None or saved.shape != expected):
        what = "output" if activation in FROM_OUTPUT else "product and bias before the activation"
        raise ValueError(f"linear_backward: {activation} needs `saved`, the layer's {what}, of shape {expected}")
    return (
        Spec(x.shape, dtype) if need_x else None,
        Spec(w.shape, dtype) if need_w else None,
        Spec((w.shape[0],), dtype) if need_b else None,
    )


@kernel(_infer_backward)
def linear_backward(
    g: Array,
    x: Array,
    w: Array,
    saved: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_x: bool = True,
    need_w: bool = True,
    need_b: bool = True,
    x_activation: str = "identity",
    x_alpha: float = 0.0,
) -> tuple[Array | None, Array | None, Array | None]:
    """The cotangents of a dense layer's three operands, in one call.

    With d = g * activation'(z): dx = d @ w, dw = d.T @ x, db = d summed over the rows (Goodfellow, Bengio,
    Courville, Deep Learning (2016), algorithm 6.4).

    Args:
        g: (rows, out_features), the cotangent of the layer's output.
        x, w: the operands of linear_forward.
        saved: what linear_forward gave, y for activations in FROM_OUTPUT, else z; not read where activation is
            identity.
        activation, alpha: as in linear_forward.
        need_x, need_w, need_b: which cotangents to compute.
        x_activation, x_alpha: where x is that activation's output, dx is the cotangent of its input instead; one of
            FROM_OUTPUT.

    Returns:
        (dx, dw, db) of the shapes of x, w and b, C order; None in place of each that is not needed.
    """
    d = g if activation == "identity" else activation_backward.reference(g, saved, activation, alpha)
    left, right, w = factors(d, x, w)
    dx = left @ w if need_x else None
    if dx is not None and x_activation != "identity":
        dx = activation_backward.reference(dx, x, x_activation, x_alpha)
    return (
        dx,
        left.T @ right if need_w else None,
        np.sum(d, axis=0) if need_b else None,
    )


def _infer_tangent(
    x: Array,
    w: Array,
    saved: Array | None = None,
    tx: Array | None = None,
    tw: Array | None = None,
    tb: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
) -> Spec:
    made = _check_tangents("linear_tangent", x, w, tx, tw, tb, activation, saved=saved)
    if activation != "identity" and saved is None:
        raise ValueError(f"linear_tangent: {activation} needs `saved`, of shape {made.shape}, as linear_backward does")
    return made


def _check_tangents(
    kernel: str,
    x: Array,
    w: Array,
    tx: Array | None,
    tw: Array | None,
    tb: Array | None,
    activation: str,
    b: Array | None = None,
    saved: Array | None = None,
) -> Spec:
    """What the layer's output and its tangent are like."""
    check(kernel, activation)
    dtype = same_dtype(kernel, x, w, b, saved, tx, tw, tb)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(
            f"{kernel}: x {tuple(x.shape)} and w {tuple(w.shape)} do not fit; "
            "expected (rows, in_features) and (out_features, in_features)"
        )
    if tx is None and tw is None:
        raise ValueError(f"{kernel}: expected a tangent of x, of w or of both")
    made = (x.shape[0], w.shape[0])
    out = made[1:]
    expected = {"tx": (tx, x.shape), "tw": (tw, w.shape), "tb": (tb, out), "b": (b, out), "saved": (saved, made)}
    for name, (array, shape) in expected.items():
        if array is not None and array.shape != shape:
            raise ValueError(f"{kernel}: {name} has shape {tuple(array.shape)}, expected {tuple(shape)}")
    return Spec(made, dtype)


@kernel(_infer_tangent, kind=Composed)
def linear_tangent(
    k: Any,
    x: Array,
    w: Array,
    saved: Array | None = None,
    tx: Array | None = None,
    tw: Array | None = None,
    tb: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
) -> Any:
    """The tangent of a dense layer's output: (tx @ w.T + x @ tw.T + tb) * activation'(z).

    Args:
        x, w: the operands of linear_forward.
        saved: as in linear_backward.
        tx, tw, tb: the tangents of x, w and the bias, of their shapes; None for zero. One of x or w has a tangent.
        activation, alpha: as in linear_forward.

    Returns:
        (rows, out_features), C order.
    """
    t = k.linear_forward(x, tw, tb) if tx is None else k.linear_forward(tx, w, tb)
    if tx is not None and tw is not None:
        t = k.add(t, k.linear_forward(x, tw))
    return t if activation == "identity" else k.activation_backward(t, saved, activation, alpha)


def _infer_jvp(
    x: Array,
    w: Array,
    b: Array | None = None,
    tx: Array | None = None,
    tw: Array | None = None,
    tb: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
) -> tuple[Spec, Spec]:
    made = _check_tangents("linear_jvp", x, w, tx, tw, tb, activation, b=b)
    if activation not in FROM_OUTPUT:
        raise ValueError(
            f"linear_jvp: the derivative of {activation} is no function of its output; expected one of "
            f"{', '.join(FROM_OUTPUT)}"
        )
    return made, made


@kernel(_infer_jvp, kind=Composed)
def linear_jvp(
    k: Any,
    x: Array,
    w: Array,
    b: Array | None = None,
    tx: Array | None = None,
    tw: Array | None = None,
    tb: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
) -> Any:
    """A dense layer's output and its tangent: what linear_forward and linear_tangent give, while the weights are read
    once.

    Args:
        x, w, b: the operands of linear_forward.
        tx, tw, tb: their tangents, as in linear_tangent.
        activation, alpha: as in linear_forward; an activation whose derivative is a function of its output.

    Returns:
        (output, tangent), each (rows, out_features), C order.

    Example:
        >>> import numpy as np, retrograd as rg
        >>> x, w = np.ones((1, 2)), np.array([[1.0, 2.0], [-1.0, -2.0]])
        >>> rg.kernels.linear_jvp(x, w, tx=np.array([[1.0, 0.0]]), activation="relu")
        (array([[3., 0.]]), array([[1., 0.]]))
    """
    y = k.linear_forward(x, w, b, activation, alpha)
    return y, k.linear_tangent(x, w, y, tx, tw, tb, activation, alpha)
