"""Small models as torch's two exporters write them, each with the fully-connected weights that its file holds.

The weights come from the modules themselves, never from the file: they are what a reader of the file must find. Every
entry of FORMS writes one file into an empty folder; names end in the exporter, TorchScript's (`script`) or `dynamo`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from tests.support.exported_modules import (
    SEQUENCE,
    Attention,
    Choice,
    Language,
    LeNet,
    Loop,
    LowRank,
    MultiHead,
    Pair,
    Perceptron,
    Pointwise,
    Products,
    Recurrence,
    Scripted,
    TiedEmbedding,
    Traced,
)

Matrix = NDArray[Any]
BATCH = 2


@dataclass(frozen=True)
class Expected:
    """What is in the file at `path`."""

    path: Path
    weights: dict[str, Matrix]
    """(out, in) of each layer by its name, in the order of the file's nodes."""
    operators: tuple[str, ...]
    """The operator of each layer; one for all of them where they agree."""
    dtype: str = "float32"
    """The type in which the file stores the weights; empty where it is no type of ONNX."""
    exact: bool = True
    """Whether the weights are known to the last bit, which they are not where somebody computes them."""
    named: bool = True
    """Whether the names are those of `weights`; otherwise only how many there are is known."""
    tied: dict[int, int] = field(default_factory=dict)
    """Layers, by position, that use the same stored tensor as an earlier one."""
    roles: dict[str, str] = field(default_factory=dict)
    """Layers that are not plainly `fc`."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Nodes that must be named as no layer: (end of the node's name, operator)."""
    pointwise: bool = False
    """Whether 1x1 convolutions are asked for."""
    runtime: str = "onnxruntime"
    """Who runs the file: `onnxruntime`, or `onnx.reference` where it has no kernel."""
    originals: dict[str, Matrix] = field(default_factory=dict)
    """Of quantised layers: the weights before."""
    rounding: dict[str, Matrix] = field(default_factory=dict)
    """Of quantised layers: the most by which a weight was changed, half a step; it broadcasts to (out, in)."""


Builder = Callable[[Path], Expected]
FORMS: dict[str, Builder] = {}


def run(expected: Expected, **inputs: Matrix) -> list[Matrix]:
    """The file's outputs for these inputs, and for numbers of our own where one is not given."""
    model = onnx.load(expected.path)
    constants = {tensor.name for tensor in model.graph.initializer}
    given = {value.name: value for value in model.graph.input if value.name not in constants}
    feeds = {name: inputs[name] if name in inputs else _some(value) for name, value in given.items()}
    if expected.runtime == "onnxruntime":
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Optimised, DequantizeLinear before MatMul becomes a product that rounds its input to eight bits.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(expected.path), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, feeds))
    return list(ReferenceEvaluator(str(expected.path)).run(None, feeds))


def _some(value: onnx.ValueInfoProto) -> Matrix:
    """Normal numbers; for integers ones, which are a valid word as well as a number of rounds."""
    shape = [dim.dim_value or BATCH for dim in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if dtype.kind in "iu":
        return np.ones(shape, dtype)
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def matrix(weight: torch.Tensor) -> Matrix:
    """A module's weight as an (out, in) matrix; half precision as float32, which holds it exactly."""
    weight = weight.detach()
    exact = weight if weight.dtype == torch.float64 else weight.float()
    return np.asarray(exact.reshape(exact.shape[0], -1).numpy())


def export(module: nn.Module, args: Any, path: Path, *, dynamo: bool, **options: Any) -> None:
    """Write the module, in evaluation mode, as either exporter does; both say much on the way."""
    args = args if isinstance(args, tuple) else (args,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), args, path, dynamo=dynamo, verbose=False, **options)


def scripted(module: nn.Module) -> nn.Module:
    """Compiled, so that its `if` and `for` stay in the graph; deprecated, but what many files were made with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled: nn.Module = torch.jit.script(module.eval())
    return compiled


def unfolded(dynamo: bool) -> dict[str, Any]:
    """The option that keeps an exporter from computing what is constant."""
    return {"optimize": False} if dynamo else {"do_constant_folding": False}


def rows() -> torch.Tensor:
    """Input of rank 2."""
    return torch.randn(SEQUENCE, 12)


def sequences(width: int = 12) -> torch.Tensor:
    """Input of rank 3."""
    return torch.randn(BATCH, SEQUENCE, width)


def inputs(rank: int) -> torch.Tensor:
    return rows() if rank == 2 else sequences()


def layers(module: nn.Module, *names: str) -> dict[str, Matrix]:
    """The weights of these submodules."""
    return {name: matrix(module.get_submodule(name).get_parameter("weight")) for name in names}


PERCEPTRON = ("body.0", "body.2", "head")


def perceptron(folder: Path, dynamo: bool, **options: Any) -> Expected:
    module = Perceptron()
    export(module, rows(), folder / "model.onnx", dynamo=dynamo, **options)
    # TorchScript's exporter writes a Linear without bias as a MatMul
    operators = ("Gemm", "Gemm" if dynamo else "MatMul", "Gemm")
    return Expected(folder / "model.onnx", layers(module, *PERCEPTRON), operators)


def of_rank_3(folder: Path, dynamo: bool, dtype: torch.dtype = torch.float32, **options: Any) -> Expected:
    module = Perceptron().to(dtype)
    export(module, sequences().to(dtype), folder / "model.onnx", dynamo=dynamo, **options)
    runtime = "onnx.reference" if dtype == torch.bfloat16 else "onnxruntime"
    name = str(dtype).removeprefix("torch.")
    return Expected(folder / "model.onnx", layers(module, *PERCEPTRON), ("MatMul",), name, runtime=runtime)


def tied(folder: Path, dynamo: bool, rank: int, **options: Any) -> Expected:
    module = Pair(tied=True)
    export(module, inputs(rank), folder / "model.onnx", dynamo=dynamo, **options)
    operators = ("Gemm",) if rank == 2 else ("MatMul",)
    return Expected(folder / "model.onnx", layers(module, "fc1", "fc2"), operators, tied={1: 0})


def pruned(folder: Path, dynamo: bool, **options: Any) -> Expected:
    module = Pair()
    prune.l1_unstructured(module.fc1, "weight", 0.5)  # type: ignore[no-untyped-call]
    export(module, rows(), folder / "model.onnx", dynamo=dynamo, **options)
    weights = {"fc1": matrix(torch.as_tensor(module.fc1.weight)), "fc2": matrix(module.fc2.weight)}
    assert np.count_nonzero(weights["fc1"]) == 72
    return Expected(folder / "model.onnx", weights, ("Gemm",))


def normed(
    folder: Path, dynamo: bool, by: Callable[[nn.Module], nn.Module], x: torch.Tensor, **options: Any
) -> Expected:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Pair(normed=by).eval()
    export(module, x, folder / "model.onnx", dynamo=dynamo, **options)
    weights = {"fc1": matrix(torch.as_tensor(module.fc1.weight)), "fc2": matrix(module.fc2.weight)}
    return Expected(folder / "model.onnx", weights, ("Gemm",) if x.ndim == 2 else ("MatMul",), exact=False)


def lenet(folder: Path, dynamo: bool) -> Expected:
    module = LeNet()
    export(module, torch.randn(BATCH, 1, 8, 8), folder / "model.onnx", dynamo=dynamo)
    weights = layers(module, "c5", "fc")
    assert weights["c5"].shape == (12, 4 * 3 * 3)
    return Expected(folder / "model.onnx", weights, ("Conv", "Gemm"), roles={"c5": "conv-as-fc"})


def pointwise(folder: Path, dynamo: bool, wanted: bool) -> Expected:
    module = Pointwise()
    export(module, torch.randn(BATCH, 1, 8, 8), folder / "model.onnx", dynamo=dynamo)
    weights = layers(module, "head") if wanted else {}
    return Expected(folder / "model.onnx", weights, ("Conv",), roles={"head": "pointwise"}, pointwise=wanted)


def attention(folder: Path, dynamo: bool) -> Expected:
    module = Attention()
    export(module, sequences(16), folder / "model.onnx", dynamo=dynamo)
    names = ("node_matmul", "node_matmul_1") if dynamo else ("/MatMul", "/MatMul_1")
    products = tuple((name, "MatMul") for name in names)
    return Expected(folder / "model.onnx", layers(module, "q", "k", "v", "out"), ("MatMul",), skipped=products)


def multi_head(folder: Path, dynamo: bool) -> Expected:
    module = MultiHead()
    export(module, sequences(16), folder / "model.onnx", dynamo=dynamo)
    packed = {"attention": matrix(module.attention.in_proj_weight)}
    assert packed["attention"].shape == (48, 16)
    names = ("node_MatMul_73", "node_scaled_dot_product_attention") if dynamo else ("MatMul_1", "MatMul_2")
    return Expected(
        folder / "model.onnx",
        packed | layers(module, "attention.out_proj", "out"),
        ("MatMul", "Gemm", "MatMul"),
        skipped=tuple((name, "MatMul") for name in names),
    )


def language(folder: Path, dynamo: bool) -> Expected:
    module = Language()
    export(module, torch.ones(BATCH, 5, dtype=torch.int64), folder / "model.onnx", dynamo=dynamo)
    lstm, table = ("node_lstm__2", "node_embedding") if dynamo else ("/lstm/LSTM", "/embedding/Gather")
    no_layers = ((lstm, "LSTM"), (table, "Gather"))
    return Expected(folder / "model.onnx", layers(module, "out"), ("MatMul",), skipped=no_layers)


def tied_embedding(folder: Path, dynamo: bool, **options: Any) -> Expected:
    """One layer; that a table shares its tensor neither makes it tied nor gives it the table's name."""
    module = TiedEmbedding()
    export(module, torch.ones(BATCH, 5, dtype=torch.int64), folder / "model.onnx", dynamo=dynamo, **options)
    table = "node_embedding" if dynamo else "/embedding/Gather"
    return Expected(folder / "model.onnx", layers(module, "head"), ("MatMul",), skipped=((table, "Gather"),))


def low_rank(folder: Path, dynamo: bool, **options: Any) -> Expected:
    module = LowRank()
    export(module, rows(), folder / "model.onnx", dynamo=dynamo, **options)
    # which module it is the file does not say: its weight is made of three tensors
    return Expected(folder / "model.onnx", {"": matrix(module.weight())}, ("Gemm",), exact=False, named=False)


def products(folder: Path, dynamo: bool) -> Expected:
    module = Products()
    export(module, sequences(), folder / "model.onnx", dynamo=dynamo)
    left = {"node_matmul" if dynamo else "/MatMul": matrix(module.left)}
    return Expected(folder / "model.onnx", layers(module, "scaled", "turned") | left, ("MatMul",))


def choice(folder: Path, dynamo: bool, rank: int, **options: Any) -> Expected:
    module: Choice = Traced() if dynamo else Scripted()
    prepared = module if dynamo else scripted(module)
    export(prepared, inputs(rank), folder / "model.onnx", dynamo=dynamo, **options)
    weights = layers(module, "fc1", "fc2", "out")
    if rank == 3 and not options:  # nothing in the file says which modules these were
        names = ("node_MatMul_1", "node_MatMul_1_2", "out") if dynamo else ("/MatMul", "/MatMul_1", "/MatMul_2")
        weights = dict(zip(names, weights.values(), strict=True))
    return Expected(folder / "model.onnx", weights, ("Gemm",) if rank == 2 else ("MatMul",))


def loop(folder: Path, rank: int, **options: Any) -> Expected:
    module = Loop()
    export(scripted(module), (inputs(rank), torch.tensor(3)), folder / "model.onnx", dynamo=False, **options)
    return Expected(folder / "model.onnx", layers(module, "fc", "out"), ("Gemm",) if rank == 2 else ("MatMul",))


def module_functions(folder: Path) -> Expected:
    """Every Linear is a call of a local function; a call has its weight as an argument and, unused, as an attribute."""
    module = Perceptron()
    functions = {"export_modules_as_functions": {nn.Linear}}
    export(module, rows(), folder / "model.onnx", dynamo=False, **functions)
    assert len(onnx.load(folder / "model.onnx").functions) == 2
    return Expected(folder / "model.onnx", layers(module, *PERCEPTRON), ("Gemm", "MatMul", "Gemm"))


def recurrence(folder: Path) -> Expected:
    module = Recurrence()
    export(module, torch.randn(4, BATCH, 12), folder / "model.onnx", dynamo=True)
    return Expected(folder / "model.onnx", layers(module, "fc", "out"), ("Gemm", "MatMul"))


for _exporter, _dynamo in (("script", False), ("dynamo", True)):
    _embedded: dict[str, Any] = {"external_data": False} if _dynamo else {}
    _forms: dict[str, Callable[..., Expected]] = {
        "perceptron": partial(perceptron, **_embedded),
        "rank 3": of_rank_3,
        "rank 3 unfolded": partial(of_rank_3, **unfolded(_dynamo)),
        "half": partial(of_rank_3, dtype=torch.float16),
        "bfloat16": partial(of_rank_3, dtype=torch.bfloat16),
        "double": partial(of_rank_3, dtype=torch.float64),
        "tied": partial(tied, rank=2),
        "tied rank 3": partial(tied, rank=3),
        "pruned": pruned,
        "pruned unfolded": partial(pruned, **unfolded(_dynamo)),
        "weight norm": partial(normed, by=parametrizations.weight_norm, x=rows()),
        "weight norm unfolded": partial(normed, by=parametrizations.weight_norm, x=sequences(), **unfolded(_dynamo)),
        "lenet": lenet,
        "pointwise asked for": partial(pointwise, wanted=True),
        "pointwise": partial(pointwise, wanted=False),
        "attention": attention,
        "multi-head": multi_head,
        "language": language,
        "tied embedding": tied_embedding,
        "tied embedding unfolded": partial(tied_embedding, **unfolded(_dynamo)),
        "low rank": low_rank,
        "low rank unfolded": partial(low_rank, **unfolded(_dynamo)),
        "products": products,
        "choice": partial(choice, rank=2),
        "choice rank 3": partial(choice, rank=3),
    }
    for _name, _form in _forms.items():
        FORMS[f"{_name} {_exporter}"] = partial(_form, dynamo=_dynamo)

FORMS |= {
    "initializers as inputs script": partial(perceptron, dynamo=False, keep_initializers_as_inputs=True),
    "old weight norm script": partial(normed, dynamo=False, by=weight_norm, x=rows()),
    "tied unfolded script": partial(tied, dynamo=False, rank=3, do_constant_folding=False),
    "external data dynamo": partial(perceptron, dynamo=True, external_data=True),
    "spectral norm dynamo": partial(normed, dynamo=True, by=parametrizations.spectral_norm, x=rows()),
    "choice unfolded dynamo": partial(choice, dynamo=True, rank=3, optimize=False),
    "scan dynamo": recurrence,
    "module functions script": module_functions,
    "loop script": partial(loop, rank=2),
    "loop rank 3 unfolded script": partial(loop, rank=3, do_constant_folding=False),
}
