"""Small models as torch's two exporters write them, each with the fully-connected weights that its file holds.

The weights come from the modules themselves, never from the file: they are what a reader of the file must find. Every
entry of PATTERNS and WITHOUT_LAYERS writes one file into an empty folder; names end in the exporter, TorchScript's
(`script`) or `dynamo`.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from tests.support import exported_modules as nets
from tests.support import notation
from tests.support.exported_modules import SEQUENCE, ScriptedChoice, ScriptedLoop, pair

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
    tied: Mapping[int, int] = field(default_factory=dict)
    """Layers, by position, that use the same stored tensor as an earlier one."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Layers that are not plainly `fc`."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Nodes that must be named as no layer: (end of the node's name, operator)."""
    pointwise: bool = False
    """Whether 1x1 convolutions are asked for."""
    runtime: str = "onnxruntime"
    """Who runs the file: `onnxruntime`, or `onnx.reference` where it has no kernel."""


Builder = Callable[[Path], Expected]


def run(expected: Expected, **inputs: Matrix) -> list[Matrix]:
    """The file's outputs for these inputs, and for numbers of our own where one is not given."""
    model = onnx.load(expected.path)
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    given = {value.name: value for value in model.graph.input if value.name not in constants}
    feeds = {name: inputs[name] if name in inputs else _some(value) for name, value in given.items()}
    if expected.runtime == "onnxruntime":
        # Optimised, DequantizeLinear before MatMul becomes a product that rounds its input to eight bits.
        return notation.run(expected.path, **feeds)
    return list(ReferenceEvaluator(str(expected.path)).run(None, feeds))


def _some(value: onnx.ValueInfoProto) -> Matrix:
    """Normal numbers; for integers ones, which are a valid word as well as a number of rounds."""
    shape = [dim.dim_value or BATCH for dim in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if dtype.kind in "iu":
        return np.ones(shape, dtype)
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def matrix(weight: Any) -> Matrix:
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


def layers(module: nn.Module, names: str) -> dict[str, Matrix]:
    """The weights of these submodules, however they are computed."""
    return {name: matrix(module.get_submodule(name).weight) for name in names.split()}


@dataclass(frozen=True)
class Network:
    """A module to export with an input, its `layers`, and what else is expected of the file each exporter writes.

    `weights` are further ones, of no submodule. A `scripted` module is compiled, so that its `if` and `for` stay.
    """

    make: Callable[[], nn.Module]
    x: Callable[[], Any]
    layers: str
    expected: Mapping[str, Any]
    script: Mapping[str, Any] = field(default_factory=dict)
    dynamo: Mapping[str, Any] = field(default_factory=dict)
    weights: Callable[[Any], dict[str, Matrix]] = lambda module: {}
    scripted: bool = False

    def write(self, folder: Path, dynamo: bool, **options: Any) -> Expected:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = self.make().eval()
            prepared = torch.jit.script(module) if self.scripted else module
        export(prepared, self.x(), folder / "model.onnx", dynamo=dynamo, **options)
        weights = layers(module, self.layers) | self.weights(module)
        expected = {**self.expected, **(self.dynamo if dynamo else self.script)}
        if names := expected.pop("names", None):  # nothing in the file says which modules these were
            weights = dict(zip(names, weights.values(), strict=True))
        return Expected(folder / "model.onnx", weights, **expected)


def rows() -> torch.Tensor:
    """Input of rank 2."""
    return torch.randn(SEQUENCE, 12)


def sequences(width: int = 12) -> torch.Tensor:
    """Input of rank 3."""
    return torch.randn(BATCH, SEQUENCE, width)


def image() -> torch.Tensor:
    return torch.randn(BATCH, 1, 8, 8)


def words() -> torch.Tensor:
    return torch.ones(BATCH, 5, dtype=torch.int64)


def of_type(dtype: torch.dtype) -> Network:
    """The perceptron with input of rank 3."""
    name = str(dtype).removeprefix("torch.")
    runtime = "onnx.reference" if dtype == torch.bfloat16 else "onnxruntime"
    expected = {**PRODUCTS, "dtype": name, "runtime": runtime}
    return Network(lambda: nets.perceptron().to(dtype), lambda: sequences().to(dtype), PERCEPTRON, expected)


def normed(by: Callable[[nn.Module], nn.Module]) -> Network:
    return Network(partial(pair, normed=by), rows, "fc1 fc2", GEMMS | COMPUTED)


def pruned() -> nn.Module:
    module = pair()
    first = module.get_submodule("fc1")
    prune.l1_unstructured(first, "weight", 0.5)  # type: ignore[no-untyped-call]
    assert torch.count_nonzero(torch.as_tensor(first.weight)) == 72
    return module


def no_layers(*nodes: tuple[str, str]) -> dict[str, Any]:
    return {"skipped": nodes}


PERCEPTRON = "body.0 body.2 head"
PRODUCTS: dict[str, Any] = {"operators": ("MatMul",)}
GEMMS: dict[str, Any] = {"operators": ("Gemm",)}
COMPUTED = {"exact": False}
TIED = {"tied": {1: 0}}
POINTWISE = partial(Network, nets.pointwise, image)
HEAD = {"operators": ("Conv",), "pointwise": True, "roles": {"head": "pointwise"}}
# TorchScript's exporter writes a Linear without bias as a MatMul
FIRST = Network(nets.perceptron, rows, PERCEPTRON, GEMMS, script={"operators": ("Gemm", "MatMul", "Gemm")})

NETWORKS = {
    "perceptron": FIRST,
    "rank 3": of_type(torch.float32),
    "half": of_type(torch.float16),
    "bfloat16": of_type(torch.bfloat16),
    "double": of_type(torch.float64),
    "tied": Network(lambda: pair(tied=True), rows, "fc1 fc2", GEMMS | TIED),
    "tied rank 3": Network(lambda: pair(tied=True), sequences, "fc1 fc2", PRODUCTS | TIED),
    "pruned": Network(pruned, rows, "fc1 fc2", GEMMS),
    "weight norm": normed(parametrizations.weight_norm),
    "lenet": Network(nets.lenet, image, "c5 fc", {"operators": ("Conv", "Gemm"), "roles": {"c5": "conv-as-fc"}}),
    "pointwise asked for": POINTWISE("head", HEAD),
    "attention": Network(
        nets.attention,
        lambda: sequences(16),
        "q k v out",
        PRODUCTS,
        script=no_layers(("/MatMul", "MatMul"), ("/MatMul_1", "MatMul")),
        dynamo=no_layers(("node_matmul", "MatMul"), ("node_matmul_1", "MatMul")),
    ),
    "multi-head": Network(
        nets.multi_head,
        lambda: sequences(16),
        "",
        {"operators": ("MatMul", "Gemm", "MatMul")},
        script=no_layers(("MatMul_1", "MatMul"), ("MatMul_2", "MatMul")),
        dynamo=no_layers(("node_MatMul_73", "MatMul"), ("node_scaled_dot_product_attention", "MatMul")),
        weights=lambda module: {
            "attention": matrix(module.attention.in_proj_weight),  # three matrices in one
            **layers(module, "attention.out_proj out"),
        },
    ),
    "language": Network(
        nets.language,
        words,
        "out",
        PRODUCTS,
        script=no_layers(("/lstm/LSTM", "LSTM"), ("/embedding/Gather", "Gather")),
        dynamo=no_layers(("node_lstm__2", "LSTM"), ("node_embedding", "Gather")),
    ),
    # one layer; that a table shares its tensor neither makes it tied nor gives it the table's name
    "tied embedding": Network(
        nets.tied_embedding,
        words,
        "head",
        PRODUCTS,
        script=no_layers(("/embedding/Gather", "Gather")),
        dynamo=no_layers(("node_embedding", "Gather")),
    ),
    # which module it is the file does not say: its weight is made of three tensors
    "low rank": Network(
        nets.low_rank,
        rows,
        "",
        GEMMS | COMPUTED | {"named": False},
        weights=lambda module: {"": matrix(nets.low_rank_weight(module))},
    ),
    "products": Network(
        nets.products,
        sequences,
        "scaled turned",
        PRODUCTS,
        script={"names": ("scaled", "turned", "/MatMul")},
        dynamo={"names": ("scaled", "turned", "node_matmul")},
        weights=lambda module: {"left": matrix(module.left)},
    ),
}
"""What both exporters write."""
UNFOLDED = {name: NETWORKS[name] for name in ("rank 3", "pruned", "tied embedding", "low rank")} | {
    "weight norm": replace(NETWORKS["weight norm"], x=sequences, expected=PRODUCTS | COMPUTED)
}
"""What an exporter writes that is asked not to compute what is constant."""
OPTIONS: dict[str, dict[str, Any]] = {"script": {"do_constant_folding": False}, "dynamo": {"optimize": False}}


def choice(x: Callable[[], Any], expected: Mapping[str, Any], scripted: bool, *names: str) -> Network:
    # A class of its own: torch compiles a class once, and of one compiled before it writes other names for the nodes.
    make = (lambda: type("Choice", (ScriptedChoice,), {})()) if scripted else nets.traced_choice
    expected = {**expected, "names": names} if names else expected
    return Network(make, x, "fc1 fc2 out", expected, scripted=scripted)


def loop(x: Callable[[], Any], expected: Mapping[str, Any]) -> Network:
    return Network(ScriptedLoop, lambda: (x(), torch.tensor(3)), "fc out", expected, scripted=True)


def module_functions(folder: Path) -> Expected:
    """Every Linear is a call of a local function; a call has its weight as an argument and, unused, as an attribute."""
    expected = FIRST.write(folder, dynamo=False, export_modules_as_functions={nn.Linear})
    assert len(onnx.load(folder / "model.onnx").functions) == 2
    return expected


SCAN = Network(nets.recurrence, lambda: torch.randn(4, BATCH, 12), "fc out", {"operators": ("Gemm", "MatMul")})
OTHERS: dict[str, tuple[Network, dict[str, Any]]] = {
    "perceptron dynamo": (FIRST, {"external_data": False}),
    "external data dynamo": (FIRST, {"external_data": True}),
    "initializers as inputs script": (FIRST, {"keep_initializers_as_inputs": True}),
    "old weight norm script": (normed(weight_norm), {}),
    "tied unfolded script": (NETWORKS["tied rank 3"], OPTIONS["script"]),
    "spectral norm dynamo": (normed(parametrizations.spectral_norm), {}),
    "scan dynamo": (SCAN, {}),
    "choice script": (choice(rows, GEMMS, True), {}),
    "choice dynamo": (choice(rows, GEMMS, False), {}),
    "choice rank 3 script": (choice(sequences, PRODUCTS, True), {}),
    "choice rank 3 dynamo": (choice(sequences, PRODUCTS, False, "node_MatMul_1", "node_MatMul_1_2", "out"), {}),
    "choice unfolded dynamo": (choice(sequences, PRODUCTS, False), OPTIONS["dynamo"]),
    "loop script": (loop(rows, GEMMS), {}),
    "loop rank 3 unfolded script": (loop(sequences, PRODUCTS), OPTIONS["script"]),
}
"""What one exporter writes, with these options."""
for _exporter, _unfolded in OPTIONS.items():
    OTHERS |= {f"{name} unfolded {_exporter}": (network, _unfolded) for name, network in UNFOLDED.items()}
    OTHERS = {f"{name} {_exporter}": (network, {}) for name, network in NETWORKS.items()} | OTHERS

PATTERNS: dict[str, Builder] = {
    name: partial(network.write, dynamo=name.endswith("dynamo"), **options)
    for name, (network, options) in OTHERS.items()
} | {"module functions script": module_functions}
_unasked = POINTWISE("", {"operators": ("Conv",)})
WITHOUT_LAYERS: dict[str, Builder] = {
    f"pointwise {exporter}": partial(_unasked.write, dynamo=exporter == "dynamo") for exporter in OPTIONS
}
