"""A layer in a model of its own: its node with the constants it depends on, and x as the only input.

Bias, activation and requantisation are left out, so that y = x W^T. Which constants the node depends on is looked up as
the reader does it. Weights of 16-bit floats are multiplied in float32, as ONNX Runtime does on a CPU where it has no
kernel for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis.weights.constant_folding import copied
from analysis.weights.constants import Scope
from analysis.weights.einsum import equation
from analysis.weights.layers import Layer
from analysis.weights.operators import LEARNING
from analysis.weights.resolving import FLOATS, RESHAPING
from analysis.weights.scales import scale_behind
from analysis.weights.shapes import MICROSOFT
from analysis.weights.tensors import Stored
from analysis.weights.values import NARROW, Constant, Known, Literal, Opaque, Output, Pending

OLDEST_OPSET = 7
"""Older layers are run as of this one, the first with a kernel for all of them: only their bias is another."""
MOST_BYTES = 2**31 - 2**20
"""Bytes of a layer's constants: a model is one protobuf message, which holds less than 2 GiB."""


class NotTriedError(Exception):
    """The layer cannot be proved, for this reason."""


@dataclass(frozen=True)
class Copy:
    """How an operator is copied: by which one, and with which inputs where the weight is on the right, or on the left.

    A number is the node's own input of that index, `x` the identity, `one` a scale, `zero` a zero point or a bias, `-`
    nothing.
    """

    domain: str
    operator: str
    right: str
    left: str = ""
    attributes: tuple[str, ...] = ()


TURNED = ("alpha", "transA", "transB")
GEMM = Copy("", "Gemm", "x 1 zero", "0 x zero", TURNED)  # whose bias is no option before opset 11
FUSED = Copy(MICROSOFT, "FusedMatMul", "x 1", "0 x", TURNED)
CONV = Copy("", "Conv", "x 1", attributes=("kernel_shape",))
LABELS = ("coefficients", "intercepts", "targets", "classlabels_ints", "classlabels_strings")
COPIES = {
    "Gemm": GEMM,
    "FusedGemm": GEMM,
    "MatMul": Copy("", "MatMul", "x 1", "0 x"),
    "FusedMatMul": FUSED,
    "TransposeMatMul": FUSED,
    "Conv": CONV,
    "FusedConv": CONV,
    "MatMulInteger": Copy("", "MatMulInteger", "x 1 - 3", "0 x 2 -"),
    "QGemm": Copy(MICROSOFT, "QGemm", "x one zero 3 4 5", "0 1 2 x one zero", TURNED),
    "QLinearMatMul": Copy(MICROSOFT, "MatMulIntegerToFloat", "x 3 one 4 - 5", "0 x 1 one 2 -"),
    "MatMulIntegerToFloat": Copy(MICROSOFT, "MatMulIntegerToFloat", "x 1 one 3 - 5"),
    "DynamicQuantizeMatMul": Copy(MICROSOFT, "MatMulIntegerToFloat", "x 1 one 2 - 3"),
    "MatMulNBits": Copy(MICROSOFT, "MatMulNBits", "x 1 2 3", attributes=("K", "N", "bits", "block_size")),
    "Attention": Copy("", "MatMul", "x 1"),
    "PackedAttention": Copy("", "MatMul", "x 1"),
    "QAttention": Copy(MICROSOFT, "MatMulIntegerToFloat", "x 1 one 4 - 7"),
    "Einsum": Copy("", "Einsum", "x 1", "0 x"),
    "LinearClassifier": Copy(LEARNING, "LinearClassifier", "x", attributes=LABELS),
    "LinearRegressor": Copy(LEARNING, "LinearRegressor", "x", attributes=LABELS),
}
"""By the layer's operator; QLinearMatMul would round its result to 8 bits, DynamicQuantizeMatMul x."""
OF_INTEGERS = ("MatMulInteger", "QGemm", "MatMulIntegerToFloat")
"""Copies whose x is of 8 bits."""


MOVING = ("Identity", "Cast", "Transpose", "DequantizeLinear", *RESHAPING)
"""Operators whose results are the same bit by bit, however they are computed."""


class Probe:
    """A layer to be run: `inputs` is the length of its x, `width` that with its repetitions, and `dtype` the type of x.

    `copies` is how often its matrix is in the stack that the node multiplies with.
    """

    def __init__(self, layer: Layer) -> None:
        if layer.operator not in COPIES:
            raise NotTriedError(f"ONNX Runtime cannot run the product of {layer.operator} by itself")
        self.node, self.copy = layer.in_graph, COPIES[layer.operator]
        self.left, self.outputs = layer.operand == 0, layer.weight.shape[0]
        self.operand = layer.operand
        self.computed: list[np.dtype[Any]] = []
        self.once = self.copy is not CONV and self.copy.operator != "MatMulNBits"
        weight = self.node.scope.constant(self.node.input(self.operand), self.once) if self.operand >= 0 else None
        self.shape = layer.weight.shape if weight is None else weight.shape
        self.copies = max(1, prod(self.shape) // max(1, prod(layer.weight.shape))) if len(self.shape) > 2 else 1
        self.dtype = np.dtype(np.float32) if weight is None else self._dtype(weight)
        if len(self.shape) > 2 and self.copy is GEMM:  # a stack of matrices
            self.copy = FUSED
        self.axes = equation(self.node, layer.operand, len(self.shape)) if self.copy.operator == "Einsum" else None
        if self.axes is not None:
            self.inputs = prod(self._sizes(self.axes.summed))
        elif self.copy is CONV:
            self.inputs = prod(self.shape[1:])
        elif self.copy.operator == "MatMulNBits":
            self.inputs = self.node.whole("K")
        else:
            self.inputs = self.shape[-1 if weight is None or self.left != self._flag("transA", "transB") else -2]
        self.width = self.inputs * (prod(self._sizes(self.axes.batch)) if self.axes is not None else 1)

    def _flag(self, left: str, right: str) -> bool:
        """The flag of the weight's side, if the operator has any."""
        name = left if self.left else right
        return name in self.copy.attributes and self.node.flag(name)

    def _dtype(self, weight: Constant) -> np.dtype[Any]:
        if self.copy.operator in OF_INTEGERS:
            return weight.dtype if self.left else np.dtype(np.uint8)
        return np.dtype(np.float64 if weight.dtype == np.float64 else np.float32)

    def _sizes(self, letters: str) -> list[int]:
        assert self.axes is not None
        return [self.shape[self.axes.constant.index(letter)] for letter in letters]

    def run(self, x: NDArray[np.float32], shaken: bool = False) -> NDArray[np.float64]:
        """y (rows, outputs), which ONNX Runtime computes from x (rows, inputs), `shaken` as `Constants`.

        Raises:
            NotTriedError: it is not installed, or has no way to run the layer; the message is the reason.
        """
        if self.axes is not None:
            ones = [1] * len(self.axes.batch)
            x = x.reshape((len(x), *ones, *self._sizes(self.axes.summed)))
            sizes = (len(x), *self._sizes(self.axes.batch), *self._sizes(self.axes.summed))
            y = _run(self.model(shaken), np.ascontiguousarray(np.broadcast_to(x, sizes)))
            return y.reshape(len(y), -1)
        shape = (len(x), *self.shape[1:]) if self.copy is CONV else x.shape
        x = x.reshape(shape) if self.left == self._flag("transB", "transA") else np.ascontiguousarray(x.T)
        y = _run(self.model(shaken), x)
        if len(self.shape) > 1 and self.copy is not CONV and self.copy.domain != LEARNING:
            y = np.moveaxis(y, -1 if self.left else -2, 0)  # of a stack of matrices the outputs follow one another
        rows: NDArray[np.float64] = y.reshape(len(y), -1)
        return rows

    def model(self, shaken: bool = False) -> bytes:
        constants = Constants(self.node.scope, shaken)
        x = "x" if self.dtype == np.float32 else constants.cast("x", self.dtype)
        words = (self.copy.left if self.left else self.copy.right).split()
        inputs = [x if word == "x" else self._input(word, constants) for word in words]
        product = helper.make_node(self.copy.operator, inputs, ["y"], domain=self.copy.domain)
        if self.axes is not None:
            product.attribute.append(helper.make_attribute("equation", self.axes.text(self.left)))
        for name in self.copy.attributes:
            if name in self.node.attributes:
                attribute = copied(self.node.attributes[name], name)
                if name == "intercepts":  # whose number may be that of the classes
                    attribute.floats[:] = [0.0] * len(attribute.floats)
                product.attribute.append(attribute)
        if self.copy.operator == "LinearClassifier":  # its second output are the scores
            product.output.insert(0, "label")
        constants.nodes.append(product)
        self.computed = constants.computed
        y = self._scaled(constants) if self.copy.operator == "MatMulInteger" else "y"
        return constants.model(y)

    def _scaled(self, constants: "Constants") -> str:
        """The result of a MatMulInteger times the constants that its scale is the product of."""
        scaled = constants.cast("y", np.dtype(np.float64))
        for factor in scale_behind(self.node, int(not self.left), self.outputs).constants:
            by = constants.cast(constants.add(factor), np.dtype(np.float64))
            constants.nodes.append(helper.make_node("Mul", [scaled, by], [f"{scaled} {by}"]))
            scaled = f"{scaled} {by}"
        return constants.cast(scaled, np.dtype(np.float32))

    def _input(self, word: str, constants: "Constants") -> str:
        if word == "-":
            return ""
        if word in ("one", "zero"):
            array = np.float32(1) if word == "one" else np.zeros(1 if self.copy is GEMM else (), self.dtype)
            return constants.tensor(numpy_helper.from_array(np.asarray(array)))
        name = self.node.input(int(word))
        once = self.once and int(word) == self.operand
        known = self.node.scope.known(name, once) if name else None
        if known is None:
            if name:
                raise NotTriedError(f"its input {word} is computed")
            return ""
        constant = self.node.scope.constant(name, once)
        if self.left and word in ("1", "2") and constant is not None and prod(constant.shape) > 1:
            raise NotTriedError("ONNX Runtime has no kernel for a scale or zero point of each row of a left operand")
        copy = constants.add(known)
        narrow = constant is not None and constant.dtype in NARROW
        return constants.cast(copy, np.dtype(np.float32)) if narrow else copy


@dataclass
class Constants:
    """The constants that a layer depends on, copied with the nodes that make them.

    Where they are `shaken`, each float that a node computes is wrong by some roundings, by others than its neighbours.
    """

    scope: Scope
    shaken: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)
    sparse: list[onnx.SparseTensorProto] = field(default_factory=list)
    size: int = 0
    computed: list[np.dtype[Any]] = field(default_factory=list)
    """The type of each value that ONNX Runtime computes: those of 16 bits in float32, and perhaps without rounding."""
    added: dict[int, tuple[object, Mapping[str, str]]] = field(default_factory=dict)
    """By the id of each, which is held so that no other has it: the names of its outputs here, by those there."""

    def add(self, known: Known) -> str:
        """Copy a constant and all that it is made of, once; its name here."""
        owner = known.pending if isinstance(known, Output) else known
        if id(owner) not in self.added:
            names = self._computed(owner) if isinstance(owner, Pending) else {"": self._stored(owner)}
            self.added[id(owner)] = owner, names
        return self.added[id(owner)][1][known.name if isinstance(known, Output) else ""]

    def _computed(self, pending: Pending) -> Mapping[str, str]:
        if pending.version != self.scope.version:
            raise NotTriedError("its constants are made by operators of several opsets")
        inputs = ["" if known is None else self.add(known) for known in pending.inputs]
        names = {name: f"{len(self.nodes)} {index}" for index, name in enumerate(pending.node.output)}
        outputs = [names[name] if name else "" for name in pending.node.output]
        node = helper.make_node(pending.node.op_type, inputs, outputs, domain=pending.node.domain)
        node.attribute.extend(copied(attribute, name) for name, attribute in pending.attributes.items())
        self.nodes.append(node)
        if pending.node.op_type not in MOVING:
            for name, result in (pending.results or {}).items():
                if result.dtype in FLOATS:
                    names[name] = self._shake(names[name], result.dtype) if self.shaken else names[name]
                    self.computed.append(result.dtype)
        return names

    def _shake(self, name: str, dtype: np.dtype[Any]) -> str:
        index = len(self.computed)
        eps = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-23}.get(dtype.name, 2**-52)
        factor = 1 + (8 + index % 7) * (eps if index % 2 else -eps)
        by, shaken = self.tensor(numpy_helper.from_array(np.asarray(factor, dtype))), f"shaken {len(self.nodes)}"
        self.nodes.append(helper.make_node("Mul", [name, by], [shaken]))
        return shaken

    def _stored(self, known: Literal | Constant | Opaque) -> str:
        if isinstance(known, Opaque):
            raise NotTriedError(known.reason)
        if isinstance(known, Constant):
            array = known.source.read(0, known.source.size).reshape(known.shape)
            return self.tensor(numpy_helper.from_array(array))
        if isinstance(known.tensor, TensorProto):
            return self.tensor(self._inside(known.tensor))
        parts = self._inside(known.tensor.values), self._inside(known.tensor.indices)
        self.sparse.append(onnx.SparseTensorProto(values=parts[0], indices=parts[1], dims=known.tensor.dims))
        self.sparse[-1].values.name = f"sparse {len(self.sparse)}"
        return self.sparse[-1].values.name

    def _inside(self, tensor: TensorProto) -> TensorProto:
        """The tensor with its bytes in it, wherever they lie."""
        source = self.scope.opened.source(tensor, None)
        self.size += source.place.length if isinstance(source, Stored) else tensor.ByteSize()
        if self.size > MOST_BYTES:
            raise NotTriedError("its constants take more than 2 GiB, which is more than one model holds")
        if isinstance(source, Stored):
            raw = source.place.read(0, source.place.length).tobytes()
            return TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
        return tensor

    def tensor(self, tensor: TensorProto) -> str:
        self.tensors.append(TensorProto())
        self.tensors[-1].CopyFrom(tensor)
        self.tensors[-1].name = f"tensor {len(self.tensors)}"
        return self.tensors[-1].name

    def cast(self, name: str, dtype: np.dtype[Any]) -> str:
        """Add a node that casts the value of this name; the name of its result."""
        cast = f"cast {len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [name], [cast], to=helper.np_dtype_to_tensor_dtype(dtype)))
        return cast

    def model(self, y: str) -> bytes:
        """The model from x to the value `y`, whose type is not declared."""
        x, result = helper.make_tensor_value_info("x", TensorProto.FLOAT, None), onnx.ValueInfoProto(name=y)
        graph = helper.make_graph(self.nodes, "layer", [x], [result], self.tensors, sparse_initializer=self.sparse)
        versions = {"": 13, MICROSOFT: 1, LEARNING: 1, **self.scope.opsets}
        versions[""] = max(versions[""], OLDEST_OPSET)
        used = {"", *(node.domain for node in self.nodes)} - {"ai.onnx"}  # others may have versions that are not known
        opsets = [helper.make_opsetid(domain, versions[domain]) for domain in sorted(used)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def _run(model: bytes, x: NDArray[np.float32]) -> NDArray[np.float64]:
    try:
        import onnxruntime
    except ImportError:
        raise NotTriedError("ONNX Runtime is not installed here (pip install onnxruntime)") from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # what it logs of an error is in the exception too
    # enable_fallback would print, and try the same again
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    [y] = session.run(None, {"x": x})
    return np.asarray(y, np.float64)
