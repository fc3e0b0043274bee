"""Linear algebra of the last two axes, the others being a batch: NumPy's LAPACK.

A matrix that cannot be treated raises numpy.linalg.LinAlgError, which names the kernel and the shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .spec import Array, Spec, kernel, same_dtype


def _lapack(name: str, function: Callable[..., Any], *arrays: Array, **options: Any) -> Any:
    try:
        return function(*arrays, **options)
    except np.linalg.LinAlgError as error:
        raise np.linalg.LinAlgError(f"{name}: {error}, in matrices of shape {arrays[0].shape}") from None


def _matrices(name: str, x: Array, square: bool = True) -> Spec:
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices (..., n, n)" if square else "matrices (..., m, n)"
        raise ValueError(f"{name}: shape {x.shape}, expected {kind}")
    return Spec(x.shape, same_dtype(name, x))


@kernel(lambda x: _matrices("inv", x))
def inv(x: Array) -> Array:
    """The inverse of square matrices."""
    return _lapack("inv", np.linalg.inv, x)


def _infer_solve(a: Array, b: Array) -> Spec:
    _matrices("solve", a)
    if b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"solve: shapes {a.shape} and {b.shape} do not fit; expected (..., n, n) and (..., n, k)")
    return Spec((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), same_dtype("solve", a, b))


@kernel(_infer_solve)
def solve(a: Array, b: Array) -> Array:
    """The x with a @ x = b, of square matrices a (..., n, n) and matrices b (..., n, k)."""
    return _lapack("solve", np.linalg.solve, a, b)


@kernel(lambda x: _matrices("cholesky", x))
def cholesky(x: Array) -> Array:
    """The lower triangular y with y @ y.T = x, of symmetric positive definite matrices; the lower triangle is read."""
    return _lapack("cholesky", np.linalg.cholesky, x)


def _infer_qr(x: Array) -> tuple[Spec, Spec]:
    dtype, (m, n) = _matrices("qr", x, square=False).dtype, x.shape[-2:]
    return Spec((*x.shape[:-2], m, min(m, n)), dtype), Spec((*x.shape[:-2], min(m, n), n), dtype)


@kernel(_infer_qr)
def qr(x: Array) -> tuple[Array, Array]:
    """(q, r) with q @ r = x: q has min(m, n) orthonormal columns, r is upper triangular."""
    q, r = _lapack("qr", np.linalg.qr, x)
    return q, r


@kernel(lambda q: Spec((*q.shape[:-1], q.shape[-2] - q.shape[-1]), _matrices("complement", q, square=False).dtype))
def complement(q: Array) -> Array:
    """Orthonormal columns that complete the k orthonormal columns of q, (..., m, k), to m."""
    return _lapack("complement", np.linalg.qr, q, mode="complete")[0][..., q.shape[-1] :]


def _infer_eigh(x: Array) -> tuple[Spec, Spec]:
    dtype = _matrices("eigh", x).dtype
    return Spec(x.shape[:-1], dtype), Spec(x.shape, dtype)


@kernel(_infer_eigh)
def eigh(x: Array) -> tuple[Array, Array]:
    """(w, v): the eigenvalues, ascending, of symmetric matrices, of which the lower triangle is read, and their
    eigenvectors as columns."""
    w, v = _lapack("eigh", np.linalg.eigh, x)
    return w, v


def _infer_svd(x: Array) -> tuple[Spec, Spec, Spec]:
    dtype, (m, n) = _matrices("svd", x, square=False).dtype, x.shape[-2:]
    lead, k = x.shape[:-2], min(x.shape[-2:])
    return Spec((*lead, m, k), dtype), Spec((*lead, k), dtype), Spec((*lead, k, n), dtype)


@kernel(_infer_svd)
def svd(x: Array) -> tuple[Array, Array, Array]:
    """(u, s, vh) with u @ diag(s) @ vh = x: u has min(m, n) orthonormal columns, vh as many rows; s descends."""
    u, s, vh = _lapack("svd", np.linalg.svd, x, full_matrices=False)
    return u, s, vh


@kernel(lambda x: Spec(x.shape[:-2], _matrices("det", x).dtype))
def det(x: Array) -> Array:
    """The determinant of square matrices."""
    return _lapack("det", np.linalg.det, x)


def _infer_slogdet(x: Array) -> tuple[Spec, Spec]:
    made = Spec(x.shape[:-2], _matrices("slogdet", x).dtype)
    return made, made


@kernel(_infer_slogdet)
def slogdet(x: Array) -> tuple[Array, Array]:
    """(sign, log) of the determinant: it is sign * exp(log); (0, -inf) where it is 0."""
    sign, log = _lapack("slogdet", np.linalg.slogdet, x)
    return np.asarray(sign), np.asarray(log)


@kernel(lambda x: _matrices("cofactor", x))
def cofactor(x: Array) -> Array:
    """The matrix of cofactors, the derivative of the determinant: det(x) inv(x).T, and its limit where x is singular.

    Of x = u diag(s) vh it is det(u) det(vh) u diag(c) vh, c[i] being the product of the other s (Stewart, "On the
    adjugate matrix", Linear Algebra and its Applications 283, 1998).
    """
    u, s, vh = _lapack("cofactor", np.linalg.svd, x)
    others = np.where(np.eye(s.shape[-1], dtype=bool), s.dtype.type(1), s[..., None, :]).prod(-1)
    return (np.linalg.det(u) * np.linalg.det(vh))[..., None, None] * (u * others[..., None, :]) @ vh


def _infer_pinv(x: Array, rtol: float) -> Spec:
    dtype = _matrices("pinv", x, square=False).dtype
    return Spec((*x.shape[:-2], x.shape[-1], x.shape[-2]), dtype)


@kernel(_infer_pinv)
def pinv(x: Array, rtol: float) -> Array:
    """Moore and Penrose's inverse; singular values up to rtol times the largest count as 0."""
    return _lapack("pinv", np.linalg.pinv, x, rtol=rtol)
