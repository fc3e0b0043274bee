"""Every kernel, on every backend: what its NumPy reference gives, to rounding, for any shape and memory layout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import retrograd as rg
from retrograd.backends.registry import MODULES, Backend, _load
from retrograd.kernels import elementary
from retrograd.kernels.activation import ACTIVATIONS, FROM_OUTPUT
from retrograd.kernels.memory import LENT, empty_matrix
from retrograd.kernels.spec import TABLE, Kernel, Spec


class Array(NamedTuple):
    """An array to be drawn: its shape, the range of its values, and what may be done to it."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str | None = None  # None: the dtype that the call is made in
    written: bool = False  # the kernel changes it in place


Call = dict[str, Any]

# Sides around the widths of vectors and tiles; the large ones are worth several threads.
SMALL = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 70])
LARGE = st.sampled_from([127, 256, 301, 513])


class Sizes(NamedTuple):
    """How large the arrays of a call are."""

    side: st.SearchStrategy[int]
    elements: int

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
        fits = lambda s: math.prod(s) <= self.elements and min(s, default=1) >= min_side  # noqa: E731
        return st.lists(self.side, min_size=min_dims, max_size=max_dims).map(tuple).filter(fits)


SIZES = {"small": Sizes(SMALL, 5_000), "large": Sizes(LARGE, 200_000)}


@st.composite
def unary(draw: Any, sizes: Sizes, **options: Any) -> Call:
    drawn = {name: draw(value) if isinstance(value, st.SearchStrategy) else value for name, value in options.items()}
    low, high = drawn.pop("low", -2.0), drawn.pop("high", 2.0)
    return {"x": Array(draw(sizes.shape()), low, high), **drawn}


@st.composite
def broadcasting(draw: Any, sizes: Sizes, *names: str, low: float = -2.0) -> Call:
    full = draw(sizes.shape())
    shapes = []
    for _ in names:
        ones = draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
        lead = draw(st.integers(0, len(full)))
        shapes.append(tuple(1 if one else n for n, one in zip(full, ones, strict=True))[lead:])
    first = names[0]
    return {
        n: Array(s, low, dtype="bool" if n == "condition" else None) for n, s in zip(names, shapes, strict=True)
    } | ({first: Array(full, low, dtype="bool" if first == "condition" else None)} if draw(st.booleans()) else {})


@st.composite
def equal(draw: Any, sizes: Sizes, *names: str, **options: Any) -> Call:
    shape = draw(sizes.shape())
    return {n: Array(shape, *options.pop(n, ())) for n in names} | {n: draw(s) for n, s in options.items()}


@st.composite
def reducing(draw: Any, sizes: Sizes, min_side: int = 0, **options: Any) -> Call:
    shape = draw(sizes.shape(min_side=min_side))
    axes = tuple(i for i in range(len(shape)) if draw(st.booleans()))
    return {
        "x": Array(shape),
        "axes": axes,
        "keepdims": draw(st.booleans()),
        **{n: draw(s) for n, s in options.items()},
    }


@st.composite
def along_axis(draw: Any, sizes: Sizes, *names: str, **options: Any) -> Call:
    shape = draw(sizes.shape(min_dims=1))
    axis = {"axis": draw(st.integers(0, len(shape) - 1))}
    return {n: Array(shape) for n in names} | axis | {n: draw(s) for n, s in options.items()}


@st.composite
def product(draw: Any, sizes: Sizes) -> Call:
    m, k, n = (draw(sizes.side) for _ in range(3))
    a, b = draw(st.sampled_from([((), ()), ((), ()), ((2,), (2,)), ((2, 1), (3,)), ((0,), ()), ((), (2,))]))
    return {"a": Array((*a, m, k)), "b": Array((*b, k, n))}


@st.composite
def dense(draw: Any, sizes: Sizes, backward: bool = False) -> Call:
    rows, inner, outer = (draw(sizes.side) for _ in range(3))
    activation, alpha = draw(st.sampled_from(ACTIVATIONS)), draw(st.sampled_from([0.5, 2.0]))
    call: Call = {"x": Array((rows, inner)), "w": Array((outer, inner)), "activation": activation, "alpha": alpha}
    if not backward:
        return call | {"b": draw(st.sampled_from([None, Array((outer,))])), "need_z": draw(st.booleans())}
    g = Array((rows, outer), -1.0, 1.0)
    saved = draw(st.sampled_from([g, None])) if activation == "identity" else g
    needs = {n: draw(st.booleans()) for n in ("need_x", "need_w", "need_b")}
    return {"g": g, **call, "saved": saved, **needs, "x_activation": draw(st.sampled_from(FROM_OUTPUT)), "x_alpha": 0.5}


@st.composite
def dense_tangent(draw: Any, sizes: Sizes, with_output: bool = False) -> Call:
    rows, inner, outer = (draw(sizes.side) for _ in range(3))
    activation = draw(st.sampled_from(FROM_OUTPUT if with_output else ACTIVATIONS))
    call: Call = {"x": Array((rows, inner)), "w": Array((outer, inner)), "activation": activation}
    moved = draw(st.sampled_from(["tx", "tw", "both"]))
    saved = Array((rows, outer), -1.0, 1.0)
    if with_output:
        call["b"] = draw(st.sampled_from([None, Array((outer,))]))
    else:
        call["saved"] = draw(st.sampled_from([saved, None])) if activation == "identity" else saved
    return call | {
        "alpha": draw(st.sampled_from([0.5, 2.0])),
        "tx": None if moved == "tw" else Array((rows, inner)),
        "tw": None if moved == "tx" else Array((outer, inner)),
        "tb": draw(st.sampled_from([None, Array((outer,))])),
    }


@st.composite
def matrices(
    draw: Any, sizes: Sizes, square: bool = False, tall: bool = False, columns: int = 0, **options: Any
) -> Call:
    """Matrices, few and small."""
    m, n = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    m, n = (n, n) if square else (max(m, n), n) if tall else (m, n)
    # a layout that repeats the first of an axis is to repeat matrices, not rows, which would make them singular
    lead = draw(st.sampled_from([(2,), (2, 3), (0,)] if square else [(), (2,), (2, 3), (0,)]))
    if columns:
        return {"a": Array((*lead, n, n)), "b": Array((*lead, n, columns))}
    return {"q" if tall else "x": Array((*lead, m, n)), **options}


@st.composite
def pointwise_loss(draw: Any, sizes: Sizes, **options: Any) -> Call:
    call = draw(
        equal(sizes, "x", "target", reduction=REDUCTION, need_grad=st.booleans(), count=st.sampled_from([0, 7]))
    )
    return call | {n: draw(s) for n, s in options.items()}


@st.composite
def classes(draw: Any, sizes: Sizes) -> Call:
    rows, columns = draw(sizes.shape(2, 2).filter(lambda s: s[1] > 0))
    target = draw(st.sampled_from([Array((rows,), 0, columns - 1, "int64"), Array((rows, columns), 0.0, 1.0)]))
    options = {"reduction": draw(REDUCTION), "need_grad": draw(st.booleans()), "count": draw(st.sampled_from([0, 7]))}
    return {"x": Array((rows, columns)), "target": target, **options}


REDUCTION = st.sampled_from(["mean", "sum", "none"])


@st.composite
def indexing(draw: Any, sizes: Sizes, kernel: str) -> Call:
    shape = draw(sizes.shape(min_dims=1, min_side=1))
    keys = [hnp.basic_indices(shape, allow_newaxis=kernel != "assign")]
    if kernel != "slice_view":
        keys += [
            hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=9)),
            hnp.arrays(bool, shape),
        ]
        keys += [st.just((np.array([0, -1, 0]), ..., slice(None, None, -2)))] if len(shape) > 1 else []
    key = draw(st.one_of(keys))
    if kernel in ("index", "slice_view"):
        return {"x": Array(shape), "key": key}
    taken = np.empty(shape)[key].shape
    if kernel == "index_add":
        return {"g": Array(taken), "key": key, "shape": shape}
    # of an element that is written twice, which one stays is not said
    key = key if np.unique(np.arange(math.prod(shape)).reshape(shape)[key]).size == math.prod(taken) else ...
    taken = np.empty(shape)[key].shape
    return {"a": Array(shape, written=True), "values": Array(draw(st.sampled_from([taken, ()]))), "key": key}


@st.composite
def gathering(draw: Any, sizes: Sizes) -> Call:
    shape = draw(sizes.shape(min_dims=1, min_side=1))
    return {"x": Array(shape), "rows": Array((draw(sizes.side),), 0, shape[0] - 1, "int64")}


@st.composite
def choosing(draw: Any, sizes: Sizes, name: str) -> Call:
    """Indices along an axis; of `x` they take, at them `g` is added, or into `y` is put."""
    shape = draw(sizes.shape(min_dims=1, min_side=1))
    axis = draw(st.integers(0, len(shape) - 1))
    size, count = shape[axis], draw(st.integers(0, 9))
    chosen = (*shape[:axis], count, *shape[axis + 1 :])
    indices = {"indices": Array(chosen, -size, size - 1, "int64"), "axis": axis}
    if name == "y":  # of an element that is written twice, which one stays is not said
        indices["indices"] = Array((*shape[:axis], 1, *shape[axis + 1 :]), -size, size - 1, "int64")
        return {"y": Array(shape, written=True), "values": Array(indices["indices"].shape), **indices}
    return {"x": Array(shape), **indices} if name == "x" else {"g": Array(chosen), **indices, "size": size}


@st.composite
def joining(draw: Any, sizes: Sizes) -> Call:
    shape = draw(sizes.shape(min_dims=1))
    axis = draw(st.integers(0, len(shape) - 1))
    parts = draw(st.lists(sizes.side.filter(lambda n: n <= 301), min_size=1, max_size=3))
    return {"arrays": tuple(Array((*shape[:axis], n, *shape[axis + 1 :])) for n in parts), "axis": axis}


@st.composite
def drawing(draw: Any, sizes: Sizes, **options: Any) -> Call:
    word = st.integers(0, 2**64 - 1)
    offset = st.one_of(st.integers(0, 2**62), st.sampled_from([0, 2**32 - 1, 2**63]))
    return {"n": draw(sizes.shape().map(math.prod)), "key": draw(word), "offset": draw(offset), **options}


@st.composite
def updating(draw: Any, sizes: Sizes, state: dict[str, float], **options: st.SearchStrategy[Any]) -> Call:
    """A parameter, its gradient and the state, by the lowest value of each; but for Adam's m and v it is optional."""
    shape = draw(sizes.shape())
    call: Call = {"p": Array(shape, written=True), "g": Array(shape)}
    for name, low in state.items():
        given = name in ("m", "v") or draw(st.booleans())
        call[name] = Array(shape, low, low + 3.0, written=True) if given else None
    return call | {n: draw(s) for n, s in options.items()}


rate = st.sampled_from([0.0, 0.01, 0.9])


@st.composite
def reshaping(draw: Any, sizes: Sizes) -> Call:
    shape = draw(sizes.shape())
    return {"x": Array(shape), "shape": draw(st.sampled_from([(math.prod(shape),), (1, *shape, 1), shape[::-1]]))}


@st.composite
def permuting(draw: Any, sizes: Sizes) -> Call:
    shape = draw(sizes.shape())
    return {"x": Array(shape), "axes": tuple(draw(st.permutations(range(len(shape)))))}


@st.composite
def repeating(draw: Any, sizes: Sizes) -> Call:
    shape = draw(sizes.shape(max_dims=2))
    ones = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    return {
        "x": Array(tuple(1 if one else n for n, one in zip(shape, ones, strict=True))),
        "shape": (*draw(st.sampled_from([(), (2,), (0,)])), *shape),
    }


class Case(NamedTuple):
    """A kernel: how its calls are drawn, how many terms add up in an element of its result, in which dtypes it is
    tried, whether it is exact, and whether its operands may hold infinities, NaN and the like."""

    calls: Callable[[Sizes], st.SearchStrategy[Call]]
    terms: Callable[[Call], int] = lambda call: 1
    dtypes: tuple[str, ...] = ("float32", "float64")
    exact: bool = False
    specials: bool = False


FLOATS = ("float32", "float64")
NUMBERS = (*FLOATS, "int32", "int64")
ANY = (*NUMBERS, "bool")


def reduced_size(call: Call) -> int:
    return math.prod(call["x"].shape[a] for a in call["axes"])


def size_of(name: str) -> Callable[[Call], int]:
    return lambda call: math.prod(call[name].shape)


CASES: dict[str, Case] = {
    "negative": Case(unary, dtypes=NUMBERS, exact=True, specials=True),
    "absolute": Case(unary, dtypes=NUMBERS, exact=True, specials=True),
    "sign": Case(unary, dtypes=NUMBERS, exact=True, specials=True),
    "exp": Case(lambda s: unary(s, low=-100.0, high=90.0), specials=True),
    "log": Case(lambda s: unary(s, low=-0.1, high=9.0), specials=True),
    "sqrt": Case(lambda s: unary(s, low=-0.1, high=9.0), specials=True),
    "square": Case(unary, dtypes=NUMBERS, exact=True, specials=True),
    "add": Case(lambda s: broadcasting(s, "a", "b"), dtypes=ANY, exact=True, specials=True),
    "subtract": Case(lambda s: broadcasting(s, "a", "b"), dtypes=NUMBERS, exact=True, specials=True),
    "multiply": Case(lambda s: broadcasting(s, "a", "b"), dtypes=ANY, exact=True, specials=True),
    "divide": Case(lambda s: broadcasting(s, "a", "b"), exact=True, specials=True),
    "power": Case(lambda s: broadcasting(s, "a", "b", low=0.1), specials=True),
    **{
        name: Case(lambda s: broadcasting(s, "a", "b"), dtypes=ANY, exact=True, specials=True)
        for name in ("maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
    **{name: Case(unary, specials=True) for name in elementary.UNARY},
    **{name: Case(lambda s: broadcasting(s, "a", "b"), specials=True) for name in elementary.BINARY},
    **{name: Case(lambda s: unary(s, low=-5.0, high=5.0), specials=True) for name in ("erf", "erfc", "lgamma")},
    **{name: Case(lambda s: unary(s, n=st.integers(0, 3)), specials=True) for name in ("polygamma", "sinc")},
    "logical_and": Case(lambda s: broadcasting(s, "a", "b"), dtypes=ANY, exact=True, specials=True),
    "logical_or": Case(lambda s: broadcasting(s, "a", "b"), dtypes=ANY, exact=True, specials=True),
    "logical_not": Case(unary, dtypes=ANY, exact=True, specials=True),
    "where": Case(lambda s: broadcasting(s, "condition", "a", "b"), dtypes=ANY, exact=True, specials=True),
    "clamp": Case(
        lambda s: unary(s, low=-2.0, **{"high": 2.0}).flatmap(
            lambda call: st.sampled_from([(None, None), (-1, None), (None, 1), (-1, 1)]).map(
                lambda limits: call | {"low": limits[0], "high": limits[1]}
            )
        ),
        dtypes=NUMBERS,
        exact=True,
        specials=True,
    ),
    "cast": Case(lambda s: unary(s, dtype=st.sampled_from([np.dtype(t) for t in ANY])), dtypes=ANY, exact=True),
    "copy": Case(unary, dtypes=ANY, exact=True, specials=True),
    "full": Case(
        lambda s: s.shape().map(lambda shape: {"shape": shape, "value": 1.5, "dtype": np.dtype(np.float32)}), exact=True
    ),
    "accumulate": Case(
        lambda s: s.shape().map(lambda n: {"a": Array(n, written=True), "b": Array(n)}),
        dtypes=NUMBERS,
        exact=True,
        specials=True,
    ),
    "index": Case(lambda s: indexing(s, "index"), dtypes=ANY, exact=True),
    "index_add": Case(lambda s: indexing(s, "index_add"), terms=size_of("g"), dtypes=NUMBERS),
    "gather_rows": Case(gathering, dtypes=ANY, exact=True),
    "take_along_axis": Case(lambda s: choosing(s, "x"), dtypes=ANY, exact=True),
    "add_along_axis": Case(lambda s: choosing(s, "g"), terms=size_of("g"), dtypes=NUMBERS),
    "put_along_axis": Case(lambda s: choosing(s, "y"), dtypes=ANY, exact=True),
    "cumsum": Case(lambda s: along_axis(s, "x", reverse=st.booleans()), terms=size_of("x"), dtypes=ANY, specials=True),
    "argsort": Case(lambda s: along_axis(s, "x", descending=st.booleans()), dtypes=ANY, exact=True, specials=True),
    **{name: Case(lambda s: matrices(s, square=True), exact=True) for name in ("eigh", "det", "slogdet", "cofactor")},
    "inv": Case(lambda s: matrices(s, square=True), exact=True),
    "cholesky": Case(lambda s: s.shape(max_dims=1).map(lambda n: {"x": Array((*n, 1, 1), 0.5)}), exact=True),
    "solve": Case(lambda s: matrices(s, square=True, columns=3), exact=True),
    **{name: Case(matrices, exact=True) for name in ("qr", "svd")},
    "complement": Case(lambda s: matrices(s, tall=True), exact=True),
    "pinv": Case(lambda s: matrices(s, rtol=1e-6), exact=True),
    "concatenate": Case(joining, dtypes=ANY, exact=True),
    "assign": Case(lambda s: indexing(s, "assign"), dtypes=ANY, exact=True),
    "sum": Case(
        lambda s: reducing(s, scale=st.sampled_from([1.0, 0.1])), terms=reduced_size, dtypes=ANY, specials=True
    ),
    **{
        name: Case(lambda s: reducing(s, min_side=1), dtypes=ANY, exact=True, specials=True)
        for name in ("amax", "amin", "argmax", "argmin", "all", "any")
    },
    "logsumexp": Case(reducing, terms=reduced_size, specials=True),
    "softmax": Case(lambda s: along_axis(s, "x"), terms=lambda call: call["x"].shape[call["axis"]], specials=True),
    "softmax_backward": Case(lambda s: along_axis(s, "g", "y"), terms=lambda call: call["g"].shape[call["axis"]]),
    "log_softmax": Case(lambda s: along_axis(s, "x"), terms=lambda call: call["x"].shape[call["axis"]], specials=True),
    "log_softmax_backward": Case(lambda s: along_axis(s, "g", "y"), terms=lambda call: call["g"].shape[call["axis"]]),
    "activation_forward": Case(
        lambda s: unary(
            s, low=-9.0, high=9.0, activation=st.sampled_from(ACTIVATIONS), alpha=st.sampled_from([0.5, 1.0, 2.0])
        ),
        specials=True,
    ),
    "activation_backward": Case(
        lambda s: equal(
            s, "g", "saved", activation=st.sampled_from(ACTIVATIONS), alpha=st.sampled_from([0.5, 1.0, 2.0])
        ),
        specials=True,
    ),
    "matmul": Case(product, terms=lambda call: call["a"].shape[-1], specials=True),
    "linear_forward": Case(dense, terms=lambda call: call["x"].shape[1], specials=True),
    "linear_backward": Case(
        lambda s: dense(s, backward=True), terms=lambda call: max(*call["x"].shape, *call["w"].shape)
    ),
    "linear_tangent": Case(dense_tangent, terms=lambda call: 2 * call["x"].shape[1]),
    "linear_jvp": Case(lambda s: dense_tangent(s, with_output=True), terms=lambda call: 2 * call["x"].shape[1]),
    **{name: Case(pointwise_loss, terms=size_of("x")) for name in ("mse_loss", "l1_loss", "bce_with_logits_loss")},
    "huber_loss": Case(lambda s: pointwise_loss(s, delta=st.sampled_from([0.5, 1.0])), terms=size_of("x")),
    "cross_entropy_loss": Case(classes, terms=size_of("x")),
    "random_bits": Case(drawing, exact=True),
    "random_permutation": Case(drawing, exact=True),
    "random_uniform": Case(
        lambda s: st.sampled_from(FLOATS).flatmap(lambda d: drawing(s, dtype=np.dtype(d))), exact=True
    ),
    "dropout": Case(
        lambda s: unary(
            s,
            p=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
            key=st.integers(0, 2**64 - 1),
            offset=st.integers(0, 2**40),
            first=st.integers(0, 100),
        ),
        exact=True,
    ),
    "sgd_update": Case(
        lambda s: updating(
            s,
            {"velocity": -2.0},
            lr=rate,
            momentum=rate,
            dampening=rate,
            weight_decay=rate,
            nesterov=st.booleans(),
            first=st.booleans(),
        )
    ),
    "adam_update": Case(
        lambda s: updating(
            s,
            {"m": -2.0, "v": 0.1, "v_max": 0.1},
            lr=rate,
            weight_decay=rate,
            decoupled=st.booleans(),
            step=st.sampled_from([1, 2, 1000]),
        )
    ),
    "rmsprop_update": Case(
        lambda s: updating(
            s,
            {"v": 40.0, "velocity": -2.0, "g_mean": -0.5},
            lr=rate,
            weight_decay=rate,
            momentum=rate,
            accumulate=st.booleans(),
        )
    ),
    "gradient_sums": Case(
        lambda s: equal(s, "p", "g", "before", block=st.sampled_from([1, 3, 1024])).flatmap(
            lambda call: st.sampled_from([call, call | {"before": None}])
        ),
        terms=size_of("p"),
        specials=True,
    ),
    "update_sums": Case(
        lambda s: equal(s, "p", "kept", block=st.sampled_from([1, 3, 1024])), terms=size_of("p"), specials=True
    ),
    "unit_sums": Case(
        lambda s: st.tuples(s.shape(2, 2), st.sampled_from(["absolute", "relu", "tanh", "sigmoid"])).map(
            lambda drawn: {"x": Array(drawn[0]), "term": drawn[1]}
        ),
        terms=lambda call: call["x"].shape[0],
        specials=True,
    ),
    "reshape": Case(reshaping, dtypes=ANY, exact=True),
    "transpose": Case(permuting, dtypes=ANY, exact=True),
    "broadcast_to": Case(repeating, dtypes=ANY, exact=True),
    "slice_view": Case(lambda s: indexing(s, "slice_view"), dtypes=ANY, exact=True),
}

LAYOUTS = ("plain", "fortran", "strided", "reversed", "repeated", "misaligned")
SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-310, -1e-42, 1.0)


def filled(array: Array, dtype: str, rng: np.random.Generator, specials: bool) -> np.ndarray:
    kind = np.dtype(array.dtype or dtype)
    if kind.kind in "iub":
        return np.asarray(rng.integers(math.ceil(array.low), math.floor(array.high) + 1, array.shape)).astype(kind)
    made = np.asarray(rng.uniform(array.low, array.high, array.shape)).astype(kind)
    if specials and made.size:
        made.reshape(-1)[rng.integers(0, made.size, 1 + made.size // 50)] = rng.choice(SPECIALS)
    return made


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The array in another memory order; "repeated" gives it other values, along a zero stride."""
    if layout == "fortran":
        return np.array(array, order="F")
    if layout == "strided":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 0] = array
        return wide[..., 0]
    if layout == "reversed":
        back = (slice(None, None, -1),) * array.ndim
        return np.asarray(array[back].copy()[back])
    if layout == "repeated" and array.ndim and array.size:
        return np.broadcast_to(array[:1], array.shape)
    if layout == "misaligned":
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
        moved = memory.view(array.dtype).reshape(array.shape)
        moved[...] = array
        return moved
    return array


def arguments(call: Call, dtype: str, rng: np.random.Generator, layouts: Any, specials: bool) -> Call:
    def make(value: Any) -> Any:
        if not isinstance(value, Array):
            return (
                tuple(map(make, value)) if isinstance(value, tuple) and value and isinstance(value[0], Array) else value
            )
        layout = "plain" if value.written else next(layouts)
        return laid_out(filled(value, dtype, rng, specials), layout)

    return {name: make(value) for name, value in call.items()}


def copied(call: Call) -> Call:
    return {
        n: v.copy() if isinstance(v, np.ndarray) else tuple(map(np.copy, v)) if n == "arrays" else v
        for n, v in call.items()
    }


def results(kernel: Kernel, run: Callable[..., Any], call: Call) -> list[Any]:
    """What a kernel returns, then what it leaves in the arrays that it changes."""
    made = run(**call)
    returned = list(made) if isinstance(made, tuple) else [made]
    return returned + [call.get(name) for name in kernel.mutates]


def assert_same(found: Any, expected: Any, case: Case, terms: int) -> None:
    if expected is None:
        assert found is None
        return
    assert isinstance(found, np.ndarray), f"a kernel returns arrays, not {type(found)}"
    assert (found.shape, found.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    if case.exact or found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
    else:
        rounding = float(np.finfo(found.dtype).eps) * 16 * max(1.0, math.sqrt(terms))
        finite = np.abs(np.asarray(expected)[np.isfinite(expected)])
        scale = max(1.0, math.sqrt(terms)) if finite.size else 1.0
        np.testing.assert_allclose(found, expected, rtol=rounding, atol=rounding * scale)


def check(name: str, sizes: Sizes, data: st.DataObject) -> None:
    kernel, case = TABLE[name], CASES[name]
    drawn = data.draw(case.calls(sizes), label="call")
    dtype = data.draw(st.sampled_from(case.dtypes), label="dtype")
    special = case.specials and data.draw(st.booleans(), label="specials")
    layouts = itertools.cycle(data.draw(st.lists(st.sampled_from(LAYOUTS), min_size=3, max_size=3), label="layouts"))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31), label="seed"))
    call = arguments(drawn, dtype, rng, layouts, special)
    expected_call, untouched = copied(call), copied(call)
    expected = results(kernel, kernel.reference, expected_call)
    found = results(kernel, getattr(rg.kernels, name), call)
    for f, e in zip(found, expected, strict=True):
        assert_same(f, e, case, case.terms(drawn))
    for argument, value in call.items():
        if argument not in kernel.mutates:
            for f, e in zip(*(v if isinstance(v, tuple) else (v,) for v in (value, untouched[argument])), strict=True):
                np.testing.assert_array_equal(f, e, err_msg=f"{argument} was changed")
    specs = kernel.infer(**call)
    specs = list(specs) if isinstance(specs, tuple) and not isinstance(specs, Spec) else [specs]
    for spec, f in zip(specs, found, strict=False):
        assert (spec is None) == (f is None), "infer and the kernel disagree on what is returned"
        assert spec is None or (spec.shape, spec.dtype) == (f.shape, f.dtype), "infer gives another shape or dtype"


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=20)
def test_backends_give_what_the_reference_gives(name: str, backend: str, data: st.DataObject) -> None:
    check(name, SIZES["small"], data)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=3)
def test_large_arrays(name: str, backend: str, data: st.DataObject) -> None:
    """Large enough for several threads to share the work."""
    check(name, SIZES["large"], data)


def test_every_kernel_is_in_the_table() -> None:
    assert CASES.keys() == TABLE.keys()
    assert set(rg.kernels.__all__) == TABLE.keys()
    assert all(kernel.__doc__ and kernel.__doc__ == kernel.reference.__doc__ for kernel in TABLE.values())


@pytest.mark.parametrize("name", MODULES)
def test_backends_know_only_kernels_of_the_vocabulary(name: str) -> None:
    if name not in rg.backends.available():
        pytest.skip(rg.backends.missing()[name])
    assert _load(name).table.keys() <= TABLE.keys()
    with pytest.raises(KeyError, match="backend mine: no such kernels in the vocabulary: addd"):
        Backend("mine", {"addd": np.add}, lambda n: None, dict)


F = np.float32
REFUSED: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("add", (np.ones(2), np.ones(3)), ValueError, r"add: shapes \(2,\) and \(3,\) do not broadcast"),
    ("where", (np.ones(2, bool), np.ones(2), np.ones(3)), ValueError, r"where: shapes \(2,\) and \(2,\) and \(3,\)"),
    ("accumulate", (np.ones(2), np.ones(3)), ValueError, r"accumulate: expected equal shapes, got a \(2,\), b \(3,\)"),
    ("amax", (np.ones((0, 2)), (0,)), ValueError, r"amax: no elements to reduce over axes \(0,\) of shape \(0, 2\)"),
    ("softmax", (np.ones(2, int), 0), TypeError, "softmax: expected one floating dtype, got int64"),
    (
        "softmax_backward",
        (np.ones(2), np.ones(3), 0),
        ValueError,
        r"softmax_backward: expected equal shapes, got g \(2,\)",
    ),
    ("activation_forward", (np.ones(2), "rela"), ValueError, "activation_forward: unknown activation 'rela'"),
    ("activation_backward", (np.ones(2), np.ones(2, F), "relu"), TypeError, "activation_backward: .*float64, float32"),
    ("matmul", (np.ones((2, 3)), np.ones((2, 3))), ValueError, r"matmul: shapes \(2, 3\) and \(2, 3\) do not fit"),
    ("matmul", (np.ones(3), np.ones((3, 2))), ValueError, r"matmul: shapes \(3,\) and \(3, 2\) do not fit"),
    ("matmul", (np.ones((2, 1, 1)), np.ones((3, 1, 1))), ValueError, "matmul: batch axes .* do not broadcast"),
    ("linear_forward", (np.ones((2, 3)), np.ones((4, 2))), ValueError, r"linear_forward: x \(2, 3\) and w \(4, 2\)"),
    (
        "linear_forward",
        (np.ones((2, 3)), np.ones((4, 3)), np.ones(3)),
        ValueError,
        r"linear_forward: b has shape \(3,\)",
    ),
    (
        "linear_forward",
        (np.ones((2, 3)), np.ones((4, 3)), None, "selu"),
        ValueError,
        "linear_forward: unknown activation",
    ),
    (
        "linear_backward",
        (np.ones((2, 2)), np.ones((2, 3)), np.ones((4, 3))),
        ValueError,
        r"linear_backward: g \(2, 2\)",
    ),
    ("linear_backward", (np.ones((2, 4)), np.ones((2, 3)), np.ones((4, 3)), None, "relu"), ValueError, "relu needs"),
    (
        "linear_backward",
        (np.ones((2, 4)), np.ones((2, 3)), np.ones((4, 3)), None, "identity", 0.0, True, True, True, "gelu"),
        ValueError,
        "x_activation 'gelu' has no derivative by its output",
    ),
    ("linear_tangent", (np.ones((2, 3)), np.ones((4, 3))), ValueError, "expected a tangent of x, of w or of both"),
    (
        "linear_tangent",
        (np.ones((2, 3)), np.ones((4, 3)), None, np.ones((2, 4))),
        ValueError,
        r"linear_tangent: tx has shape \(2, 4\), expected \(2, 3\)",
    ),
    (
        "linear_tangent",
        (np.ones((2, 3)), np.ones((4, 3)), None, np.ones((2, 3)), None, None, "relu"),
        ValueError,
        "linear_tangent: relu needs `saved`",
    ),
    (
        "linear_jvp",
        (np.ones((2, 3)), np.ones((4, 3)), np.ones(3), np.ones((2, 3))),
        ValueError,
        r"linear_jvp: b has shape \(3,\), expected \(4,\)",
    ),
    (
        "linear_jvp",
        (np.ones((2, 3)), np.ones((4, 3)), None, np.ones((2, 3)), None, None, "gelu"),
        ValueError,
        "linear_jvp: the derivative of gelu is no function of its output; expected one of identity, relu",
    ),
    ("mse_loss", (np.ones(2), np.ones(3)), ValueError, r"mse_loss: expected equal shapes, got x \(2,\), target \(3,\)"),
    ("l1_loss", (np.ones(2), np.ones(2), "avg"), ValueError, "l1_loss: unknown reduction 'avg'"),
    ("cross_entropy_loss", (np.ones((2, 3)), np.ones(3, int)), ValueError, r"cross_entropy_loss: .*\(2, 3\) .*\(3,\)"),
    ("cross_entropy_loss", (np.ones((2, 3)), np.ones(2, "int32")), TypeError, "cross_entropy_loss: target is int32"),
    ("cross_entropy_loss", (np.ones((2, 3), F), np.array([0, -1])), IndexError, "class index -1 .* expected 0 to 2"),
    ("dropout", (np.ones(2, int), 0.5, 0, 0), TypeError, "dropout: expected one floating dtype"),
    ("sgd_update", (np.ones(2), np.ones(3)), ValueError, r"sgd_update: expected equal shapes, got p \(2,\), g \(3,\)"),
    (
        "adam_update",
        (np.ones(2), np.ones(2), np.ones(2), np.ones(2, F)),
        TypeError,
        "adam_update: expected one floating",
    ),
    ("concatenate", ((np.ones((2, 3)), np.ones((2, 2))), 0), ValueError, r"concatenate: shapes \[\(2, 3\), \(2, 2\)\]"),
    ("add", (1, 2, 3), TypeError, r"add: takes 2 arguments \('a', 'b'\), got 3"),
]


@pytest.mark.parametrize(("name", "operands", "kind", "message"), REFUSED, ids=[f"{r[0]}-{r[3]}" for r in REFUSED])
def test_what_does_not_fit_is_refused(
    name: str, operands: tuple[Any, ...], kind: type[Exception], message: str, backend: str
) -> None:
    with pytest.raises(kind, match=message):
        getattr(rg.kernels, name)(*operands)


def test_lists_and_numbers_are_taken_as_arrays(backend: str) -> None:
    assert rg.kernels.add([1.0, 2.0], 1).tolist() == [2, 3]
    assert isinstance(rg.kernels.add(1.0, 2.0), np.ndarray)
    assert rg.kernels.concatenate(([1], [2, 3]), 0).tolist() == [1, 2, 3]
    assert repr(rg.kernels.linear_forward) == "<kernel linear_forward(x, w, b, activation, alpha, need_z)>"


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (200, 100, 1), (200, 100, 40), (200, 100, 60)], ids=str)
def test_a_product_of_any_size_is_quiet_and_the_same_from_several_threads(shape):
    """Small products, large ones and those that write much for what they multiply go different ways."""
    m, n, k = shape
    a, b = (np.random.default_rng(0).standard_normal(s) for s in ((m, k), (k, n)))
    expected = np.einsum("ij,jk->ik", a, b)
    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(lambda _: rg.kernels.matmul(a, b), range(200)):
            np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-12)
    a[0, 0] = np.inf
    b[0] = 0
    with np.errstate(all="raise"):
        assert np.isnan(rg.kernels.matmul(a, b)[0]).all()
        assert np.isnan((rg.from_numpy(a) @ rg.from_numpy(b)).numpy()[0]).all()


@given(st.lists(st.tuples(st.sampled_from((100, 200, 300)), st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=30)
def test_memory_is_lent_to_one_matrix_at_a_time(calls: list[tuple[int, int, bool]]) -> None:
    """Taken, dropped and looked at in any order, each keeps what was written to it."""
    held: dict[int, np.ndarray] = {}
    for number, (rows, slot, view) in enumerate(calls):
        matrix = empty_matrix(rows, LENT // 800, np.dtype(np.float64))
        assert matrix.shape == (rows, LENT // 800)
        assert matrix.flags.c_contiguous
        assert matrix.flags.writeable
        matrix[...] = number
        held[slot] = matrix.T[2:] if view else matrix
        del matrix
        for kept in held.values():
            assert (kept == kept[0, 0]).all()
        assert len({kept[0, 0] for kept in held.values()}) == len(held)


def test_memory_is_lent_again() -> None:
    address = empty_matrix(3, LENT, np.dtype(np.float32)).ctypes.data
    again = empty_matrix(3, LENT, np.dtype(np.float32))
    assert again.ctypes.data == address
    assert empty_matrix(3, LENT, np.dtype(np.float32)).ctypes.data != address
