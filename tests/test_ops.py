"""Every op and loss, a line each: its gradient against finite differences and PyTorch, and its second derivative.

A case draws the shapes of its operands and its other arguments; values and memory layouts follow from a seed. A value
that matters lies away from the places where a derivative jumps, except in the cases that are about those places.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import retrograd as rg
from retrograd.ops import activation, elementwise, index, loss, product, random, reduction, rule, shape

torch = pytest.importorskip("torch")
tf = torch.nn.functional

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*degrees of freedom is <= 0", "ignore:Using a target size", "ignore:The use of `x.T`"
)

Drawn = tuple[list[tuple[int, ...]], dict[str, Any]]


# What operands a case takes: their shapes, and its other arguments


def one(min_side: int = 0, min_dims: int = 0, max_dims: int = 3) -> st.SearchStrategy[Drawn]:
    """An operand of any shape."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=4).map(
        lambda s: ([s], {})
    )


def several(n: int) -> st.SearchStrategy[Drawn]:
    """n operands that broadcast."""
    return hnp.mutually_broadcastable_shapes(num_shapes=n, min_side=0, max_side=4, max_dims=3).map(
        lambda s: (list(s.input_shapes), {})
    )


pair = several(2)


def with_option(drawn: st.SearchStrategy[Drawn], **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Drawn]:
    return st.tuples(drawn, st.fixed_dictionaries(options)).map(lambda t: (t[0][0], {**t[0][1], **t[1]}))


seeded = st.integers(0, 2**31)
reductions = st.sampled_from(["mean", "sum", "none"])


@st.composite
def into_first(draw: Any) -> Drawn:
    """Two operands; the second broadcasts to the first's shape."""
    (a, b), _ = draw(pair)
    return [np.broadcast_shapes(a, b), b], {}


@st.composite
def equal(draw: Any, n: int = 2) -> Drawn:
    return [draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))] * n, {}


@st.composite
def reduced(draw: Any, min_side: int = 0, several_axes: bool = True, keepdim: bool = True) -> Drawn:
    """An operand, and the axes to reduce."""
    (x,), _ = draw(one(min_side))
    dims = [st.none()] if several_axes else []
    if x:
        dims.append(st.integers(-len(x), len(x) - 1))
        if several_axes:
            dims.append(hnp.valid_tuple_axes(len(x), min_size=1))
    elif not several_axes:
        dims.append(st.just(-1))
    options = {"dim": draw(st.one_of(dims))}
    return [x], options | ({"keepdim": draw(st.booleans())} if keepdim else {})


@st.composite
def reshaped(draw: Any) -> Drawn:
    (x,), _ = draw(one())
    size = math.prod(x)
    factors = [n for n in range(1, size + 1) if size % n == 0] or [0]
    n = draw(st.sampled_from(factors))
    shapes = [(n, size // n if n else 3), (size,), (1, -1, 1) if size else (0, 2), *([()] if size == 1 else [])]
    return [x], {"shape": draw(st.sampled_from(shapes))}


@st.composite
def permuted(draw: Any) -> Drawn:
    (x,), _ = draw(one())
    return [x], {"dims": tuple(draw(st.permutations(range(len(x)))))}


@st.composite
def two_axes(draw: Any) -> Drawn:
    (x,), _ = draw(one(min_dims=1))
    axis = st.integers(-len(x), len(x) - 1)
    return [x], {"dim0": draw(axis), "dim1": draw(axis)}


@st.composite
def flattened(draw: Any) -> Drawn:
    (x,), _ = draw(one(min_dims=1))
    start = draw(st.integers(0, len(x) - 1))
    return [x], {"start_dim": start, "end_dim": draw(st.integers(start, len(x) - 1))}


@st.composite
def unsqueezed(draw: Any) -> Drawn:
    (x,), _ = draw(one())
    return [x], {"dim": draw(st.integers(-len(x) - 1, len(x)))}


@st.composite
def squeezed(draw: Any) -> Drawn:
    (x,), _ = draw(one())
    return [x], {"dim": draw(st.sampled_from(range(-len(x), len(x)))) if x else None}


@st.composite
def joined(draw: Any, stacked: bool = False) -> Drawn:
    (x,), _ = draw(one(min_dims=0 if stacked else 1))
    n = draw(st.integers(1, 3))
    axis = draw(st.integers(-len(x) - stacked, len(x) - 1 + stacked))
    if stacked:
        return [x] * n, {"dim": axis}
    sizes = [draw(st.integers(0, 3)) for _ in range(n)]
    axis %= len(x)
    return [(*x[:axis], m, *x[axis + 1 :]) for m in sizes], {"dim": axis}


@st.composite
def divided(draw: Any) -> Drawn:
    (x,), _ = draw(one(min_dims=1, min_side=1))
    axis = draw(st.integers(0, len(x) - 1))
    cut = draw(st.integers(0, x[axis]))
    return [x], {"sizes": draw(st.sampled_from([1, 2, 3, [cut, x[axis] - cut]])), "dim": axis}


@st.composite
def indexed(draw: Any, kind: str, values: bool = False) -> Drawn:
    (x,), _ = draw(one(min_dims=1, min_side=1))
    keys = {
        "basic": hnp.basic_indices(x, allow_newaxis=True),
        "integers": hnp.integer_array_indices(x, result_shape=hnp.array_shapes(max_dims=2, max_side=4)),
        "booleans": hnp.arrays(bool, x),
        "mixed": st.tuples(st.just(slice(None)), st.just([0, -1, 0])) if len(x) > 1 else st.just([0, -1, 0]),
    }
    key = draw(keys[kind])
    taken = np.empty(x)[key].shape
    return [
        x,
        *(
            [draw(st.sampled_from([taken, taken[1:], (), (1, *taken) if taken and kind == "basic" else ()]))]
            if values
            else []
        ),
    ], {"key": key}


@st.composite
def multiplied(draw: Any) -> Drawn:
    shapes = hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=4, max_dims=2)
    return list(draw(shapes).input_shapes), {}


@st.composite
def dense(draw: Any, bias: bool = True) -> Drawn:
    """Input, weight and bias; of values on the lattice, up to four products and a bias keep away from zero."""
    lead = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
    inner, outer = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    return [(*lead, inner), (outer, inner), *([(outer,)] if bias else [])], {}


@st.composite
def classified(draw: Any, probabilities: bool) -> Drawn:
    x = draw(st.sampled_from([(3,), (4, 3), (1, 1), (0, 3), (5, 2), (2, 3, 2), (2, 3, 1, 2)]))
    options = {
        "reduction": draw(reductions),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
        "weighted": draw(st.booleans()),
    }
    if not probabilities:
        options |= {"seed": draw(seeded), "ignored": draw(st.booleans())}
    return [x] * (1 + probabilities), options


# What both libraries are called with


def shared(name: str) -> Callable[..., Any]:
    """A function for either library's tensors: by name, from the one that the first operand belongs to."""

    def call(x: Any, *rest: Any, **options: Any) -> Any:
        return getattr(rg if isinstance(x, rg.Tensor) else torch, name)(x, *rest, **options)

    return call


def like(x: Any, array: np.ndarray) -> Any:
    """A constant tensor of the library that x belongs to; floating ones take x's dtype."""
    array = np.asarray(array)
    if isinstance(x, rg.Tensor):
        return rg.tensor(array, dtype=x.dtype if array.dtype.kind == "f" else None)
    made = torch.from_numpy(array.copy())
    return made.to(x.dtype) if array.dtype.kind == "f" else made


def over(function: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's reduction, told all axes where ours takes None."""

    def call(x: Any, dim: Any, **options: Any) -> Any:
        return function(x, tuple(range(x.ndim)) if dim is None else dim, **options)

    return call


def torch_take(x: Any, key: Any) -> Any:
    places = np.arange(x.numel()).reshape(tuple(x.shape))[key]
    return x.reshape(-1)[torch.from_numpy(np.array(places).reshape(-1))].reshape(np.shape(places))


def torch_put(x: Any, values: Any, key: Any) -> Any:
    places = np.array(np.arange(x.numel()).reshape(tuple(x.shape))[key])
    values = values.reshape(values.shape[-places.ndim :] if places.ndim else ()).broadcast_to(places.shape).reshape(-1)
    return x.reshape(-1).index_put((torch.from_numpy(places.reshape(-1)),), values).reshape(x.shape)


def put(x: Any, values: Any, key: Any) -> Any:
    y = x.clone()
    y[key] = values
    return y


def where(a: Any, b: Any, seed: int) -> Any:
    mask = np.random.default_rng(seed).random(np.broadcast_shapes(tuple(a.shape), tuple(b.shape))) < 0.5
    return (rg if isinstance(a, rg.Tensor) else torch).where(like(a, mask), a, b)


def in_place(a: Any, b: Any) -> Any:
    y = a * 1.0
    y += b
    y *= b
    y -= 0.5
    y /= 2
    y **= 2
    return y.add_(b).mul_(2.0).sub_(b).div_(4).tanh_().exp_().neg_().sigmoid_().sqrt_().clamp_(-5, 5).pow_(3).relu_()


def out_of_place(a: Any, b: Any) -> Any:
    y = ((a + b) * b - 0.5) / 2
    y = ((y**2 + b) * 2.0 - b) / 4
    return torch.relu(torch.clamp(torch.sqrt(torch.sigmoid(-torch.exp(torch.tanh(y)))), -5, 5) ** 3)


def arithmetic(x: Any) -> Any:
    return (2 - x) / 3 + 3 * x - 1 / (x + 4.5) + x / 2 - 2.0**x


def powers(x: Any) -> Any:
    return x**2 + x**3 + x**-1 + x**2.0 + x**0


def bce(x: Any, target: Any, reduction: str, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    weight, pos_weight = like(x, rng.random(x.shape)), like(x, rng.random(x.shape[-1:]) + 0.5)
    function = loss if isinstance(x, rg.Tensor) else tf
    return function.binary_cross_entropy_with_logits(
        x, target, weight=weight, reduction=reduction, pos_weight=pos_weight
    )


def cross_entropy(x: Any, *target: Any, weighted: bool, seed: int = 0, ignored: bool = False, **options: Any) -> Any:
    axis = 0 if x.ndim == 1 else 1
    classes = x.shape[axis]
    rng = np.random.default_rng(seed)
    if weighted:
        options["weight"] = like(x, rng.random(classes) + 0.5)
    if not target:
        labels = np.asarray(rng.integers(0, classes, (*x.shape[:axis], *x.shape[axis + 1 :])))
        if ignored:
            options["ignore_index"] = 0
        target = (like(x, labels),)
    return (loss if isinstance(x, rg.Tensor) else tf).cross_entropy(x, *target, **options)


def pieces(name: str) -> Callable[..., Any]:
    """Split and join again, so that each piece has its own weight."""

    def call(x: Any, sizes: Any, dim: int) -> Any:
        parts = getattr(rg if isinstance(x, rg.Tensor) else torch, name)(x, sizes, dim)
        return (rg if isinstance(x, rg.Tensor) else torch).cat([p * (i + 1.0) for i, p in enumerate(parts)], dim)

    return call


def of_tuple(name: str) -> Callable[..., Any]:
    return lambda *parts, dim: getattr(rg if isinstance(parts[0], rg.Tensor) else torch, name)(list(parts), dim=dim)


def product_of_broadcast(a: Any, b: Any) -> Any:
    a, b = (rg if isinstance(a, rg.Tensor) else torch).broadcast_tensors(a, b)
    return a * b


def torch_softmax(x: Any, dim: Any) -> Any:
    dims = tuple(range(x.ndim)) if dim is None else dim
    return torch.exp(x - torch.logsumexp(x, dims, keepdim=True))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": tf.leaky_relu,
    "gelu": tf.gelu,
    "gelu_tanh": lambda x: tf.gelu(x, approximate="tanh"),
    "silu": tf.silu,
    "softplus": tf.softplus,
}


class Case(NamedTuple):
    """An op: what it is called with here and in PyTorch (None where that has no such op), its operands, their domain,
    and whether finite differences make sense."""

    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any] | None
    drawn: st.SearchStrategy[Drawn]
    domain: str = "real"
    differences: bool = True


CASES = [
    Case("add", rg.add, torch.add, pair),
    Case("subtract", rg.subtract, torch.subtract, pair),
    Case("multiply", rg.multiply, torch.multiply, pair),
    Case("multiply[by itself]", lambda x: x * x, lambda x: x * x, one()),
    Case("divide", rg.divide, torch.divide, pair, "nonzero"),
    Case("power", rg.power, torch.pow, pair, "positive"),
    Case("power[numbers]", powers, powers, one(), "nonzero"),
    Case("add[numbers]", arithmetic, arithmetic, one()),
    Case("maximum", rg.maximum, torch.maximum, pair),
    Case("minimum", rg.minimum, torch.minimum, pair),
    Case("maximum[ties]", rg.maximum, torch.maximum, pair, "ties", differences=False),
    Case("minimum[ties]", rg.minimum, torch.minimum, pair, "ties", differences=False),
    Case("where", where, where, with_option(pair, seed=seeded)),
    Case("negative", rg.negative, torch.negative, one()),
    Case("abs", rg.abs, torch.abs, one()),
    Case("abs[ties]", rg.abs, torch.abs, one(), "ties", differences=False),
    Case("sign", rg.sign, torch.sign, one()),
    Case("exp", rg.exp, torch.exp, one()),
    Case("log", rg.log, torch.log, one(), "positive"),
    Case("sqrt", rg.sqrt, torch.sqrt, one(), "positive"),
    Case("square", rg.square, torch.square, one()),
    Case("clamp", lambda x: rg.clamp(x, -1, 1), lambda x: torch.clamp(x, -1, 1), one(), "lattice"),
    Case("clamp[low]", lambda x: rg.clamp(x, min=0), lambda x: torch.clamp(x, min=0), one()),
    Case("clamp[ties]", lambda x: rg.clamp(x, -1, 1), lambda x: torch.clamp(x, -1, 1), one(), "ties", False),
    Case("to", lambda x: x.float().double(), lambda x: x.float().double(), one(), differences=False),
    Case("clone", rg.clone, torch.clone, one()),
    Case("in place", in_place, out_of_place, into_first(), "positive"),
    *[Case(n, getattr(rg, n), f, one()) for n, f in ACTIVATIONS.items() if hasattr(rg, n)],
    *[Case(f"{n}[ties]", getattr(rg, n), ACTIVATIONS[n], one(), "ties", False) for n in ("relu", "leaky_relu")],
    Case("gelu[tanh]", lambda x: rg.gelu(x, "tanh"), ACTIVATIONS["gelu_tanh"], one()),
    Case("softplus[beta]", lambda x: rg.softplus(x, 2.5, 30), lambda x: tf.softplus(x, 2.5, 30), one()),
    Case("softplus[cut]", lambda x: rg.softplus(x, 1, 0.5), lambda x: tf.softplus(x, 1, 0.5), one(), "lattice", False),
    Case("leaky_relu[steep]", lambda x: rg.leaky_relu(x, 2.0), lambda x: tf.leaky_relu(x, 2.0), one()),
    Case("sum", rg.sum, over(torch.sum), reduced()),
    Case("mean", rg.mean, over(torch.mean), reduced()),
    Case("var", rg.var, over(torch.var), with_option(reduced(), correction=st.sampled_from([0, 1]))),
    Case("std", rg.std, over(torch.std), with_option(reduced(min_side=2), correction=st.sampled_from([0, 1]))),
    Case("amax", rg.amax, over(torch.amax), reduced(min_side=1)),
    Case("amin", rg.amin, over(torch.amin), reduced(min_side=1)),
    Case("amax[ties]", rg.amax, over(torch.amax), reduced(min_side=1), "ties", differences=False),
    Case("amin[ties]", rg.amin, over(torch.amin), reduced(min_side=1), "ties", differences=False),
    Case("logsumexp", rg.logsumexp, over(torch.logsumexp), reduced()),
    Case("softmax", rg.softmax, torch_softmax, reduced(keepdim=False)),
    Case("log_softmax", rg.log_softmax, lambda x, dim: torch_softmax(x, dim).log(), reduced(keepdim=False)),
    Case("reshape", lambda x, shape: rg.reshape(x, shape), torch.reshape, reshaped()),
    Case("view", lambda x, shape: x.clone().view(shape), torch.reshape, reshaped()),
    Case("flatten", rg.flatten, torch.flatten, flattened()),
    Case("transpose", rg.transpose, torch.transpose, two_axes()),
    Case("permute", lambda x, dims: rg.permute(x, *dims), torch.permute, permuted()),
    Case("permute[T]", lambda x: x.T, lambda x: x.permute(tuple(range(x.ndim)[::-1])), one()),
    Case("t", rg.t, torch.t, one(max_dims=2)),
    Case("transpose[mT]", lambda x: x.mT, lambda x: x.mT, one(min_dims=2)),
    Case("squeeze", rg.squeeze, lambda x, dim: x.squeeze() if dim is None else x.squeeze(dim), squeezed()),
    Case("squeeze[all]", rg.squeeze, torch.squeeze, one()),
    Case("unsqueeze", rg.unsqueeze, torch.unsqueeze, unsqueezed()),
    Case(
        "broadcast_to",
        lambda a, b: rg.broadcast_to(b, a.shape) * a,
        lambda a, b: b.broadcast_to(a.shape) * a,
        into_first(),
    ),
    Case("expand", lambda a, b: b.expand(a.shape) * a, lambda a, b: b.expand(a.shape) * a, into_first()),
    Case("broadcast_tensors", product_of_broadcast, product_of_broadcast, pair),
    Case("concatenate", of_tuple("concatenate"), of_tuple("cat"), joined()),
    Case("cat", of_tuple("cat"), of_tuple("cat"), joined()),
    Case("stack", of_tuple("stack"), of_tuple("stack"), joined(stacked=True)),
    Case("split", pieces("split"), pieces("split"), divided()),
    Case("chunk", pieces("chunk"), pieces("chunk"), divided().filter(lambda d: isinstance(d[1]["sizes"], int))),
    *[
        Case(f"index[{k}]", lambda x, key: x[key], torch_take, indexed(k))
        for k in ("basic", "integers", "booleans", "mixed")
    ],
    *[Case(f"setitem[{k}]", put, torch_put, indexed(k, values=True)) for k in ("basic", "booleans")],
    Case("matmul", rg.matmul, torch.matmul, multiplied()),
    *[
        Case(
            f"linear[{n}]",
            lambda *xwb, n=n: rg.linear(*xwb, activation=n),
            lambda *xwb, f=f: f(tf.linear(*xwb)),
            dense(),
            "lattice",
        )
        for n, f in ACTIVATIONS.items()
    ],
    Case("linear[no bias]", rg.linear, tf.linear, dense(bias=False)),
    Case("mse_loss", loss.mse_loss, tf.mse_loss, with_option(equal(), reduction=reductions)),
    Case("l1_loss", loss.l1_loss, tf.l1_loss, with_option(equal(), reduction=reductions)),
    Case("l1_loss[ties]", loss.l1_loss, tf.l1_loss, with_option(equal(), reduction=reductions), "ties", False),
    Case("huber_loss", loss.huber_loss, tf.huber_loss, with_option(equal(), reduction=reductions), "lattice"),
    Case(
        "huber_loss[delta]",
        loss.huber_loss,
        tf.huber_loss,
        with_option(equal(), reduction=reductions, delta=st.sampled_from([0.5, 1.5])),
        "lattice",
    ),
    Case(
        "binary_cross_entropy_with_logits",
        loss.binary_cross_entropy_with_logits,
        tf.binary_cross_entropy_with_logits,
        with_option(equal(), reduction=reductions),
    ),
    Case(
        "binary_cross_entropy_with_logits[weighted]", bce, bce, with_option(equal(), reduction=reductions, seed=seeded)
    ),
    Case("cross_entropy[indices]", cross_entropy, cross_entropy, classified(probabilities=False)),
    Case("cross_entropy[probabilities]", cross_entropy, cross_entropy, classified(probabilities=True), "positive"),
    Case("dropout", lambda x: random.dropout(x, 0.4, generator=rg.Generator(7)), None, one()),
    Case("dropout[all]", lambda x: random.dropout(x, 1.0), lambda x: tf.dropout(x, 1.0), one()),
]


def every_case(wanted: Callable[[Case], Any] = lambda case: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [*filter(wanted, CASES)], ids=lambda case: case.name)


# Values and memory layouts


def values(shapes: list[tuple[int, ...]], domain: str, rng: np.random.Generator) -> list[np.ndarray]:
    sizes = [math.prod(s) for s in shapes]
    total = sum(sizes)
    if domain == "ties":
        return [np.asarray(rng.integers(-1, 2, s), float) for s in shapes]
    if domain == "lattice":  # no value, and no difference between two operands, is near a whole number or a half
        return [np.asarray(rng.integers(-2, 3, s) + 0.2 * (i + 1)) for i, s in enumerate(shapes)]
    # evenly spaced in (0, 1), a little disturbed: all different, none near the middle
    spaced = (rng.permutation(total) + 0.5 + rng.uniform(-0.2, 0.2, total)) / (total + total % 2)
    if domain == "real":
        spread = 4 * spaced - 2
    elif domain == "positive":
        spread = 0.5 + 1.5 * spaced
    else:
        spread = (0.5 + 1.5 * spaced) * rng.choice([-1.0, 1.0], total)
    return [part.reshape(s) for part, s in zip(np.split(spread, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory order."""
    if layout == "fortran":
        return np.array(array, order="F")
    if layout == "strided":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 0] = array
        return wide[..., 0]
    if layout == "reversed":
        back = (slice(None, None, -1),) * array.ndim
        return np.asarray(array[back].copy()[back])
    return array


def operands_of(
    case: Case, data: st.DataObject, dtype: str = "float64"
) -> tuple[list[np.ndarray], dict[str, Any], Any]:
    shapes, options = data.draw(case.drawn, label="shapes and options")
    rng = np.random.default_rng(data.draw(seeded, label="seed"))
    layouts = data.draw(
        st.lists(
            st.sampled_from(["plain", "fortran", "strided", "reversed"]), min_size=len(shapes), max_size=len(shapes)
        ),
        label="layouts",
    )
    arrays = [
        laid_out(a.astype(dtype), kind) for a, kind in zip(values(shapes, case.domain, rng), layouts, strict=True)
    ]
    return arrays, options, rng


def leaves_of(arrays: list[np.ndarray]) -> list[rg.Tensor]:
    return [rg.from_numpy(a).requires_grad_() for a in arrays]


def gradients(
    function: Callable[..., rg.Tensor], arrays: list[np.ndarray], cotangent: np.ndarray, create_graph: bool = False
) -> tuple[list[rg.Tensor], list[rg.Tensor]]:
    leaves = leaves_of(arrays)
    y = function(*leaves)
    y.backward(rg.from_numpy(cotangent), create_graph=create_graph)
    grads = [leaf.grad if leaf.grad is not None else rg.zeros_like(leaf) for leaf in leaves]
    for leaf, grad in zip(leaves, grads, strict=True):
        assert (grad.shape, grad.dtype) == (leaf.shape, leaf.dtype), "the gradient's shape or dtype is not the leaf's"
    return leaves, grads


def slope(function: Callable[[float], float], step: float = 1e-3) -> float:
    """The derivative at 0 by the five-point formula, whose error is step**4 / 30 of the fifth derivative."""
    f = function
    return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)


def dot(a: list[Any], b: list[Any]) -> float:
    return float(sum(np.vdot(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True)))


def assert_slopes_agree(found: float, products: list[np.ndarray], expected: float) -> None:
    """Relative to the terms of the sum that `found` is, which can cancel."""
    scale = sum(float(np.abs(p).sum()) for p in products)
    assert abs(found - expected) <= 1e-6 * (scale + 1e-3), f"backward gives {found}, finite differences {expected}"


# The tests


@every_case(lambda case: case.differences)
@given(data=st.data())
def test_gradient_is_the_slope(case: Case, backend: str, data: st.DataObject) -> None:
    arrays, options, rng = operands_of(case, data)
    function = lambda *operands: case.ours(*operands, **options)  # noqa: E731
    y = function(*leaves_of(arrays)).detach().numpy()
    if not np.isfinite(y).all() or not sum(a.size for a in arrays):
        return  # the mean of nothing
    cotangent = np.asarray(rng.standard_normal(y.shape))
    _, grads = gradients(function, arrays, cotangent)
    direction = [rng.uniform(-1, 1, a.shape) for a in arrays]

    def along(t: float) -> float:
        moved = [rg.from_numpy(np.asarray(a + t * d)) for a, d in zip(arrays, direction, strict=True)]
        return dot([cotangent], [function(*moved)])

    expected = slope(along)
    assert_slopes_agree(dot(grads, direction), [g.numpy() * d for g, d in zip(grads, direction, strict=True)], expected)


@every_case()
@given(data=st.data())
def test_gradient_can_be_differentiated(case: Case, backend: str, data: st.DataObject) -> None:
    """The rule in ops gives what the rule in kernels gives, and its own derivative is the slope of the gradient."""
    arrays, options, rng = operands_of(case, data)
    function = lambda *operands: rg.square(case.ours(*operands, **options))  # noqa: E731  # its cotangent varies too
    cotangent = np.asarray(rng.standard_normal(function(*leaves_of(arrays)).shape))
    leaves, recorded = gradients(function, arrays, cotangent, create_graph=True)
    _, plain = gradients(function, arrays, cotangent)
    for a, b in zip(recorded, plain, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.numpy(), rtol=1e-12, atol=1e-12)
    if not case.differences or not all(np.isfinite(p.numpy()).all() for p in plain):
        return
    probe = [rng.standard_normal(a.shape) for a in arrays]
    direction = [rng.uniform(-1, 1, a.shape) for a in arrays]
    total = sum((rg.sum(g * p) for g, p in zip(recorded, probe, strict=True)), rg.zeros((), dtype="float64"))
    for leaf in leaves:
        leaf.grad = None
    if total.requires_grad:
        total.backward()
    second = [np.zeros(a.shape) if t.grad is None else t.grad.numpy() for a, t in zip(arrays, leaves, strict=True)]

    def along(t: float) -> float:
        moved = [np.asarray(a + t * d) for a, d in zip(arrays, direction, strict=True)]
        return dot(gradients(function, moved, cotangent)[1], probe)

    expected = slope(along)
    assert_slopes_agree(dot(second, direction), [g * d for g, d in zip(second, direction, strict=True)], expected)


@every_case(lambda case: case.name != "to")  # which rounds to single precision on the way
@given(data=st.data())
def test_forward_mode_is_the_transpose_of_reverse_mode(case: Case, data: st.DataObject) -> None:
    """cotangent . (J tangent) = (cotangent J) . tangent; and the second derivative is one by whichever modes."""
    arrays, options, rng = operands_of(case, data)
    primals = tuple(map(rg.from_numpy, arrays))
    tangents = tuple(rg.from_numpy(np.asarray(rng.uniform(-1, 1, a.shape))) for a in arrays)
    function = lambda *operands: rg.square(case.ours(*operands, **options))  # noqa: E731  # its second derivative is not 0
    with rg.backends.use("numpy"):
        y, t = rg.jvp(function, primals, tangents)
        cotangent = rg.from_numpy(np.asarray(rng.standard_normal(y.shape)))
        _, pull = rg.vjp(function, *primals)
        pulled = pull(cotangent)
        if not all(np.isfinite(a.numpy()).all() for a in (y, t, *pulled)):
            return  # the mean of nothing
        products = [g.numpy() * d.numpy() for g, d in zip(pulled, tangents, strict=True)]
        assert_rounded("the derivative", dot([cotangent], [t]), products)

        gradient = rg.grad(lambda *xs: (function(*xs) * cotangent).sum(), range(len(arrays)))
        along = lambda *xs: (rg.jvp(function, xs, tangents)[1] * cotangent).sum()  # noqa: E731
        reverse_over_reverse = rg.vjp(gradient, *primals)[1](tangents)
        forward_over_reverse = rg.jvp(gradient, primals, tangents)[1]
        reverse_over_forward = rg.grad(along, range(len(arrays)))(*primals)
        forward_over_forward = rg.jvp(along, primals, tangents)[1]
    for found in (forward_over_reverse, reverse_over_forward):
        for a, b in zip(found, reverse_over_reverse, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)
    products = [a.numpy() * d.numpy() for a, d in zip(reverse_over_reverse, tangents, strict=True)]
    assert_rounded("the second derivative", forward_over_forward.item(), products)


def assert_rounded(what: str, forward: float, products: list[np.ndarray]) -> None:
    reverse = float(sum(p.sum() for p in products))
    scale = float(sum(np.abs(p).sum() for p in products))
    assert abs(forward - reverse) <= 1e-9 * (scale + 1), f"{what} is {forward} in forward mode, {reverse} in reverse"


@every_case(lambda case: case.theirs)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@given(data=st.data())
def test_agrees_with_pytorch(case: Case, backend: str, dtype: str, tolerance: float, data: st.DataObject) -> None:
    assert case.theirs
    arrays, options, rng = operands_of(case, data, dtype)
    ours = leaves_of(arrays)
    theirs = [torch.from_numpy(np.array(a)).requires_grad_() for a in arrays]
    y, expected = case.ours(*ours, **options), case.theirs(*theirs, **options)
    cotangent = np.asarray(rng.standard_normal(y.shape).astype(y.dtype))
    assert_close("values", y.detach(), expected.detach(), tolerance)
    y.backward(rg.from_numpy(cotangent))
    expected.backward(torch.from_numpy(cotangent))
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert (a.grad is None) == (b.grad is None), f"operand {i} has a gradient in one library only"
        if a.grad is not None:
            assert_close(f"gradient of operand {i}", a.grad, b.grad, tolerance)


def assert_close(what: str, found: Any, expected: Any, tolerance: float) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=1.0))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, PyTorch's is {expected.shape}"
    assert found.dtype == expected.dtype, f"{what}: dtype {found.dtype}, PyTorch's is {expected.dtype}"


def over_axes(name: str) -> Callable[..., Any]:
    return lambda x, dim, keepdim: getattr(np, name)(x, axis=dim, keepdims=keepdim)


DISCRETE: dict[str, tuple[Callable[..., Any], st.SearchStrategy[Drawn]]] = {
    **{n: (getattr(np, n), pair) for n in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
    **{n: (getattr(np, n), pair) for n in ("logical_and", "logical_or")},
    "logical_not": (np.logical_not, one()),
    **{n: (over_axes(n), reduced()) for n in ("all", "any")},
    **{
        n: (
            over_axes(n),
            reduced(min_side=1, several_axes=False),
        )
        for n in ("argmax", "argmin")
    },
}
"""Ops whose results carry no gradient, each with NumPy's own."""


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@given(data=st.data())
def test_discrete_ops_agree_with_numpy(name: str, dtype: str, backend: str, data: st.DataObject) -> None:
    theirs, drawn = DISCRETE[name]
    shapes, options = data.draw(drawn)
    rng = np.random.default_rng(data.draw(seeded))
    arrays = [a.astype(dtype) for a in values(shapes, "ties", rng)]
    if name.startswith("arg") and arrays[0].ndim == 0:
        options["dim"] = None
    found = getattr(rg, name)(*map(rg.tensor, arrays), **options)
    np.testing.assert_array_equal(found.numpy(), theirs(*arrays, **options), strict=True)
    assert not found.requires_grad


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "matmul": operator.matmul,
    "negative": operator.neg,
    "abs": operator.abs,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_not": operator.invert,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_agree_with_functions(name: str) -> None:
    function, symbol = getattr(rg, name), OPERATORS[name]
    rng = np.random.default_rng(0)
    arrays = values([(3, 3), (3, 3)][: len(inspect.signature(function).parameters)], "positive", rng)
    expected = function(*map(rg.tensor, arrays)).numpy()
    np.testing.assert_array_equal(symbol(*map(rg.tensor, arrays)).numpy(), expected)
    if len(arrays) == 2:  # an array or a number on either side
        a, b = arrays
        np.testing.assert_array_equal(symbol(a, rg.tensor(b)).numpy(), expected, err_msg="array on the left")
        np.testing.assert_array_equal(symbol(rg.tensor(a), b).numpy(), expected, err_msg="array on the right")
        if name != "matmul":
            number = function(rg.tensor(2.0, dtype="float64"), rg.tensor(b)).numpy()
            np.testing.assert_array_equal(symbol(2.0, rg.tensor(b)).numpy(), number, err_msg="number on the left")


@pytest.mark.parametrize("case", [c for c in CASES if c.ours is getattr(rg, c.name, None)], ids=lambda case: case.name)
@given(data=st.data())
def test_methods_agree_with_functions(case: Case, data: st.DataObject) -> None:
    arrays, options, _ = operands_of(case, data)
    if not hasattr(rg.Tensor, case.name):
        assert case.name == "linear"
        return
    first, *rest = map(rg.from_numpy, arrays)
    found = getattr(first, case.name)(*rest, **options)
    np.testing.assert_array_equal(found.numpy(), case.ours(first, *rest, **options).numpy(), strict=True)


def test_every_public_op_is_in_the_tables() -> None:
    covered = {case.name.partition("[")[0] for case in CASES} | DISCRETE.keys()
    modules = (activation, elementwise, loss, product, reduction, shape)
    public = {n for n in rg.__all__ if getattr(getattr(rg, n), "__module__", "") in {m.__name__ for m in modules}}
    known = {getattr(rg, name, None) for name in covered}  # under another name too
    assert not {n for n in public - covered if getattr(rg, n) not in known}, "ops without a line in this file's tables"


def test_every_rule_is_recorded_by_a_case() -> None:
    """Each instance of Op with a vjp is on the tape of some case, of the case itself or of its gradient."""
    seen: set[Any] = set()

    def walk(tensor: rg.Tensor) -> None:
        stack = [tensor.grad_fn]
        visited: set[Any] = set()
        while stack:
            node = stack.pop()
            if node is None or node in visited:
                continue
            visited.add(node)
            seen.add(node.op)
            stack += [where[0] for where in node.inputs if isinstance(where, tuple)]

    @settings(max_examples=5)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        for case in CASES:
            arrays, options, _ = operands_of(case, data)
            leaves = leaves_of(arrays)
            y = rg.square(case.ours(*leaves, **options))
            walk(y)
            y.backward(rg.ones_like(y), create_graph=True)
            for leaf in leaves:
                if leaf.grad is not None:
                    walk(leaf.grad)

    run()
    rules: set[Any] = set()
    for module in (activation, elementwise, index, loss, product, random, reduction, shape):
        for value in vars(module).values():
            rules.update(v for v in (value.values() if isinstance(value, dict) else [value]) if isinstance(v, rule.Op))
    unseen = {r.name for r in rules if r.differentiable} - {r.name for r in seen}
    assert not unseen, "rules that no case in this file records"


def test_worked_example(backend: str) -> None:
    """L = (a w + b - y)² at a=2, w=3, b=4, y=11."""
    a, w, b, y = (rg.tensor(v, requires_grad=True) for v in (2.0, 3.0, 4.0, 11.0))
    squared = (a * w + b - y) ** 2
    squared.backward()
    assert squared.item() == 1
    assert [t.grad.item() for t in (a, w, b, y)] == [-6, -4, -2, 2]


def test_relu_that_is_off_passes_no_gradient(backend: str) -> None:
    x, w, b = (rg.tensor(v, requires_grad=True) for v in (2.0, 3.0, -7.0))
    y = rg.relu(w * x + b)
    y.backward()
    assert [y.item(), x.grad.item(), w.grad.item(), b.grad.item()] == [0, 0, 0, 0]
    layer = rg.linear(x.detach().reshape(1, 1), w.detach().reshape(1, 1), b.detach().reshape(1), activation="relu")
    assert layer.item() == 0
