"""Ops that come in families (elementary and special functions, scans, sorting, indexing, contractions, linear algebra),
a line each: held against finite differences to the second order in both modes, and compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import retrograd as rg
from retrograd.ops import arrange, contraction, elementary, gather, linalg, scan, sorting, special

RNG = np.random.default_rng(0)
X = RNG.permutation(np.linspace(0.1, 0.9, 12)).reshape(3, 4)
Y = RNG.permutation(np.linspace(0.15, 0.95, 12)).reshape(3, 4)
V = np.array([0.3, 0.7, 0.5])
W = np.array([0.8, 0.2, 0.6])
SQUARE = np.array([[2.0, 0.3, 0.1], [0.4, 1.5, 0.2], [0.5, 0.1, 1.0]])
STACK = np.stack([SQUARE, SQUARE.T * 1.5 + 0.1])
SPD = SQUARE @ SQUARE.T
INDEX = np.array([[0, 2, 1, 1], [1, 1, 0, 2]])
ZERO = np.array([[0.5, 0.0, 2.0], [0.0, 3.0, 0.0]])


class Case(NamedTuple):
    """An op: what is called, with which floating operands, and whether a step that is compiled can hold it."""

    name: str
    function: Callable[..., Any]
    operands: tuple[np.ndarray, ...]
    compiles: bool = True


def case(name: str, *operands: np.ndarray, compiles: bool = True, **options: Any) -> Case:
    function = getattr(rg, name)
    return Case(name, lambda *given: function(*given, **options), operands, compiles)


def listed(name: str) -> Case:
    """A function of a list of vectors."""
    return Case(name, lambda *given: getattr(rg, name)(list(given)), (V, W))


def matrix(name: str, *operands: np.ndarray, symmetric: bool = False, **options: Any) -> Case:
    """A function of rg.linalg; of eigenvectors and the like it is the signs' even powers that are determined."""
    op = getattr(linalg, name)

    def function(*given: rg.Tensor) -> Any:
        first, *rest = given
        made = op((first + first.mT) * 0.5 if symmetric else first, *rest, **options)
        return [t * t for t in made] if isinstance(made, tuple) and name != "slogdet" else made

    return Case(name, function, operands)


SAME = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "atanh", "exp2", "expm1", "log2", "log10")
CASES = [
    *(case(name, X) for name in (*SAME, "log1p", "cbrt", "reciprocal", "rsqrt", "deg2rad", "rad2deg", "frac", "logit")),
    *(
        case(name, X)
        for name in ("erf", "erfc", "lgamma", "digamma", "sinc", "floor", "ceil", "trunc", "rint", "round")
    ),
    *(case(name, X + 0.5, Y) for name in ("atan2", "hypot", "logaddexp", "xlogy", "float_power", "copysign")),
    *(case(name, X + 2.0, Y) for name in ("remainder", "fmod", "floor_divide")),
    case("acosh", X + 1.1),
    case("lerp", X, Y, Y[:1]),
    *(case(name, X, Y, Y[:1] + 2.0, value=0.5) for name in ("addcmul", "addcdiv")),
    Case("nan_to_num", lambda x: rg.nan_to_num(rg.where(X > 0.2, x, np.nan), nan=2.0), (X,)),
    Case("sinc", lambda x: rg.sinc(x - 0.5), (np.array([0.5, 0.5 + 1e-3, 1.4, 1.6]),)),
    Case("lgamma", lambda x: rg.lgamma(x - 3.0), (X,)),
    Case("polygamma", lambda x: rg.polygamma(2, x), (X + 0.5,)),
    Case("polygamma", lambda x: rg.polygamma(1, x - 2.0), (X,)),
    *(case(name, X, dim=d) for name in ("cumsum", "cumprod", "logcumsumexp", "diff") for d in (0, 1)),
    *(case(name, ZERO, dim=1) for name in ("prod", "cumprod")),
    case("prod", X),
    case("prod", STACK, dim=(0, 2), keepdim=True),
    case("sort", X, descending=True),
    case("topk", X, k=2, dim=0),
    case("kthvalue", X, k=2),
    case("median", X),
    case("median", X, dim=1, keepdim=True),
    case("quantile", X, q=[0.2, 0.75], dim=1),
    case("max", X, dim=1),
    case("min", X, dim=0, keepdim=True),
    case("gather", X, dim=0, index=INDEX),
    case("take_along_axis", X, indices=INDEX, dim=0),
    Case("scatter_add", lambda x, y: rg.scatter_add(x, 0, INDEX, y), (X, Y)),
    Case("index_add", lambda x, y: rg.index_add(x, 1, [1, 1, 3], y, alpha=2.0), (X, Y[:, :3])),
    Case("scatter", lambda x, y: rg.scatter(x, 0, INDEX[1:, [0, 2, 3]], y), (X, Y)),
    Case("index_copy", lambda x, y: rg.index_copy(x, 1, [1, 0, 3], y), (X, Y[:, :3])),
    Case("index_fill", lambda x, y: rg.index_fill(x, 1, [1, -1, 1], y), (X, np.array(2.0))),
    case("index_select", X, dim=1, index=[3, 0, 3]),
    case("take", X, indices=[5, 0, 5]),
    Case("masked_fill", lambda x, y: rg.masked_fill(x, X > 0.5, y), (X, np.array(2.0))),
    Case("masked_select", lambda x: rg.masked_select(x, X > 0.5), (X,), compiles=False),
    *(case(name, X) for name in ("flip", "fliplr", "flipud", "rot90", "ravel", "tril", "triu", "diag", "trace")),
    *(case(name, X) for name in ("diagonal", "diag_embed", "atleast_3d", "unbind")),
    case("roll", X, shifts=(1, -2), dims=(0, 1)),
    case("moveaxis", STACK, source=0, destination=2),
    case("swapaxes", X, dim0=0, dim1=1),
    case("expand_dims", X, dim=(0, 2)),
    case("narrow", X, dim=1, start=1, length=2),
    Case("repeat", lambda x: rg.repeat(x, 2, 1, 3), (X,)),
    Case("tile", lambda x: rg.tile(x, (3,)), (X,)),
    case("repeat_interleave", X, repeats=2, dim=0),
    *(case("pad", X, pad=(1, 2, -1, 1), mode=m) for m in ("constant", "reflect", "replicate", "circular")),
    case("pad", X, pad=(1, 2), value=3.0),
    case("unfold", X, dim=1, size=2, step=1),
    Case("meshgrid", lambda v, w: rg.meshgrid(v, w, indexing="xy"), (V, W)),
    *(listed(name) for name in ("hstack", "vstack", "dstack", "column_stack", "atleast_2d")),
    case("atleast_1d", np.array(0.5)),
    *(
        Case("einsum", lambda *given, s=subscripts: rg.einsum(s, *given), operands)
        for subscripts, operands in {
            "ij,kj->ik": (X, Y),
            "ij,ij": (X, Y),
            "ii->i": (SQUARE,),
            "i,j,k->kij": (V, W, V),
            "...ij,...jk": (STACK, SQUARE),
            "ij,jk,kl,l->i": (X, Y.T, SQUARE, V),
            "ij->": (X,),
        }.items()
    ),
    case("tensordot", X, Y, dims=([0, 1], [0, 1])),
    case("tensordot", STACK, SQUARE, dims=1),
    *(case(name, V, W) for name in ("inner", "outer", "dot", "vdot", "cross", "kron", "vecdot")),
    case("kron", X, V),
    case("norm", X),
    *(matrix("vector_norm", X, ord=p, dim=1) for p in (1, 3, math.inf, 2.5)),
    *(matrix("matrix_norm", STACK, ord=p) for p in ("fro", "nuc", 2, -2, 1, -math.inf)),
    *(matrix(name, STACK) for name in ("inv", "det", "slogdet", "logdet", "qr", "svd", "svdvals", "pinv")),
    *(matrix(name, X) for name in ("qr", "svd", "pinv")),
    *(matrix(name, X.T) for name in ("qr", "svd", "pinv")),
    *(matrix(name, SPD, symmetric=True) for name in ("cholesky", "eigh", "eigvalsh")),
    matrix("cholesky", SPD, symmetric=True, upper=True),
    matrix("solve", STACK, SQUARE),
    matrix("solve", SQUARE, V),
    matrix("solve_triangular", SQUARE, SQUARE, upper=True, left=False, unitriangular=True),
    matrix("lstsq", X.T, Y.T),
    *(matrix("matrix_power", SQUARE, n=n) for n in (-2, 0, 3)),
    Case("multi_dot", lambda a, b, v: linalg.multi_dot([a, b, v]), (SQUARE, SPD, V)),
]


def every_case(wanted: Callable[[Case], bool] = lambda case: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [*filter(wanted, CASES)], ids=lambda case: case.name)


@every_case()
def test_derivatives_are_slopes(case: Case) -> None:
    assert rg.check_grad(floating(case.function), *map(rg.tensor, case.operands), order=2)


def floating(function: Callable[..., Any]) -> Callable[..., list[rg.Tensor]]:
    """The function with those results that can have derivatives."""

    def call(*given: rg.Tensor) -> list[rg.Tensor]:
        made = function(*given)
        return [t for t in (made if isinstance(made, (tuple, list)) else [made]) if t.dtype.kind == "f"]

    return call


POINTWISE = {n for m in (elementary, special) for n in vars(m)} | {"prod", "norm", "vector_norm", "lerp"}
"""Elementwise ops and reductions, which each backend compiles in its own way; the others run as kernels one by one."""


@every_case(lambda case: case.name in POINTWISE)
def test_each_backend_compiles_what_is_elementwise(case: Case, backend: str) -> None:
    assert_compiles(case)


@every_case(lambda case: case.name not in POINTWISE and case.compiles)
def test_steps_of_other_ops_can_be_compiled(case: Case) -> None:
    with rg.backends.use("numpy"):
        assert_compiles(case)


def assert_compiles(case: Case) -> None:
    leaves = [rg.tensor(a.astype("float32"), requires_grad=True) for a in case.operands]

    def step(*given: rg.Tensor) -> list[rg.Tensor]:
        for leaf in leaves:
            leaf.grad = None
        made = floating(case.function)(*(leaf * g for leaf, g in zip(leaves, given, strict=True)))
        sum(((t * t).sum() for t in made), leaves[0].sum()).backward()
        return [*made, *(leaf.grad for leaf in leaves)]

    ones = [np.ones(a.shape, "float32") for a in case.operands]
    expected = [t.detach().numpy().copy() for t in step(*map(rg.tensor, ones))]
    found = [t.detach().numpy() for t in rg.compile(step)(*ones)]
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-4)


def test_every_public_op_of_these_families_has_a_case() -> None:
    modules = {m.__name__ for m in (arrange, contraction, elementary, gather, scan, sorting, special)}
    public = {n for n in rg.__all__ if getattr(getattr(rg, n), "__module__", "") in modules}
    public |= {n for n in linalg.__all__ if n[0].islower() and n not in ("diagonal", "matmul")}
    # have no derivatives:
    without = {"argsort", "isnan", "isinf", "isfinite", "isclose", "allclose", "nonzero", "unique"}
    covered = {getattr(rg, c.name, None) for c in CASES} | {getattr(linalg, c.name, None) for c in CASES}
    missing = {n for n in public - without if getattr(rg, n, getattr(linalg, n, None)) not in covered}
    assert not missing


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: linalg.inv(np.ones((2, 3))), ValueError, r"inv: shape \(2, 3\), expected square matrices"),
    (
        lambda: linalg.inv(np.ones((2, 2))),
        np.linalg.LinAlgError,
        r"inv: Singular matrix, in matrices of shape \(2, 2\)",
    ),
    (lambda: linalg.cholesky(-np.eye(2)), np.linalg.LinAlgError, "cholesky: .*not positive definite"),
    (lambda: linalg.solve(SQUARE, np.ones((2, 1))), ValueError, r"solve: shapes \(3, 3\) and \(2, 1\) do not fit"),
    (lambda: rg.einsum("ij,jk", X, X), ValueError, "einsum: 'j' in 'ij,jk' is both 4 and 3"),
    (lambda: rg.einsum("ij->k", X), ValueError, "einsum: the result of 'ij->k' must have letters of its operands"),
    (lambda: rg.tensordot(X, X.T), ValueError, r"tensordot: axes \[0, 1\] of shape \(3, 4\) and \[0, 1\] of \(4, 3\)"),
    (lambda: rg.gather(X, 0, [[7]]), IndexError, "gather: index 7 is out of range for 3 elements"),
    (lambda: rg.gather(X, 0, [[0.5]]), TypeError, "gather: indices are float32, expected whole numbers"),
    (lambda: rg.topk(X, 5), ValueError, r"topk: k is 5, but dim -1 of shape \(3, 4\) has 4 elements"),
    (lambda: rg.pad(X, (1,)), ValueError, r"pad: \(1,\) must be pairs"),
    (lambda: rg.roll(X, (1, 2), 0), ValueError, r"roll: shifts \(1, 2\) and dims 0 must be equally many"),
    (lambda: rg.polygamma(-1, X), ValueError, "polygamma: n is -1"),
    (lambda: rg.sin(np.ones(2, complex)), TypeError, "sin: dtype complex128 is not supported; give the real"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[message[:12] for _, _, message in REFUSED])
def test_what_does_not_fit_is_refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
