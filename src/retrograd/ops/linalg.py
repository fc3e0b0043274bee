"""Linear algebra, `rg.linalg`: inverses, decompositions, determinants and norms of the last two axes.

NumPy's LAPACK does the arithmetic. Derivatives: Giles, "An extended collection of matrix derivative results for
forward and reverse mode algorithmic differentiation" (2008), unless another source is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.linalg import _infer_solve, _matrices
from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .arrange import diag_embed, diagonal, moveaxis, tril, triu
from .contraction import cross, vecdot, vector_norm
from .creation import eye
from .elementwise import abs, where
from .product import matmul
from .reduction import Dim, amax, amin, sum
from .rule import OUTPUT, Op, Operand, as_tensor_operand, floating, normalize_axes, normalize_axis, operands
from .shape import broadcast_to, concatenate, reshape, sum_to, unsqueeze

__all__ = [
    "QR",
    "SVD",
    "Eigh",
    "SlogDet",
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "logdet",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vecdot",
    "vector_norm",
]


class QR(NamedTuple):
    """A = Q @ R.

    Example:
        >>> import retrograd as rg
        >>> Q, R = rg.linalg.qr(rg.tensor([[3.0, 1.0], [4.0, 2.0]]))
        >>> (Q @ R).round(decimals=4)
        tensor([[3., 1.],
                [4., 2.]])
    """

    Q: Tensor
    R: Tensor


class Eigh(NamedTuple):
    """A = eigenvectors @ diag(eigenvalues) @ eigenvectors.mT.

    Example:
        >>> import retrograd as rg
        >>> found = rg.linalg.eigh(rg.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> found.eigenvalues
        tensor([1., 3.])
    """

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    """A = U @ diag(S) @ Vh.

    Example:
        >>> import retrograd as rg
        >>> U, S, Vh = rg.linalg.svd(rg.tensor([[0.0, 3.0], [2.0, 0.0]]))
        >>> S
        tensor([3., 2.])
    """

    U: Tensor
    S: Tensor
    Vh: Tensor


class SlogDet(NamedTuple):
    """det(A) = sign * exp(logabsdet).

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.slogdet(rg.tensor([[0.0, 1.0], [1.0, 0.0]]))
        SlogDet(sign=tensor(-1.), logabsdet=tensor(0.))
    """

    sign: Tensor
    logabsdet: Tensor


# Rules


class Inverse(Op):
    name = "inv"
    saves = (OUTPUT,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.inv(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        (y,) = self.saved(ctx)
        return (-(y.mT @ g @ y.mT),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        (y,) = self.saved(ctx)
        return -(y @ t @ y)


class Solve(Op):
    name = "solve"
    saves = (0, OUTPUT)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.solve(a, b)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor | None, Tensor]:
        a, y = self.saved(ctx)
        h = _solve(a.mT, g)
        return sum_to(-(h @ y.mT), ctx.shapes[0]) if ctx.needs(0) else None, sum_to(h, ctx.shapes[1])

    def jvp(self, ctx: Node, a: Tensor | None, b: Tensor | None) -> Tensor:
        left, y = self.saved(ctx)
        right = -(a @ y) if b is None else b if a is None else b - a @ y
        return _solve(left, right)


class Cholesky(Op):
    """Its operand is taken as symmetric: the cotangent is."""

    name = "cholesky"
    saves = (OUTPUT,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.cholesky(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        (y,) = self.saved(ctx)
        inverse = _inv(y)
        return (_symmetric(inverse.mT @ _half_lower(y.mT @ g) @ inverse),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        (y,) = self.saved(ctx)
        inverse = _inv(y)
        return y @ _half_lower(inverse @ _symmetric(t) @ inverse.mT)


class QRDecomposition(Op):
    """Of matrices with at least as many rows as columns, which are independent (Walter and Lehmann, "Algorithmic
    differentiation of linear algebra functions", arXiv:1001.1654)."""

    name = "qr"
    saves = (OUTPUT, OUTPUT - 1)

    def forward(self, k: Any, x: Array) -> tuple[Array, Array]:
        return k.qr(x)

    def vjp(self, ctx: Node, gq: Tensor | None, gr: Tensor | None) -> tuple[Tensor]:
        q, r = self.saved(ctx)
        m = _total(None if gr is None else r @ gr.mT, None if gq is None else -(gq.mT @ q))
        h = q @ (tril(m) + tril(m, -1).mT)
        return (_solve(r, (h if gq is None else gq + h).mT).mT,)

    def jvp(self, ctx: Node, t: Tensor) -> tuple[Tensor, Tensor]:
        q, r = self.saved(ctx)
        x = _solve(r.mT, t.mT).mT
        c = q.mT @ x
        turned = tril(c, -1)
        upper = c - turned + turned.mT
        return x - q @ upper, upper @ r


class EigenDecomposition(Op):
    """Of symmetric matrices. Eigenvectors of one eigenvalue turn into each other freely: what depends on how they are
    chosen has no derivative, and what does not gets the right one."""

    name = "eigh"
    saves = (OUTPUT, OUTPUT - 1)

    def forward(self, k: Any, x: Array) -> tuple[Array, Array]:
        return k.eigh(x)

    def vjp(self, ctx: Node, gw: Tensor | None, gv: Tensor | None) -> tuple[Tensor]:
        w, v = self.saved(ctx)
        turning = None if gv is None else _over_gaps(v.mT @ gv, w)
        middle = _total(None if gw is None else diag_embed(gw), turning)
        return (_symmetric(v @ middle @ v.mT),)

    def jvp(self, ctx: Node, t: Tensor) -> tuple[Tensor, Tensor]:
        w, v = self.saved(ctx)
        inside = v.mT @ _symmetric(t) @ v
        return diagonal(inside, 0, -2, -1), v @ _over_gaps(inside, w)


class SingularValueDecomposition(Op):
    """The formulas of Townsend, "Differentiating the singular value decomposition" (2016). Of equal singular values
    the same holds as of equal eigenvalues."""

    name = "svd"
    saves = (OUTPUT, OUTPUT - 1, OUTPUT - 2)

    def forward(self, k: Any, x: Array) -> tuple[Array, Array, Array]:
        return k.svd(x)

    def vjp(self, ctx: Node, gu: Tensor | None, gs: Tensor | None, gvh: Tensor | None) -> tuple[Tensor]:
        u, s, vh = self.saved(ctx)
        row, column = unsqueeze(s, -2), unsqueeze(s, -1)
        middle = None if gs is None else diag_embed(gs)
        if gu is not None:
            middle = _total(middle, _over_gaps(_skew(u.mT @ gu), s * s) * row)
        if gvh is not None:
            middle = _total(middle, column * _over_gaps(_skew(vh @ gvh.mT), s * s))
        total = None if middle is None else u @ middle @ vh
        if gu is not None and u.shape[-2] > u.shape[-1]:
            total = _total(total, _outside(u, gu / row) @ vh)
        if gvh is not None and vh.shape[-1] > vh.shape[-2]:
            total = _total(total, u @ _outside(vh.mT, gvh.mT / row).mT)
        return (total,)

    def jvp(self, ctx: Node, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = self.saved(ctx)
        row, column = unsqueeze(s, -2), unsqueeze(s, -1)
        v = vh.mT
        inside = u.mT @ t @ v
        left, right = inside * row, column * inside
        du = u @ _over_gaps(left + left.mT, s * s)
        dv = v @ _over_gaps(right + right.mT, s * s)
        if u.shape[-2] > u.shape[-1]:
            du = du + _outside(u, t @ v / row)
        if v.shape[-2] > v.shape[-1]:
            dv = dv + _outside(v, t.mT @ u / row)
        return du, diagonal(inside, 0, -2, -1), dv.mT


class Complement(Op):
    """Orthonormal columns beside those given: constants to a derivative."""

    name = "complement"
    differentiable = False

    def forward(self, k: Any, q: Array) -> Array:
        return k.complement(q)


class Determinant(Op):
    name = "det"
    saves = (0,)

    def forward(self, k: Any, x: Array) -> Array:
        return k.det(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_as_scalars(g) * _cofactor(*self.saved(ctx)),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        return sum(_cofactor(*self.saved(ctx)) * t, (-2, -1))


class Cofactor(Op):
    """The derivative of the determinant; its own, the second one, is taken of regular matrices."""

    name = "cofactor"
    saves = (0, OUTPUT)

    def forward(self, k: Any, x: Array) -> Array:
        return k.cofactor(x)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        x, y = self.saved(ctx)
        inverse = _inv(x).mT
        return (_as_scalars(sum(g * y, (-2, -1))) * inverse - y @ g.mT @ inverse,)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        x, y = self.saved(ctx)
        inverse = _inv(x).mT
        return _as_scalars(sum(inverse * t, (-2, -1))) * y - inverse @ t.mT @ y


class LogDeterminant(Op):
    name = "slogdet"
    saves = (0,)

    def forward(self, k: Any, x: Array) -> tuple[Array, Array]:
        return k.slogdet(x)

    def vjp(self, ctx: Node, _: Tensor | None, g: Tensor | None) -> tuple[Tensor | None]:
        return (None if g is None else _as_scalars(g) * _inv(*self.saved(ctx)).mT,)

    def jvp(self, ctx: Node, t: Tensor) -> tuple[None, Tensor]:
        return None, sum(_inv(*self.saved(ctx)).mT * t, (-2, -1))


class PseudoInverse(Op):
    """Of a rank that does not change (Golub and Pereyra, SIAM Journal on Numerical Analysis 10(2), 1973, eq. 4.12)."""

    name = "pinv"
    saves = (0, OUTPUT)

    def forward(self, k: Any, x: Array, rtol: float) -> Array:
        return k.pinv(x, rtol)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        x, p = self.saved(ctx)
        rows, columns = g.mT - x @ p @ g.mT, g.mT - g.mT @ p @ x
        return (rows @ p @ p.mT + p.mT @ p @ columns - p.mT @ g @ p.mT,)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        x, p = self.saved(ctx)
        rows, columns = t.mT - t.mT @ x @ p, t.mT - p @ x @ t.mT
        return p @ p.mT @ rows + columns @ p.mT @ p - p @ t @ p


_inv, _solve, _cholesky, _qr, _eigh = Inverse(), Solve(), Cholesky(), QRDecomposition(), EigenDecomposition()
_svd, _det, _cofactor, _slogdet = SingularValueDecomposition(), Determinant(), Cofactor(), LogDeterminant()
_pinv, _complement = PseudoInverse(), Complement()


# What the rules are made of


def _total(*parts: Tensor | None) -> Tensor:
    given = [part for part in parts if part is not None]
    total = given[0]
    for part in given[1:]:
        total = total + part
    return total


def _symmetric(x: Tensor) -> Tensor:
    return (x + x.mT) * 0.5


def _skew(x: Tensor) -> Tensor:
    return x - x.mT


def _half_lower(x: Tensor) -> Tensor:
    """The lower triangle, with half of the diagonal."""
    return tril(x) - diag_embed(diagonal(x, 0, -2, -1)) * 0.5


def _over_gaps(x: Tensor, w: Tensor) -> Tensor:
    """x[i, j] / (w[j] - w[i]); 0 where both are equal."""
    gaps = unsqueeze(w, -2) - unsqueeze(w, -1)
    equal = gaps == 0
    return where(equal, 0.0, x) / where(equal, 1.0, gaps)


def _outside(basis: Tensor, x: Tensor) -> Tensor:
    """The part of x's columns that no combination of the basis, orthonormal columns, gives."""
    return x - basis @ (basis.mT @ x)


def _as_scalars(x: Tensor) -> Tensor:
    """A number for each matrix."""
    return reshape(x, *x.shape, 1, 1)


# What people call


def _checked(name: str, x: Operand, square: bool = True) -> Tensor:
    x = floating(name, x)
    _matrices(name, x.array, square)
    return x


def inv(x: Operand) -> Tensor:
    """The inverse of square matrices.

    Raises:
        ValueError: they are not square. numpy.linalg.LinAlgError: one is singular.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.inv(rg.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5 , 0.  ],
                [0.  , 0.25]])
    """
    return _inv(_checked("inv", x))


def solve(a: Operand, b: Operand) -> Tensor:
    """The x with a @ x = b.

    Args:
        a: square matrices (..., n, n).
        b: matrices (..., n, k), or vectors (..., n) of a's batch; batches of matrices broadcast.

    Raises:
        ValueError: the shapes do not fit. numpy.linalg.LinAlgError: a matrix is singular.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0])
        tensor([1. , 0.5])
    """
    a, b = operands("solve", a, b)
    a, b = floating("solve", a), floating("solve", b)
    if b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]):
        return reshape(solve(a, unsqueeze(b, -1)), np.broadcast_shapes(a.shape[:-1], b.shape))
    _infer_solve(a.array, b.array)
    return _solve(a, b)


def solve_triangular(a: Operand, b: Operand, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """The x with a @ x = b (x @ a = b unless `left`), of which only the upper or lower triangle of a is read, with ones
    on the diagonal where it is unitriangular.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.solve_triangular(rg.tensor([[2.0, 0.0], [1.0, 4.0]]), rg.tensor([[2.0], [5.0]]), upper=False)
        tensor([[1.],
                [1.]])
    """
    a, b = operands("solve_triangular", a, b)
    if unitriangular:
        a = (triu(a, 1) if upper else tril(a, -1)) + eye(a.shape[-1], dtype=a.dtype)
    a = triu(a) if upper else tril(a)
    return solve(a, b) if left else solve(a.mT, b.mT).mT


def cholesky(x: Operand, upper: bool = False) -> Tensor:
    """The lower triangular y with y @ y.mT = x (its transpose where `upper`), of symmetric positive definite matrices.

    Raises:
        ValueError: they are not square. numpy.linalg.LinAlgError: one is not positive definite.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.cholesky(rg.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    y = _cholesky(_checked("cholesky", x))
    return y.mT if upper else y


def qr(x: Operand) -> QR:
    """x = Q @ R: Q has min(m, n) orthonormal columns, R is upper triangular.

    The derivative is that of matrices whose first min(m, n) columns are independent.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.qr(rg.tensor([[3.0], [4.0]])).R.abs()
        tensor([[5.]])
    """
    x = _checked("qr", x, square=False)
    m, n = x.shape[-2:]
    if m >= n:
        return QR(*_qr(x))
    q, r = _qr(x[..., :m])
    return QR(q, concatenate([r, q.mT @ x[..., m:]], -1))


def eigh(x: Operand, UPLO: str = "L") -> Eigh:
    """The eigenvalues of symmetric matrices, ascending, and their eigenvectors as columns.

    Args:
        x: (..., n, n); only one triangle is read, and its derivative is that of a symmetric matrix.
        UPLO: which triangle, "L" or "U".

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.eigh(rg.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
        tensor([1., 2.])
    """
    x = _checked("eigh", x)
    return Eigh(*_eigh(x.mT if UPLO.upper() == "U" else x))


def eigvalsh(x: Operand, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending; see eigh.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.eigvalsh(rg.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([1., 2.])
    """
    return eigh(x, UPLO).eigenvalues


def svd(x: Operand, full_matrices: bool = False) -> SVD:
    """x = U @ diag(S) @ Vh: U has min(m, n) orthonormal columns, Vh as many rows, S descends.

    With full_matrices U and Vh are square; what it adds has no derivative.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.svd(rg.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    u, s, vh = _svd(_checked("svd", x, square=False))
    if full_matrices:
        u = concatenate([u, _complement(u)], -1)
        vh = concatenate([vh, _complement(vh.mT).mT], -2)
    return SVD(u, s, vh)


def svdvals(x: Operand) -> Tensor:
    """The singular values, descending.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.svdvals(rg.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor([4., 3.])
    """
    return svd(x).S


def det(x: Operand) -> Tensor:
    """The determinant of square matrices; of singular ones it has a first derivative.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.det(rg.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor(8.)
    """
    return _det(_checked("det", x))


def slogdet(x: Operand) -> SlogDet:
    """The sign of the determinant, and the logarithm of its absolute value; (0, -inf) where it is 0.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.slogdet(rg.tensor([[-2.0, 0.0], [0.0, 4.0]]))
        SlogDet(sign=tensor(-1.), logabsdet=tensor(2.0794))
    """
    return SlogDet(*_slogdet(_checked("slogdet", x)))


def logdet(x: Operand) -> Tensor:
    """The logarithm of the determinant; NaN where it is negative.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.logdet(rg.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor(2.0794)
    """
    sign, log = slogdet(x)
    return where(sign < 0, math.nan, log)


def pinv(x: Operand, rtol: float | None = None) -> Tensor:
    """Moore and Penrose's inverse.

    Args:
        x: (..., m, n).
        rtol: singular values up to rtol times the largest count as 0; max(m, n) times the dtype's precision for None.

    The derivative is that of matrices that keep their rank.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.pinv(rg.tensor([[2.0], [0.0]]))
        tensor([[0.5, 0. ]])
    """
    x = _checked("pinv", x, square=False)
    least = max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)
    return _pinv(x, rtol=least if rtol is None else float(rtol))


def lstsq(a: Operand, b: Operand, rcond: float | None = None) -> Tensor:
    """The x, (..., n, k), of least squares of a @ x - b, and of least squares itself where there are several.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.lstsq(rg.tensor([[1.0], [1.0]]), rg.tensor([1.0, 3.0]))
        tensor([2.])
    """
    a, b = operands("lstsq", a, b)
    if b.ndim == 1:
        return reshape(lstsq(a, unsqueeze(b, -1), rcond), -1)
    return matmul(pinv(a, rcond), b)


def matrix_power(x: Operand, n: int) -> Tensor:
    """x @ x @ … @ x, n times, of square matrices; of the inverse where n is negative; ones on the diagonal for 0.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.matrix_power(rg.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
        tensor([[1., 3.],
                [0., 1.]])
    """
    x = _checked("matrix_power", x)
    if n < 0:
        return matrix_power(inv(x), -n)
    if n == 0:
        return broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    half = matrix_power(matmul(x, x), n // 2) if n > 1 else None
    return x if half is None else matmul(half, x) if n % 2 else half


def multi_dot(tensors: Sequence[Operand]) -> Tensor:
    """The matrix product of several matrices, the first and last of which may be vectors, from left to right.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.multi_dot([rg.ones(2, 3), rg.ones(3, 4), rg.ones(4)])
        tensor([12., 12.])
    """
    y, *rest = tensors
    for t in rest:
        y = matmul(y, t)
    return as_tensor_operand("multi_dot", y)


# Norms


def matrix_norm(x: Operand, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False) -> Tensor:
    """The norm of matrices, which lie in two axes.

    Args:
        x: two axes or more.
        ord: "fro" for the root of the sum of squares, "nuc" for the sum of the singular values, 2 and -2 for the
            largest and the smallest of them, 1 and -1 for the largest and smallest sum of absolute values of a column,
            inf and -inf of a row.
        dim: the axes of the rows and of the columns.
        keepdim: keep them, with size one.

    Raises:
        ValueError: an unknown ord.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.matrix_norm(rg.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor(5.)
    """
    x = floating("matrix_norm", x)
    rows, columns = (normalize_axis("matrix_norm", d, x.ndim) for d in dim)
    if ord == "fro":
        return vector_norm(x, 2, (rows, columns), keepdim)
    y = moveaxis(x, (rows, columns), (-2, -1))
    if ord in ("nuc", 2, -2):
        values = svdvals(y)
        made = sum(values, -1) if ord == "nuc" else (amax if ord == 2 else amin)(values, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = sum(abs(y), -2 if ord in (1, -1) else -1)
        made = (amax if float(ord) > 0 else amin)(sums, -1)
    else:
        raise ValueError(f"matrix_norm: ord is {ord!r}, expected 'fro', 'nuc', 2, -2, 1, -1, inf or -inf")
    if not keepdim:
        return made
    for axis in sorted((rows, columns)):
        made = unsqueeze(made, axis)
    return made


def norm(x: Operand, ord: float | str | None = None, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """vector_norm over an axis, matrix_norm over two; over none given, of order 2 for None, all elements are a vector,
    else they are a vector or a matrix by x's axes.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.norm(rg.tensor([3.0, 4.0]))
        tensor(5.)
    """
    x = floating("norm", x)
    if ord is None:
        return vector_norm(x, 2, dim, keepdim)
    axes = normalize_axes("norm", dim, x.ndim) if dim is None or isinstance(dim, int) else tuple(dim)
    if len(axes) == 2 or isinstance(ord, str):
        return matrix_norm(x, ord, axes, keepdim)
    return vector_norm(x, ord, dim, keepdim)
