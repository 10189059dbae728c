"""Models made with onnx.helper in forms that no exporter here writes, each with the weight that its file holds.

Every entry of FORMS writes one file into an empty folder, in which x (2, 12) or (3, 2, 12) goes through one layer `fc`,
unless it says otherwise. W is (16, 12) and SQUARE (12, 12), of halves of small integers, which every type here holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from tests.support.exported import Builder, Expected, Matrix, run

OPSET = helper.make_opsetid("", 21)
LOCAL = helper.make_opsetid("local", 1)
IN, OUT, ROWS, STACK = 12, 16, 2, 3
W = np.random.default_rng(0).integers(-6, 7, (OUT, IN)).astype(np.float32) / 2
SQUARE = np.random.default_rng(1).integers(-6, 7, (IN, IN)).astype(np.float32) / 2
OTHER = SQUARE[::-1].copy()

node = helper.make_node


def tensor(array: Matrix, name: str = "fc.weight") -> TensorProto:
    return numpy_helper.from_array(np.asarray(array, order="C"), name)


def matmul(weight: str = "fc.weight", name: str = "/fc/MatMul", x: str = "x", y: str = "y") -> NodeProto:
    return node("MatMul", [x, weight], [y], name)


@dataclass(frozen=True)
class Handmade:
    """A graph x -> y, and what must be found in it; y must be x times these weights, one after another."""

    nodes: Sequence[NodeProto]
    tensors: Sequence[TensorProto] = ()
    weights: dict[str, Matrix] = field(default_factory=lambda: {"fc": W})
    operators: tuple[str, ...] = ("MatMul",)
    dtype: str = "float32"
    exact: bool = True
    named: bool = True
    tied: dict[int, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    runtime: str = "onnxruntime"
    x: tuple[int, ...] = (ROWS, IN)
    x_type: int = TensorProto.FLOAT
    more_inputs: Sequence[onnx.ValueInfoProto] = ()
    sparse: Sequence[onnx.SparseTensorProto] = ()
    functions: Sequence[onnx.FunctionProto] = ()
    product: str = "right"
    """`right`: y = x W^T; `left`: y = W x; `stack` and `stack left`: that of each matrix; `none`: not checked."""

    def write(self, folder: Path) -> Expected:
        x = helper.make_tensor_value_info("x", self.x_type, self.x)
        y = helper.make_tensor_value_info("y", self.x_type, None)
        graph = helper.make_graph(list(self.nodes), "handmade", [x, *self.more_inputs], [y], list(self.tensors))
        graph.sparse_initializer.extend(self.sparse)
        opsets = [OPSET, LOCAL] if self.functions else [OPSET]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(self.functions))
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        expected = Expected(
            path,
            self.weights,
            self.operators,
            self.dtype,
            self.exact,
            self.named,
            self.tied,
            skipped=self.skipped,
            runtime=self.runtime,
        )
        self.prove(expected)
        return expected

    def prove(self, expected: Expected) -> None:
        """Run the file: whole numbers in, so that the outputs are exact."""
        x = np.random.default_rng(2).integers(-4, 5, self.x).astype(helper.tensor_dtype_to_np_dtype(self.x_type))
        (found,) = run(expected, x=x)
        y = x.astype(np.float32)
        for weight in self.weights.values():
            if self.product == "right":
                y = y @ weight.T
            elif self.product == "left":
                y = weight @ y
            elif self.product == "stack":
                y = np.stack([rows @ block.T for rows, block in zip(y, np.split(weight, len(y)), strict=True)])
            elif self.product == "stack left":
                y = np.stack([block @ columns for columns, block in zip(y, np.split(weight, len(y)), strict=True)])
        if self.product != "none":
            np.testing.assert_allclose(found.astype(np.float32), y, rtol=1e-5, atol=1e-5)


def gemm(stored: Matrix, weight: Matrix, left: bool = False, **attributes: Any) -> Handmade:
    inputs = ["fc.weight", "x"] if left else ["x", "fc.weight"]
    return Handmade(
        [node("Gemm", inputs, ["y"], "/fc/Gemm", **attributes)],
        [tensor(stored)],
        {"fc": weight},
        ("Gemm",),
        x=(IN, ROWS) if left else (ROWS, IN),
        product="left" if left else "right",
    )


def behind(nodes: Sequence[NodeProto], stored: TensorProto, **changes: Any) -> Handmade:
    """Nodes from `stored`, of name `fc.weight`, to `w`, (in, out), which is multiplied by."""
    return Handmade([*nodes, matmul("w")], [stored], **changes)


def whole(value: int, name: str) -> TensorProto:
    return tensor(np.array([value]), name)


def chains() -> dict[str, Handmade]:
    """A weight behind nodes that only move, rename or widen it."""
    transposed = node("Transpose", ["fc.weight"], ["w"], perm=[1, 0])
    reshape = Handmade(
        [node("Reshape", ["fc.weight", "shape"], ["w"]), matmul("w")],
        [tensor(W.T.reshape(-1)), tensor(np.array([IN, -1]), "shape")],
    )
    every = [
        node("Identity", ["fc.weight"], ["a"]),
        node("Unsqueeze", ["a", "axis"], ["b"]),
        node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        node("Transpose", ["c"], ["d"], perm=[0, 2, 1]),
        node("Squeeze", ["d", "axis"], ["e"]),
        node("Reshape", ["e", "shape"], ["w"]),
        matmul("w"),
    ]
    constants = [tensor(W.astype(np.float16)), whole(0, "axis"), tensor(np.array([IN, OUT]), "shape")]
    cast = node("Cast", ["fc.weight"], ["w"], to=TensorProto.FLOAT)
    squeeze = [node("Squeeze", ["fc.weight"], ["w"])]
    return {
        "behind Identity": behind([node("Identity", ["fc.weight"], ["w"])], tensor(W.T)),
        "behind Transpose": behind([transposed], tensor(W)),
        "behind Transpose without perm": behind([node("Transpose", ["fc.weight"], ["w"])], tensor(W)),
        "square behind Transpose": behind([transposed], tensor(SQUARE), weights={"fc": SQUARE}),
        "square behind two Transposes": behind(
            [node("Transpose", ["fc.weight"], ["v"]), node("Transpose", ["v"], ["w"])],
            tensor(SQUARE.T),
            weights={"fc": SQUARE},
        ),
        "behind Cast from float16": behind([cast], tensor(W.T.astype(np.float16)), dtype="float16"),
        "behind Cast from bfloat16": behind([cast], tensor(W.T.astype(ml_dtypes.bfloat16)), dtype="bfloat16"),
        "behind Reshape": reshape,
        "behind Squeeze": behind(squeeze, tensor(W.T.reshape(1, IN, 1, OUT))),
        "behind a chain": Handmade(every, constants, dtype="float32"),
    }


def storage() -> dict[str, Handmade]:
    """Where and how the numbers of a weight lie in the file."""
    as_input = helper.make_tensor_value_info("fc.weight", TensorProto.FLOAT, [IN, OUT])
    values = W.T.ravel()
    flat = [node("Constant", [], ["flat"], value_floats=values), node("Constant", [], ["shape"], value_ints=[IN, OUT])]
    half = TensorProto(name="fc.weight", data_type=TensorProto.FLOAT16, dims=[IN, OUT])
    half.int32_data.extend(values.astype(np.float16).view(np.uint16).tolist())
    brain = TensorProto(name="fc.weight", data_type=TensorProto.BFLOAT16, dims=[IN, OUT])
    brain.int32_data.extend(values.astype(ml_dtypes.bfloat16).view(np.uint16).tolist())
    double = helper.make_tensor("fc.weight", TensorProto.DOUBLE, [IN, OUT], values)
    of_float16: dict[str, Any] = {"x_type": TensorProto.FLOAT16, "dtype": "float16"}
    of_bfloat16: dict[str, Any] = {"x_type": TensorProto.BFLOAT16, "dtype": "bfloat16", "runtime": "onnx.reference"}
    weight = {"fc": SQUARE * (np.abs(SQUARE) > 1)}
    rows, columns = np.nonzero(weight["fc"].T)
    kept = tensor(weight["fc"].T[rows, columns])
    pairs = helper.make_sparse_tensor(kept, tensor(np.stack([rows, columns], axis=1), "indices"), [IN, IN])
    linear = helper.make_sparse_tensor(kept, tensor(rows * IN + columns, "indices"), [IN, IN])
    return {
        "initializer that is also an input": Handmade([matmul()], [tensor(W.T)], more_inputs=[as_input]),
        "Constant with value": Handmade([node("Constant", [], ["fc.weight"], value=tensor(W.T)), matmul()]),
        "Constant with value_floats": Handmade(
            [*flat, node("Reshape", ["flat", "shape"], ["w"]), matmul("w")],
        ),
        "sparse initializer, pairs of indices": Handmade([matmul()], weights=weight, sparse=[pairs]),
        "sparse initializer, one index each": Handmade([matmul()], weights=weight, sparse=[linear]),
        "Constant with sparse_value": Handmade(
            [node("Constant", [], ["fc.weight"], sparse_value=pairs), matmul()], weights=weight
        ),
        "float_data": Handmade([matmul()], [helper.make_tensor("fc.weight", TensorProto.FLOAT, [IN, OUT], values)]),
        "double_data": Handmade([matmul()], [double], dtype="float64", x_type=TensorProto.DOUBLE),
        "float16 in int32_data": Handmade([matmul()], [half], **of_float16),
        "float16 raw": Handmade([matmul()], [tensor(W.T.astype(np.float16))], **of_float16),
        "bfloat16 in int32_data": Handmade([matmul()], [brain], **of_bfloat16),
        "bfloat16 raw": Handmade([matmul()], [tensor(W.T.astype(ml_dtypes.bfloat16))], **of_bfloat16),
    }


def quantised() -> dict[str, Handmade]:
    """DequantizeLinear in the layouts that the runtime's tools do not write."""
    random = np.random.default_rng(3)
    rows, columns = (random.integers(1, 9, n).astype(np.float32) / 8 for n in (IN, OUT))
    blocks = random.integers(1, 9, (IN // 4, OUT)).astype(np.float32) / 8
    points = random.integers(0, 8, (IN // 4, OUT))

    def form(integers: Matrix, scale: Any, zero: Matrix | None, wide: Matrix, **attributes: Any) -> Handmade:
        """`wide` is the (in, out) matrix that comes out."""
        tensors = [tensor(integers, "fc.weight_quantized"), tensor(scale, "scale")]
        tensors += [] if zero is None else [tensor(zero, "zero")]
        dequantize = node("DequantizeLinear", [t.name for t in tensors], ["w"], **attributes)
        weight = {"fc": wide.T.astype(np.float32)}
        return Handmade([dequantize, matmul("w")], tensors, weight, dtype=str(integers.dtype), exact=False)

    def whole_numbers(low: int, high: int) -> Matrix:
        return random.integers(low, high, (IN, OUT))

    signed, unsigned = whole_numbers(-128, 128), whole_numbers(0, 256)
    small, nibbles = whole_numbers(-8, 8), whole_numbers(0, 16)
    zero = random.integers(0, 256, OUT)
    by_column = unsigned.astype(np.uint8), columns, zero.astype(np.uint8), (unsigned - zero) * columns
    eighth = np.float32(0.125)
    float8 = W.T.astype(ml_dtypes.float8_e4m3fn)
    spread_scale, spread_points = np.repeat(blocks, 4, axis=0), np.repeat(points, 4, axis=0)
    return {
        "int8 per tensor without zero point": form(signed.astype(np.int8), eighth, None, signed * eighth),
        "int8 per tensor, scale in a list": form(
            signed.astype(np.int8), np.array([eighth]), np.ones(1, np.int8), (signed - 1) * eighth
        ),
        "int8 per axis 0": form(
            signed.astype(np.int8), rows, np.ones(IN, np.int8), (signed - 1) * rows[:, None], axis=0
        ),
        "uint8 per axis 1": form(
            unsigned.astype(np.uint8), columns, zero.astype(np.uint8), (unsigned - zero) * columns
        ),
        "uint8 per axis -1": form(*by_column, axis=-1),
        "int8 in blocks": form(
            signed.astype(np.int8),
            blocks,
            points.astype(np.int8),
            (signed - spread_points) * spread_scale,
            axis=0,
            block_size=4,
        ),
        "int4 per tensor": form(small.astype(ml_dtypes.int4), eighth, None, small * eighth),
        "int4 per axis 1": form(small.astype(ml_dtypes.int4), columns, None, small * columns, axis=1),
        "uint4 in blocks": form(
            nibbles.astype(ml_dtypes.uint4),
            blocks,
            points.astype(ml_dtypes.uint4),
            (nibbles - spread_points) * spread_scale,
            axis=0,
            block_size=4,
        ),
        "float8 with a scale": form(float8, np.float32(2), None, float8.astype(np.float32) * 2),
    }


def functions() -> dict[str, Handmade]:
    """Local functions: the weight from outside, inside, or as an attribute."""

    def function(name: str, inputs: list[str], nodes: list[NodeProto], attributes: list[str]) -> onnx.FunctionProto:
        return helper.make_function("local", name, inputs, ["y"], nodes, [OPSET, LOCAL], attributes)

    def call(name: str, inputs: list[str], output: str, path: str, **attributes: Any) -> NodeProto:
        return node(name, inputs, [output], path, domain="local", **attributes)

    linear = function("Linear", ["x", "w"], [matmul("w", "product")], [])
    inside = function("Inside", ["x"], [node("Constant", [], ["w"], value=tensor(SQUARE.T)), matmul("w", "p")], [])
    twice = function(
        "Twice", ["x", "v"], [call("Linear", ["x", "v"], "h", "first"), call("Linear", ["h", "v"], "y", "second")], []
    )
    reference = node("Constant", [], ["w"])
    reference.attribute.append(AttributeProto(name="value", ref_attr_name="kernel", type=AttributeProto.TENSOR))
    by_attribute = function("Attribute", ["x"], [reference, matmul("w", "p")], ["kernel"])
    stored = [tensor(SQUARE.T, "fc1.weight"), tensor(OTHER.T, "fc2.weight")]
    return {
        "function called with two weights": Handmade(
            [
                call("Linear", ["x", "fc1.weight"], "h", "/fc1/Linear"),
                call("Linear", ["h", "fc2.weight"], "y", "/fc2/Linear"),
            ],
            stored,
            {"fc1": SQUARE, "fc2": OTHER},
            functions=[linear],
        ),
        "function with its own weight": Handmade(
            [call("Inside", ["x"], "y", "/fc/Inside")], weights={"fc": SQUARE}, functions=[inside], named=False
        ),
        "function with its own weight, called twice": Handmade(
            [call("Inside", ["x"], "h", "/fc1/Inside"), call("Inside", ["h"], "y", "/fc2/Inside")],
            weights={"fc1": SQUARE, "fc2": SQUARE},
            functions=[inside],
            tied={1: 0},
            named=False,
        ),
        "function that calls a function twice": Handmade(
            [call("Twice", ["x", "fc1.weight"], "y", "/pair/Twice")],
            stored[:1],
            {"first": SQUARE, "second": SQUARE},
            functions=[linear, twice],
            tied={1: 0},
            named=False,
        ),
        "function with its weight as an attribute": Handmade(
            [
                call("Attribute", ["x"], "h", "/fc1/Attribute", kernel=tensor(SQUARE.T)),
                call("Attribute", ["h"], "y", "/fc2/Attribute", kernel=tensor(OTHER.T)),
            ],
            weights={"fc1": SQUARE, "fc2": OTHER},
            functions=[by_attribute],
            named=False,
        ),
    }


def bodies() -> dict[str, Handmade]:
    """Graphs inside nodes, with weights of the graph around them or their own."""

    def value(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def body(nodes: list[NodeProto], inputs: list[Any], outputs: list[Any], *tensors: TensorProto) -> onnx.GraphProto:
        return helper.make_graph(nodes, "body", inputs, outputs, list(tensors))

    rows = [ROWS, IN]
    outer, own = tensor(SQUARE.T, "fc1.weight"), tensor(OTHER.T, "fc2.weight")
    yes = tensor(np.array(True), "yes")
    then = body([matmul("fc1.weight", "/fc1/MatMul", y="a")], [], [value("a")])
    other = body([matmul("fc2.weight", "/fc2/MatMul", y="b")], [], [value("b")], own)
    both = {"fc1": SQUARE, "fc2": OTHER}

    loop_values = [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("s", shape=rows)]
    loop_nodes = [
        node("Identity", ["go"], ["go_on"]),
        matmul("fc1.weight", "/fc1/MatMul", "s", "t"),
        matmul("fc2.weight", "/fc2/MatMul", "t", "u"),
    ]
    loop = body(loop_nodes, loop_values, [value("go_on", TensorProto.BOOL, []), value("u", shape=rows)], own)
    scan_nodes = [
        matmul("fc1.weight", "/fc1/MatMul", "s", "t"),
        matmul("fc2.weight", "/fc2/MatMul", "t", "u"),
        node("Identity", ["e"], ["f"]),
    ]
    scan = body(scan_nodes, [value("s", shape=rows), value("e")], [value("u", shape=rows), value("f")], own)
    inner = body([matmul("fc2.weight", "/fc2/MatMul", "h", "c")], [], [value("c")])
    nest = node("If", ["yes"], ["d"], "nested", then_branch=inner, else_branch=inner)
    nested = body([matmul("fc1.weight", "/fc1/MatMul", y="h"), nest], [], [value("d")], own)
    plain = body([node("Identity", ["x"], ["e"])], [], [value("e")])
    return {
        "branches": Handmade(  # make_node sorts the attributes: else_branch comes before then_branch
            [node("If", ["yes"], ["y"], "choice", then_branch=then, else_branch=other)],
            [outer, yes],
            {"fc2": OTHER, "fc1": SQUARE},
            product="none",
        ),
        "branch inside a branch": Handmade(
            [node("If", ["yes"], ["y"], "choice", then_branch=nested, else_branch=plain)],
            [outer, yes],
            {"fc1": SQUARE, "fc2": OTHER, "fc2 again": OTHER},
            tied={2: 1},
            named=False,
            product="none",
        ),
        "body of a loop": Handmade(
            [node("Loop", ["rounds", "", "x"], ["y"], "loop", body=loop)],
            [outer, tensor(np.array(1), "rounds")],
            both,
        ),
        "body of a scan": Handmade(
            [node("Scan", ["x", "steps"], ["y", "z"], "scan", body=scan, num_scan_inputs=1)],
            [outer, tensor(np.zeros(1, np.float32), "steps")],
            both,
        ),
    }


def shapes() -> dict[str, Handmade]:
    """Constants that are a stack of matrices, and those that are no matrix."""
    stack = np.stack([SQUARE, OTHER, SQUARE * 2])
    rows = stack.reshape(-1, IN)
    no_layer: dict[str, Any] = {"weights": {}, "product": "none"}
    return {
        "stack of matrices": Handmade(
            [matmul()],
            [tensor(stack.transpose(0, 2, 1))],
            {"fc": rows},
            x=(STACK, ROWS, IN),
            product="stack",
        ),
        "stack of matrices on the left": Handmade(
            [node("MatMul", ["fc.weight", "x"], ["y"], "/fc/MatMul")],
            [tensor(stack)],
            {"fc": rows},
            x=(STACK, IN, ROWS),
            product="stack left",
        ),
        "stack of one": Handmade([matmul()], [tensor(W.T[None])], x=(1, ROWS, IN), product="stack"),
        "vector": Handmade([matmul()], [tensor(W[0])], **no_layer),
        "vector on the left": Handmade(
            [node("MatMul", ["fc.weight", "x"], ["y"])], [tensor(W[0])], x=(IN, ROWS), **no_layer
        ),
        "two constants": Handmade(
            [matmul("v", x="fc.weight", y="c"), node("Identity", ["c"], ["y"])],
            [tensor(W), tensor(SQUARE, "v")],
            **no_layer,
        ),
        "no constant": Handmade(
            [node("Transpose", ["x"], ["t"]), matmul("t", "/product")], **no_layer, skipped=(("/product", "MatMul"),)
        ),
        "table of an embedding": Handmade(
            [node("Cast", ["x"], ["i"], to=TensorProto.INT64), node("Gather", ["fc.weight", "i"], ["y"], "/rows")],
            [tensor(W)],
            **no_layer,
            skipped=(("/rows", "Gather"),),
        ),
    }


PLAIN = {
    "Gemm": gemm(W.T, W),
    "Gemm with transB": gemm(W, W, transB=1),
    "square Gemm": gemm(SQUARE.T, SQUARE),
    "square Gemm with transB": gemm(SQUARE, SQUARE, transB=1),
    "Gemm, constant left": gemm(W, W, left=True),
    "Gemm, constant left, transA": gemm(W.T, W, left=True, transA=1),
    "square Gemm, constant left": gemm(SQUARE, SQUARE, left=True),
    "square Gemm, constant left, transA": gemm(SQUARE.T, SQUARE, left=True, transA=1),
    "Gemm with alpha": replace(gemm(W, W, transB=1, alpha=0.5), weights={"fc": W / 2}),
    "MatMul": Handmade([matmul()], [tensor(W.T)]),
    "square MatMul": Handmade([matmul()], [tensor(SQUARE.T)], {"fc": SQUARE}),
    "MatMul, constant left": Handmade(
        [node("MatMul", ["fc.weight", "x"], ["y"], "/fc/MatMul")], [tensor(W)], x=(IN, ROWS), product="left"
    ),
    "square MatMul, constant left": Handmade(
        [node("MatMul", ["fc.weight", "x"], ["y"], "/fc/MatMul")],
        [tensor(SQUARE)],
        {"fc": SQUARE},
        x=(IN, ROWS),
        product="left",
    ),
}
FORMS: dict[str, Builder] = {
    name: form.write
    for group in (PLAIN, chains(), storage(), quantised(), functions(), bodies(), shapes())
    for name, form in group.items()
}
