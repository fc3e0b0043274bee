"""Every op that PyTorch has too, on PyTorch's own sample inputs: values, first, second and forward derivatives.

The samples are those of `torch.testing._internal.common_methods_invocations.op_db`, which ships in PyTorch's wheel.
OPS says which op of ours stands for which of theirs, and which samples it leaves out and why. The tests take some
samples of each op; run as a script, this file takes all of them and prints docs/operations.md.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings

import retrograd as rg

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's sample inputs need the package expecttest")
from torch.autograd import forward_ad  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

import retrograd.nn.functional as F  # noqa: E402

if __name__ != "__main__":
    settings.load_profile("retrograd")  # PyTorch's module has loaded one of its own

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's own

Why = str | None


class Entry(NamedTuple):
    """An op of ours under PyTorch's name.

    Attributes:
        ours: what is called with a sample's input, arguments and keyword arguments, its tensors being ours.
        omit: the reason to leave a sample out, or None; called with the sample's, in PyTorch's tensors.
        around: what makes of ours and of theirs the function that is compared.
        order: up to which order derivatives are compared: 1 where PyTorch's second one is not a number.
    """

    ours: Callable[..., Any]
    omit: Callable[..., Why] = lambda *args, **kwargs: None
    around: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function
    order: int = 2


def without(*keywords: str) -> Callable[..., Why]:
    """Leave out the samples that pass one of these keywords."""

    def omit(*args: Any, **kwargs: Any) -> Why:
        return next((f"`{name}=` is not an argument here" for name in keywords if kwargs.get(name) is not None), None)

    return omit


def axes_of_none(x: Any, *args: Any, **kwargs: Any) -> Why:
    return "an axis of a tensor without axes" if x.ndim == 0 and (args or kwargs) else None


def legacy_empty(tensors: Any, *args: Any, **kwargs: Any) -> Why:
    return "an empty tensor that fits any shape" if any(t.shape == (0,) for t in tensors) else None


# Trees of sequences: what samples and results are


def tensors_in(value: Any) -> Iterator[Any]:
    """The tensors of either library in a tree."""
    if isinstance(value, (torch.Tensor, rg.Tensor)):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with each of PyTorch's tensors changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(replaced(part, change) for part in value) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {name: replaced(part, change) for name, part in value.items()}
    return value


class Sample:
    """A sample input: how it is called in either library, and the tensors that it can be differentiated by."""

    def __init__(self, op: Any, entry: Entry, sample: Any) -> None:
        self.op, self.entry = op, entry
        self.call = [[sample.input, *sample.args], dict(sample.kwargs)]
        self.process = sample.output_process_fn_grad
        unique = {id(t): t for t in tensors_in(self.call)}
        self.leaves = [t for t in unique.values() if t.requires_grad]
        self.places = {id(t): i for i, t in enumerate(self.leaves)}

    def omitted(self) -> Why:
        args, kwargs = self.call
        return self.entry.omit(*args, **kwargs)

    def theirs(self, leaves: list[Any]) -> list[Any]:
        args, kwargs = replaced(self.call, lambda t: leaves[self.places[id(t)]] if id(t) in self.places else t)
        return list(tensors_in(self.process(self.entry.around(self.op.op)(*args, **kwargs))))

    def ours(self, leaves: list[rg.Tensor]) -> list[rg.Tensor]:
        def change(t: Any) -> Any:
            return leaves[self.places[id(t)]] if id(t) in self.places else rg.from_numpy(t.detach().numpy())

        args, kwargs = replaced(self.call, change)
        return list(tensors_in(self.process(self.entry.around(self.entry.ours)(*args, **kwargs))))


def array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy(force=True) if isinstance(tensor, torch.Tensor) else tensor.detach().numpy()


# The comparisons


class Difference(AssertionError):
    """Where the libraries differ, and by what."""


TOLERANCE = {"float64": 1e-11, "float32": 2e-4}
"""Relative to the largest number of an array. PyTorch's and ours sum in different orders, and a sample may be
ill-conditioned."""


def compare(what: str, found: list[Any], expected: list[Any]) -> None:
    if len(found) != len(expected):
        raise Difference(f"{what}: {len(found)} arrays, PyTorch has {len(expected)}")
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise Difference(f"{what} {i}: {a.dtype} of shape {a.shape}, PyTorch's is {b.dtype} of shape {b.shape}")
        if b.dtype.kind != "f":
            if not np.array_equal(a, b):
                raise Difference(f"{what} {i}: {a}, PyTorch's is {b}")
            continue
        tolerance = TOLERANCE[b.dtype.name]
        scale = float(np.abs(b[np.isfinite(b)]).max(initial=1.0))
        wrong = np.argwhere(~np.isclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True))
        if len(wrong):
            place = tuple(wrong[0])
            raise Difference(
                f"{what} {i} at {place}: {a[place]}, PyTorch's is {b[place]}; {len(wrong)} of {a.size} differ"
            )


def total(outputs: list[Any], cotangents: list[np.ndarray]) -> Any:
    """The sum of outputs times cotangents, in either library; None where no output has a gradient."""
    terms = [
        (o * (torch.from_numpy(c) if isinstance(o, torch.Tensor) else rg.from_numpy(c))).sum()
        for o, c in zip(outputs, cotangents, strict=True)
        if o.requires_grad
    ]
    return sum(terms[1:], terms[0]) if terms else None


def their_gradients(y: Any, leaves: list[Any], create_graph: bool = False) -> list[Any]:
    zeros = [torch.zeros_like(t) for t in leaves]
    if y is None:
        return zeros
    found = torch.autograd.grad(y, leaves, create_graph=create_graph, allow_unused=True)
    return [z if g is None else g for g, z in zip(found, zeros, strict=True)]


def our_gradients(y: Any, leaves: list[rg.Tensor], create_graph: bool = False) -> list[rg.Tensor]:
    for leaf in leaves:
        leaf.grad = None
    if y is not None:
        y.backward(create_graph=create_graph)
    return [rg.zeros_like(t) if t.grad is None else t.grad for t in leaves]


def check(sample: Sample) -> None:
    """Raise Difference where ours is not theirs: values, gradient, gradient of the gradient, forward derivative."""
    rng = np.random.default_rng(0)

    def noise(tensors: list[Any]) -> list[np.ndarray]:
        return [np.asarray(rng.standard_normal(tuple(t.shape))).astype(array(t).dtype) for t in tensors]

    theirs = sample.leaves
    ours = [rg.from_numpy(array(t)).requires_grad_() for t in theirs]
    expected, found = sample.theirs(theirs), sample.ours(ours)
    compare("value", [array(t) for t in found], [array(t) for t in expected])
    if not sample.op.supports_autograd or not theirs:
        return
    smooth = [i for i, t in enumerate(expected) if t.requires_grad]
    expected, found = [expected[i] for i in smooth], [found[i] for i in smooth]
    cotangents = noise(expected)
    twice = sample.op.supports_gradgrad and sample.entry.order > 1
    expected_gradients = their_gradients(total(expected, cotangents), theirs, create_graph=twice)
    gradients = our_gradients(total(found, cotangents), ours, create_graph=True)
    compare("gradient", [array(t) for t in gradients], [array(t) for t in expected_gradients])
    if twice:
        cotangents = noise(theirs)
        expected_second = their_gradients(total(expected_gradients, cotangents), theirs)
        second = our_gradients(total(gradients, cotangents), ours)
        compare("second derivative", [array(t) for t in second], [array(t) for t in expected_second])
    if sample.op.supports_forward_ad and hasattr(rg, "jvp"):
        tangents = noise(theirs)
        with forward_ad.dual_level():
            pairs = zip(theirs, tangents, strict=True)
            duals = sample.theirs([forward_ad.make_dual(t.detach(), torch.from_numpy(v)) for t, v in pairs])
            forward = [forward_ad.unpack_dual(duals[i]) for i in smooth]
            expected = [torch.zeros_like(p) if t is None else t for p, t in forward]
        primals = tuple(rg.from_numpy(array(t)) for t in theirs)
        directions = tuple(map(rg.from_numpy, tangents))
        _, moved = rg.jvp(lambda *leaves: tuple(sample.ours(list(leaves))), primals, directions)
        compare("forward derivative", [array(moved[i]) for i in smooth], [array(t) for t in expected])


# The ops


def symmetric(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of symmetric matrices as one of any: how a derivative by a part that is not read is given differs."""
    return lambda x, *args, **kwargs: function((x + x.mT) * 0.5, *args, **kwargs)


def first(function: Callable[..., Any]) -> Callable[..., Any]:
    """The first of a function's results."""
    return lambda *args, **kwargs: function(*args, **kwargs)[0]


def corrected(op: Callable[..., Any]) -> Callable[..., Any]:
    """A variance as PyTorch calls it, with `unbiased` by itself or after the axes."""

    def call(x: Any, dim: Any = None, unbiased: Any = True, correction: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        return op(x, dim, correction, keepdim) if correction is not None else op(x, dim, 1, keepdim, unbiased)

    return call


def same(*names: str) -> dict[str, Entry]:
    """Ops of the same name and arguments in both libraries."""
    return {name: Entry(getattr(rg, name)) for name in names}


OPS: dict[str, Entry] = {
    # arithmetic
    **same("abs", "exp", "log", "maximum", "minimum", "sigmoid", "sign", "sqrt", "square", "tanh"),
    **same("add", "sub", "mul", "addcmul", "addcdiv", "isclose", "nan_to_num"),
    "div.no_rounding_mode": Entry(lambda a, b, rounding_mode=None: rg.divide(a, b)),
    "div.floor_rounding": Entry(lambda a, b, rounding_mode: rg.floor_divide(a, b)),
    "div.trunc_rounding": Entry(lambda a, b, rounding_mode: rg.trunc(a / b)),
    **same("true_divide", "pow", "neg", "eq", "ne", "lt", "le", "gt", "ge"),
    "allclose": Entry(rg.allclose),
    **{f"{n}.binary": Entry(getattr(rg, n)) for n in ("max", "min")},
    "where": Entry(lambda a, condition, b: rg.where(condition, a, b)),
    "clamp": Entry(rg.clamp),
    "clone": Entry(rg.clone, without("memory_format")),
    **same("logical_and", "logical_or", "logical_not"),
    "__radd__": Entry(lambda a, b: b + a),
    "__rsub__": Entry(lambda a, b: b - a),
    "__rmul__": Entry(lambda a, b: b * a),
    "__rdiv__": Entry(lambda a, b: b / a),
    "__rpow__": Entry(lambda a, b: b**a),
    "__rmod__": Entry(lambda a, b: b % a),
    # elementary functions
    **same("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "atan2", "hypot"),
    **same("exp2", "expm1", "log2", "log10", "log1p", "logaddexp", "xlogy", "logit", "rsqrt", "reciprocal", "lerp"),
    **same("floor", "ceil", "trunc", "frac", "remainder", "fmod", "floor_divide", "copysign", "float_power"),
    **same("deg2rad", "rad2deg", "isnan", "isinf", "isfinite"),
    "round": Entry(rg.round),
    **{f"round.decimals_{n}": Entry(rg.round) for n in ("0", "3", "neg_3")},
    # special functions
    **same("erf", "erfc", "lgamma", "digamma", "sinc"),
    **{f"polygamma.polygamma_n_{n}": Entry(lambda x, n: rg.polygamma(n, x)) for n in range(5)},
    "special.polygamma.special_polygamma_n_0": Entry(lambda x, n: rg.polygamma(n, x)),
    # reductions
    "sum": Entry(rg.sum, without("dtype")),
    "mean": Entry(rg.mean, without("dtype")),
    **same("amax", "amin"),
    "var": Entry(corrected(rg.var)),
    "var.unbiased": Entry(corrected(rg.var)),
    "std": Entry(corrected(rg.std)),
    "std.unbiased": Entry(corrected(rg.std)),
    **{f"{n}.reduction_{d}": Entry(getattr(rg, n)) for n in ("max", "min") for d in ("no_dim", "with_dim")},
    **same("argmax", "argmin", "all", "any", "softmax", "log_softmax"),
    "logsumexp": Entry(rg.logsumexp, axes_of_none),
    # shapes
    **same("reshape", "flatten", "permute", "squeeze", "unsqueeze", "broadcast_to", "expand", "broadcast_tensors"),
    **same("stack", "split", "chunk"),
    "view": Entry(lambda x, *shape: x.view(*shape)),
    "transpose": Entry(rg.transpose, axes_of_none),
    "T": Entry(lambda x: x.T),
    "t": Entry(rg.t),
    **{n: Entry(lambda x, other, n=n: getattr(x, n)(other)) for n in ("view_as", "expand_as")},
    "contiguous": Entry(lambda x: x.contiguous()),
    "squeeze.multiple": Entry(rg.squeeze, axes_of_none),
    "cat": Entry(rg.cat, legacy_empty),
    "__getitem__": Entry(lambda x, key: x[key]),
    **same("ravel", "unbind", "narrow", "flip", "fliplr", "flipud", "roll", "rot90", "repeat", "tile"),
    **same("tril", "triu", "diag", "diagonal", "diag_embed", "trace", "unfold", "atleast_1d", "atleast_2d"),
    **same("atleast_3d", "hstack", "vstack", "dstack", "column_stack"),
    "repeat_interleave": Entry(rg.repeat_interleave, without("output_size")),
    "movedim": Entry(rg.moveaxis),
    "meshgrid.variadic_tensors": Entry(rg.meshgrid),
    "meshgrid.list_of_tensors": Entry(rg.meshgrid),
    **{f"nn.functional.pad.{m}": Entry(rg.pad) for m in ("constant", "reflect", "replicate")},
    "nn.functional.pad.circular": Entry(
        rg.pad, lambda x, pad, *_: "a circle that PyTorch shortens first" if min(pad) < 0 else None
    ),
    "nn.functional.pad.replicate_negative": Entry(rg.pad),
    # along an axis
    **{n: Entry(getattr(rg, n), without("dtype")) for n in ("cumsum", "cumprod", "prod")},
    "logcumsumexp": Entry(rg.logcumsumexp, lambda x, dim: "PyTorch's derivative loses digits" if x.ndim > 1 else None),
    **same("diff", "kthvalue", "median"),
    "quantile": Entry(
        rg.quantile, lambda x, q, **_: "a derivative by q" if isinstance(q, torch.Tensor) and q.requires_grad else None
    ),
    "sort": Entry(lambda x, dim=-1, descending=False, stable=True: rg.sort(x, dim, descending)),
    "argsort": Entry(lambda x, dim=-1, descending=False, stable=True: rg.argsort(x, dim, descending)),
    "topk": Entry(lambda x, k, dim=-1, largest=True, sorted=True: rg.topk(x, k, dim, largest)),
    # by index and mask
    "gather": Entry(rg.gather, lambda x, dim, index: None if index.ndim == x.ndim else "an index of other axes"),
    **same("scatter_add", "index_select", "take", "index_add", "masked_fill", "masked_select"),
    **same("index_copy", "index_fill", "nonzero", "unique"),
    "scatter": Entry(rg.scatter, without("reduce")),
    "take_along_dim": Entry(lambda x, indices, dim=None: rg.take_along_axis(x, indices, dim)),
    # products
    **same("matmul", "mm", "bmm", "mv"),
    "__rmatmul__": Entry(lambda a, b: b @ a),
    **same("inner", "outer", "dot", "vdot", "kron"),
    "einsum": Entry(lambda tensors, subscripts: rg.einsum(subscripts, *tensors)),
    "tensordot": Entry(
        rg.tensordot, lambda a, b, dims: "an axis of 1 beside one of 2" if a.shape == (1, 1, 1) else None
    ),
    "cross": Entry(lambda a, b, dim=-1: rg.cross(a, b, dim)),
    "linalg.cross": Entry(rg.cross),
    "linalg.vecdot": Entry(rg.vecdot),
    "linalg.multi_dot": Entry(rg.linalg.multi_dot),
    # norms
    "linalg.vector_norm": Entry(rg.linalg.vector_norm, without("dtype")),
    "linalg.matrix_norm": Entry(rg.linalg.matrix_norm, without("dtype")),
    "linalg.norm": Entry(rg.linalg.norm, without("dtype")),
    "linalg.norm.subgradients_at_zero": Entry(rg.linalg.norm, without("dtype"), order=1),
    # linear algebra
    **{f"linalg.{n}": Entry(getattr(rg.linalg, n)) for n in ("inv", "solve", "solve_triangular", "det", "slogdet")},
    **{f"linalg.{n}": Entry(getattr(rg.linalg, n)) for n in ("matrix_power", "svdvals", "diagonal")},
    "logdet": Entry(rg.linalg.logdet),
    "linalg.cholesky": Entry(rg.linalg.cholesky, around=symmetric),
    "linalg.qr": Entry(rg.linalg.qr),
    "linalg.eigh": Entry(rg.linalg.eigh, around=symmetric),
    "linalg.eigvalsh": Entry(rg.linalg.eigvalsh, around=symmetric),
    "linalg.svd": Entry(rg.linalg.svd),
    "linalg.pinv": Entry(rg.linalg.pinv),
    "pinverse": Entry(rg.linalg.pinv),
    "linalg.lstsq.grad_oriented": Entry(lambda a, b, driver: [rg.linalg.lstsq(a, b)], around=first),
    # layers and losses
    **{
        f"nn.functional.{n}": Entry(getattr(F, n)) for n in ("relu", "leaky_relu", "gelu", "silu", "softplus", "linear")
    },
    **{f"nn.functional.{n}": Entry(getattr(F, n)) for n in ("mse_loss", "l1_loss", "huber_loss", "cross_entropy")},
    **{f"nn.functional.{n}": Entry(getattr(F, n)) for n in ("smooth_l1_loss", "nll_loss")},
    "nn.functional.binary_cross_entropy": Entry(F.binary_cross_entropy, order=1),
    **{f"nn.functional.{n}": Entry(getattr(F, n)) for n in ("elu", "logsigmoid", "layer_norm", "normalize")},
    **{f"nn.functional.{n}": Entry(getattr(F, n)) for n in ("rms_norm", "group_norm")},
    "nn.functional.embedding": Entry(
        lambda table, at, padding_idx=None, **options: F.embedding(at, table, padding_idx),
        without("max_norm", "scale_grad_by_freq"),
    ),
    "nn.functional.binary_cross_entropy_with_logits": Entry(F.binary_cross_entropy_with_logits),
}


# The tests


def name_of(op: Any) -> str:
    return op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")


THEIRS = {name_of(op): op for op in op_db}
DTYPES = ("float64", "float32")


def samples(name: str, dtype: str) -> list[Sample]:
    """PyTorch's samples of an op, the same ones at each call."""
    op = THEIRS[name]
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - which PyTorch draws from
    random.seed(0)
    made = op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=op.supports_autograd)
    return [Sample(op, OPS[name], s) for s in made]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPS)
def test_agrees_with_pytorch_on_its_samples(name: str, dtype: str) -> None:
    most = 10 if dtype == "float64" else 3
    found = [s for s in samples(name, dtype) if s.omitted() is None]
    assert found, "every sample is left out"
    for sample in found[:: -(-len(found) // most)]:
        try:
            check(sample)
        except Exception as error:
            raise AssertionError(f"{name}{sample.call}: {error}") from error


def test_every_public_op_is_in_the_table() -> None:
    """But for those that PyTorch has no samples of, or under another name; those have their tests elsewhere."""
    families = ("arrange", "contraction", "elementary", "gather", "linalg", "scan", "sorting", "special")
    modules = {f"retrograd.ops.{m}" for m in families}
    functions = {n: f for n in rg.__all__ if getattr(f := getattr(rg, n), "__module__", "") in modules}
    covered = {entry.ours for entry in OPS.values()}
    called = {word for name in OPS for word in name.split(".")}
    elsewhere = {"cbrt", "expand_dims", "norm", "rint", "swapaxes", "take_along_axis", "vecdot"}
    missing = {n for n, f in functions.items() if f not in covered and {n, f.__name__}.isdisjoint(called)} - elsewhere
    assert not missing


# The table


HEADER = """\
# Operations

Each op that PyTorch has under the same meaning, on PyTorch's own sample inputs (`op_db` of
`torch.testing._internal.common_methods_invocations`, PyTorch {version}), in float64 and float32: the values, the
gradient by each operand, the gradient of the gradient, and the derivative in forward mode. A sample agrees where all
of them do, within {double:g} (float64) or {single:g} (float32) of the largest number of an array, and shapes and dtypes
are the same. Where PyTorch has no forward mode or no second derivative of an op, the others are compared.

**{ops} ops, {total} samples: {agree} agree ({share:.1%}), {differ} differ, {left} are left out.** Complex numbers and
whole numbers have no samples here. `python tests/test_op_db.py > docs/operations.md` makes this page.

| PyTorch's op | samples | agree | differ | left out | why |
|---|---:|---:|---:|---:|---|
"""


def table() -> str:
    """All samples of all ops, as a page of Markdown."""
    rows, sums = [], Counter[str]()
    for name in sorted(OPS, key=str.lower):
        count: Counter[str] = Counter()
        reasons = set()
        for sample in (s for dtype in DTYPES for s in samples(name, dtype)):
            count["total"] += 1
            if why := sample.omitted():
                reasons.add(why)
                count["left"] += 1
                continue
            try:
                check(sample)
                count["agree"] += 1
            except Difference as difference:
                reasons.add(str(difference).replace("|", "\\|"))
                count["differ"] += 1
        numbers = " | ".join(str(count[key]) for key in ("total", "agree", "differ", "left"))
        rows.append(f"| {name} | {numbers} | {'; '.join(sorted(reasons))} |")
        sums += count
    facts = {"ops": len(OPS), "share": sums["agree"] / sums["total"], "version": torch.__version__.partition("+")[0]}
    facts |= {"double": TOLERANCE["float64"], "single": TOLERANCE["float32"]}
    return HEADER.format(**{"differ": 0, "left": 0} | dict(sums) | facts) + "\n".join(rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(table())
